"""Activations of several layers of a model, from forward passes that they share."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from saers.capture import ModelActivations, Precision
from saers.genome import Genome
from saers.models.base import Piece, PiecewiseModel, SequenceModel

if TYPE_CHECKING:
    import torch

_ROOM = 2**30  # bytes of layers that wait to be asked for


class SharedForward:
    """A model whose forward passes serve several layers; a `SequenceModel`.

    Sources of several layers read the same windows one after the other. The first to ask for a
    batch of sequences has all layers computed; the others wait until theirs are asked for. What
    is not asked for in time is dropped, and computed again should it be: results do not depend
    on it. A model with ``capture_layers(onehot, layers)`` runs once for all layers, another once
    for each.

    Parameters
    ----------
    model
        The model.
    layers
        Layers that will be asked for.
    room
        Bytes that may wait.

    Examples
    --------
    >>> import torch
    >>> from saers.models.module import ModuleModel
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(4, 3, 5, padding=2), torch.nn.MaxPool1d(2))
    >>> model = SharedForward(ModuleModel(net, input_length=20), ["0", "1"])
    >>> [tuple(model.capture(torch.zeros(7, 20, 4), layer).shape) for layer in ("0", "1")]
    [(7, 20, 3), (7, 10, 3)]
    >>> model.forwards
    1
    """

    def __init__(self, model: SequenceModel, layers: Sequence[str], *, room: int = _ROOM) -> None:
        if not layers:
            raise ValueError("layers must name at least one, got none")
        self._model, self._names, self._room = model, list(dict.fromkeys(layers)), room
        self.input_length, self.alphabet = model.input_length, model.alphabet
        self.layers = model.layers
        self.channels_first = bool(getattr(model, "channels_first", False))
        self.n_positions = getattr(model, "n_positions", None)
        self.module = getattr(model, "module", None)
        self.forwards = 0
        """Forward passes that were run for captures."""
        self._waiting: OrderedDict[tuple[bytes, str], list[Piece]] = OrderedDict()
        self._lock = threading.Lock()  # readers of several layers ask at the same time

    def __call__(self, onehot: "torch.Tensor") -> Any:  # noqa: ANN401
        """Compute the outputs."""
        return self._model(onehot)

    def run_from(
        self, layer: str, activations: "torch.Tensor", *, onehot: "torch.Tensor | None" = None
    ) -> Any:  # noqa: ANN401
        """Compute the outputs from a layer's activations."""
        return self._model.run_from(layer, activations, onehot=onehot)

    def capture(self, onehot: "torch.Tensor", layer: str) -> "torch.Tensor":
        """Compute a layer, or hand out what was computed for another."""
        if layer not in self._names:
            return self._model.capture(onehot, layer)
        import torch

        found = [piece.values for piece in self._taken(onehot, layer, ())]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _taken(
        self, onehot: "torch.Tensor", layer: str, spans: Sequence[tuple[int, int]]
    ) -> list[Piece]:
        """Take pieces of a layer that wait, or have those of all layers computed."""
        content = onehot.detach().cpu().contiguous().numpy().tobytes()
        key = hashlib.blake2b(content + repr(spans).encode(), digest_size=16).digest()
        with self._lock:
            if (key, layer) not in self._waiting:
                for piece in self._compute(onehot, spans):
                    kept = piece._replace(values=piece.values.cpu())
                    self._waiting.setdefault((key, piece.layer), []).append(kept)
            found = self._waiting.pop((key, layer))
            self._drop()
            return found

    def _compute(
        self, onehot: "torch.Tensor", _spans: Sequence[tuple[int, int]]
    ) -> Iterator[Piece]:
        together = getattr(self._model, "capture_layers", None)
        self.forwards += 1 if together is not None else len(self._names)
        found = {} if together is None else together(onehot, self._names)
        for name in self._names:
            values = self._model.capture(onehot, name) if together is None else found[name]
            yield Piece(name, 0, values)

    def _drop(self) -> None:
        """Drop what has waited longest, until the rest has room."""
        held = sum(map(_bytes, self._waiting.values()))
        while held > self._room:
            _, pieces = self._waiting.popitem(last=False)
            held -= _bytes(pieces)


def _bytes(pieces: list[Piece]) -> int:
    return sum(piece.values.nbytes for piece in pieces)


class SharedPieces(SharedForward):
    """Such a model that gives layers piece by piece; a `PiecewiseModel`."""

    def pieces(
        self,
        onehot: "torch.Tensor",
        layers: Sequence[str],
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[Piece]:
        """Compute pieces of layers, or hand out what was computed for another."""
        whole = [(0, onehot.shape[1])] if spans is None else spans
        for layer in layers:
            yield from self._taken(onehot, layer, whole)

    def _compute(self, onehot: "torch.Tensor", spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
        self.forwards += 1
        if isinstance(self._model, PiecewiseModel):
            yield from self._model.pieces(onehot, self._names, spans or None)


def layer_sources(
    model: SequenceModel,
    layers: Sequence[str],
    genome: Genome,
    windows: pl.DataFrame,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    blacklist: pl.DataFrame | None = None,
    edge: int = 0,
    crop: int = 0,
    parts: int = 1,
    precision: Precision = "float32",
) -> dict[str, ModelActivations]:
    """Make a source of each of several layers, all from the same forward passes.

    Parameters
    ----------
    model, genome, windows, device, blacklist, edge, crop, parts, precision
        As for `ModelActivations`.
    layers
        Names of the layers.
    batch_size
        Windows in one forward pass; None: as many as the largest of the layers allows.

    Raises
    ------
    ValueError
        If there is no such layer, or as `ModelActivations` does.
    """
    piecewise = isinstance(model, PiecewiseModel)
    shared = SharedPieces(model, layers) if piecewise else SharedForward(model, layers)

    def source(layer: str, size: int | None) -> ModelActivations:
        return ModelActivations(
            shared, layer, genome, windows, batch_size=size, device=device, blacklist=blacklist,
            edge=edge, crop=crop, parts=parts, precision=precision,
        )  # fmt: skip

    made = {layer: source(layer, batch_size) for layer in layers}
    # Passes are shared where all of them ask for the same windows at a time.
    smallest = min(one.batch_size for one in made.values())
    return {
        layer: one if one.batch_size == smallest else source(layer, smallest)
        for layer, one in made.items()
    }

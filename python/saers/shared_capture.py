"""Activations of several layers of a model, from forward passes that they share."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from saers.capture import ModelActivations
from saers.genome import Genome
from saers.models.base import SequenceModel

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
        self.forwards = 0
        """Forward passes that were run for captures."""
        self._waiting: OrderedDict[tuple[bytes, str], torch.Tensor] = OrderedDict()
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
        content = onehot.detach().cpu().contiguous().numpy().tobytes()
        key = hashlib.blake2b(content, digest_size=16).digest()
        with self._lock:
            found = self._waiting.pop((key, layer), None)
            if found is not None:
                return found
            computed = self._compute(onehot)
            for name, values in computed.items():
                if name != layer:
                    self._waiting[key, name] = values.cpu()
            self._drop()
            return computed[layer]

    def _compute(self, onehot: "torch.Tensor") -> "dict[str, torch.Tensor]":
        together = getattr(self._model, "capture_layers", None)
        self.forwards += 1 if together is not None else len(self._names)
        if together is not None:
            return dict(together(onehot, self._names))
        return {name: self._model.capture(onehot, name) for name in self._names}

    def _drop(self) -> None:
        """Drop what has waited longest, until the rest has room."""
        held = sum(values.nbytes for values in self._waiting.values())
        while held > self._room:
            _, values = self._waiting.popitem(last=False)
            held -= values.nbytes


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
) -> dict[str, ModelActivations]:
    """Make a source of each of several layers, all from the same forward passes.

    Parameters
    ----------
    model, genome, windows, device, blacklist, edge
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
    shared = SharedForward(model, layers)

    def source(layer: str, size: int | None) -> ModelActivations:
        return ModelActivations(
            shared, layer, genome, windows, batch_size=size, device=device, blacklist=blacklist,
            edge=edge,
        )  # fmt: skip

    made = {layer: source(layer, batch_size) for layer in layers}
    # Passes are shared where all of them ask for the same windows at a time.
    smallest = min(one.batch_size for one in made.values())
    return {
        layer: one if one.batch_size == smallest else source(layer, smallest)
        for layer, one in made.items()
    }

"""Borzoi as a sequence model: its layers, and passes whose memory is bounded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from saers.checks import one_of
from saers.layer import LayerInfo
from saers.models.base import Halves, Piece
from saers.models.borzoi.config import BorzoiConfig
from saers.models.borzoi.layers import flops_of, layers_of
from saers.models.borzoi.network import Borzoi, State
from saers.models.borzoi.weights import build, open_weights, write

LENGTH = 524_288
"""Base pairs of the window on which Borzoi was trained."""

_CHUNK = 32_768  # bp of one pass up to a convolution: a tenth of a GB at full width


class BorzoiModel:
    """A Borzoi network as a `saers.models.SequenceModel`.

    Convolutions are computed chunk by chunk, each with as much sequence on either side as its
    positions see, so that memory does not grow with the window and the numbers are those of
    one pass over the whole.

    The receptive window of a layer behind the transformer tells what a position has seen by
    convolution alone; through attention it has seen the whole input.

    Parameters
    ----------
    network
        The network, whole or truncated.
    species
        Whose tracks are computed; None: those of the first head.
    input_length
        Base pairs of an input; a multiple of 128.
    """

    alphabet = "ACGT"

    def __init__(
        self, network: Borzoi, *, species: str | None = None, input_length: int = LENGTH
    ) -> None:
        self.module, self.config = network.eval(), network.config
        heads = dict(self.config.tracks)
        if species is not None and heads:  # a truncated folder has none, and knows no species
            one_of("species", species, heads)
        self.species = species
        self.input_length = input_length
        _check_length(input_length, self.config)
        self.layers: Mapping[str, LayerInfo] = layers_of(self.config, input_length)

    def __call__(self, onehot: torch.Tensor) -> torch.Tensor:
        """Compute the tracks, (b, tracks, bins), of one-hot sequences (b, length, 4)."""
        with torch.no_grad():
            return self.suffix(self.prefix(onehot, None), None)

    def capture(self, onehot: torch.Tensor, layer: str) -> torch.Tensor:
        """Compute a layer, (b, positions, channels) in float32, and nothing behind it.

        Raises
        ------
        ValueError
            If there is no such layer, or the length is no multiple of 128.
        """
        with torch.no_grad():
            return self.prefix(onehot, layer).values.mT.float()

    def capture_layers(
        self, onehot: torch.Tensor, layers: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Compute several layers in one pass, each as :meth:`capture` does."""
        found = {name: _Whole(self.n_positions(name, onehot.shape[1])) for name in layers}
        for piece in self.pieces(onehot, layers):
            found[piece.layer].put(piece)
        return {name: whole.values for name, whole in found.items()}

    @torch.no_grad()
    def pieces(
        self,
        onehot: torch.Tensor,
        layers: Sequence[str],
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[Piece]:
        """Compute layers in one pass, and give them piece by piece (`models.PiecewiseModel`).

        Of layers of the stem and the tower nothing beside the spans is computed, and nothing
        of the size of a window is held. What lies behind them sees whole windows.

        Raises
        ------
        ValueError
            If there is no such layer, or the length is no multiple of 128.
        """
        names = {self._named(name): name for name in layers}
        ordered = sorted(names, key=self.config.layers.index)
        inputs = self._inputs(onehot, ordered)
        length, deep = inputs.shape[2], len(self.config.tower)
        spans = [(0, length)] if spans is None else spans
        near = [name for name in ordered if self.config.layers.index(name) <= deep]
        joint = [self.config.layers[deep]] if len(near) < len(ordered) else []
        last = _Whole(length // self.layers[joint[0]].stride) if joint else None
        for start, end in spans:
            for piece in self._chunks(State(inputs), None, _together(near, joint), start, end):
                if last is not None and piece.layer == joint[0]:
                    last.put(piece)
                if piece.layer in near:
                    yield piece._replace(layer=names[piece.layer], values=piece.values.float())
        if last is not None:
            for start, end in _beside(spans, length):
                for piece in self._chunks(State(inputs), None, joint, start, end):
                    last.put(piece)
            for piece in self._behind(last.values.mT, ordered[len(near) :], spans):
                yield piece._replace(layer=names[piece.layer])

    def run_from(
        self, layer: str, activations: torch.Tensor, *, onehot: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the tracks from a layer's activations (b, positions, channels).

        Gradients are kept where the activations ask for them.

        Parameters
        ----------
        layer
            Name of the layer.
        activations
            Its activations.
        onehot
            The sequences; needed where convolutions by-pass the layer: at the last one and in
            the transformer.
        """
        layer = self._named(layer)
        before = State(activations)
        by_passed = self._by_passing(layer)
        with torch.set_grad_enabled(activations.requires_grad):
            if by_passed is not None:
                if onehot is None:
                    raise ValueError(f"onehot must be given: convolutions by-pass {layer!r}")
                before = self.prefix(onehot, by_passed)
            return self.suffix(self.replaced(before, layer, activations), layer)

    def halves(self, onehot: torch.Tensor, layer: str) -> Halves:
        """Run up to a layer once, and keep what it takes to go on as often as need be."""
        state = self.prefix(onehot, layer)

        def go_on(activations: torch.Tensor) -> torch.Tensor:
            return self.suffix(self.replaced(state, layer, activations), layer)

        return Halves(state.values.mT, go_on)

    def n_positions(self, layer: str, length: int) -> int:
        """Count the positions of a layer for an input of ``length`` bp."""
        positions = length // self.layers[layer].stride
        if self._named(layer) != "final_joined_convs":
            return positions
        return self.config.bins or positions - 2 * self.config.cropped

    def prefix(self, onehot: torch.Tensor, layer: str | None) -> State:
        """Compute up to a layer, or to the last, and keep what by-passes it."""
        wanted = self.config.layers[-1] if layer is None else self._named(layer)
        return self._advance(State(self._inputs(onehot, [wanted])), None, wanted)

    def suffix(self, state: State, layer: str | None) -> torch.Tensor:
        """Compute the tracks, (b, tracks, bins), from a layer on; None: from the last."""
        if self.config.upto is not None:
            raise ValueError(
                f"a network truncated to {self.config.upto!r} has no outputs; load the whole one"
            )
        last = self.config.layers[-1]
        here = last if layer is None else self._named(layer)
        return self.module.outputs(self._advance(state, here, last), self.species)

    def replaced(self, state: State, layer: str, activations: torch.Tensor) -> State:
        """Put other activations, (b, positions, channels), in the place of a layer's own.

        What by-passes the layer stays; what the layer itself sends past others is replaced too.
        """
        number, deep = self.config.layers.index(self._named(layer)), len(self.config.tower)
        values = activations.mT.to(next(self.module.parameters()))
        by_passes = state.by_passes
        if number == deep:
            by_passes = (values,)
        elif number == deep + 1:
            by_passes = (by_passes[0], values)
        return State(values, by_passes)

    def flops(self) -> dict[str, int]:
        """Count the floating-point operations up to each layer, and up to the "outputs".

        Counted by PyTorch on tensors without contents, for one input.
        """
        return flops_of(self.config, self.input_length, self.species)

    def _advance(self, state: State, after: str | None, upto: str) -> State:
        """Compute on, convolutions of the stem and the tower piece by piece."""
        layers, deep = self.config.layers, len(self.config.tower)
        number = -1 if after is None else layers.index(after)
        target = min(layers.index(upto), deep)
        if number < target:
            state, after = self._in_chunks(state, after, layers[target]), layers[target]
        return self.module.advance(state, after, upto, middle=upto == "final_joined_convs")

    def _inputs(self, onehot: torch.Tensor, layers: Sequence[str]) -> torch.Tensor:
        """Check sequences and bring them into the form that the network reads."""
        example = next(self.module.parameters())
        if onehot.ndim != 3 or onehot.shape[2] != 4:
            raise ValueError(f"onehot must be (b, length, 4), got {tuple(onehot.shape)}")
        for layer in layers:
            _check_length(onehot.shape[1], self.config, self.layers[layer])
        return onehot.mT.to(device=example.device, dtype=example.dtype)

    def _in_chunks(self, state: State, after: str | None, upto: str) -> State:
        step = 1 if after is None else self.layers[after].stride
        length = state.values.shape[2] * step
        whole = _Whole(length // self.layers[upto].stride)
        for piece in self._chunks(state, after, [upto], 0, length):
            whole.put(piece)
        deepest = self.config.layers.index(upto) == len(self.config.tower)
        return State(whole.values.mT, (whole.values.mT,) if deepest else ())

    def _chunks(
        self, state: State, after: str | None, layers: Sequence[str], start: int, end: int
    ) -> Iterator[Piece]:
        """Compute convolutions, in the order of the network, over a stretch of the input."""
        step = 1 if after is None else self.layers[after].stride
        length, stride = state.values.shape[2] * step, self.layers[layers[-1]].stride
        # Pieces begin where pools begin. At the ends of the input there is no sequence beside:
        # the network pads each layer there, as it does in one pass.
        infos = [self.layers[layer] for layer in layers]
        reach = max(max(info.window_lo, info.window_hi) for info in infos)
        halo = -(-reach // stride) * stride
        for here in range(start, end, _CHUNK):
            there = min(here + _CHUNK, end)
            first, last = max(here - halo, 0), min(there + halo, length)
            piece = state.values[:, :, first // step : last // step].mT.contiguous().mT
            reached, before = State(piece), after
            for layer in layers:
                reached, before = self.module.advance(reached, before, layer), layer
                stride = self.layers[layer].stride
                skipped, kept = (here - first) // stride, (there - here) // stride
                values = reached.values[:, :, skipped : skipped + kept]
                yield Piece(layer, here // stride, values.mT)

    def _behind(
        self, values: torch.Tensor, layers: Sequence[str], spans: Sequence[tuple[int, int]]
    ) -> Iterator[Piece]:
        """Compute on from the last convolution of the tower, for all of a window."""
        state, before = State(values, (values,)), self.config.layers[len(self.config.tower)]
        for layer in layers:
            state, before = self.module.advance(state, before, layer), layer
            stride = self.layers[layer].stride
            for start, end in spans:
                first, last = start // stride, end // stride
                yield Piece(layer, first, state.values[..., first:last].mT.float())

    def _by_passing(self, layer: str) -> str | None:
        """Name the layer up to which a sequence must be computed for what by-passes ``layer``."""
        number, deep = self.config.layers.index(layer), len(self.config.tower)
        attending = layer.startswith("transformer")
        if number == deep + 1 or layer == "separable1":
            return self.config.layers[deep]
        return self.config.layers[deep + 1] if attending else None

    def _named(self, layer: str) -> str:
        """Resolve a layer's name."""
        return self.layers[layer].name


def load(
    folder: str | Path,
    *,
    layer: str | Sequence[str] | None = None,
    species: str | None = None,
    input_length: int | None = None,
) -> BorzoiModel:
    """Open a folder of weights.

    Parameters
    ----------
    folder
        config.json and model.safetensors (or shards and their index) as published, or as
        `saers.models.borzoi.truncate` writes them.
    layer
        Read the tensors up to this layer alone, or up to the last of several; None: all.
    species
        "human" or "mouse"; None: the first that the weights have.
    input_length
        Base pairs of an input; None: what config.json says, or else Borzoi's own.

    Raises
    ------
    FileNotFoundError
        If there are no weights.
    FormatError
        If files are broken, or tensors are missing, unexpected or of another shape.
    ValueError
        If there is no such layer or species.
    """
    weights = open_weights(folder)
    length = (
        int(weights.settings.get("input_length", LENGTH)) if input_length is None else input_length
    )
    upto = [layer] if isinstance(layer, str) else layer or ()
    return BorzoiModel(build(weights, upto), species=species, input_length=length)


def save(model: BorzoiModel, folder: str | Path) -> None:
    """Write a whole model as a folder that `load` reads: config.json and model.safetensors.

    Raises
    ------
    ValueError
        If the network is truncated, which `saers.models.borzoi.truncate` writes.
    """
    config = model.config
    if config.upto is not None:
        raise ValueError(f"the network is truncated to {config.upto!r}: save the whole one")
    bins: dict[str, int] = {"return_center_bins_only": config.bins is not None}
    if config.bins is not None:
        bins["bins_to_return"] = config.bins
    settings = {
        "model_type": "borzoi",
        "dim": config.dim,
        "depth": config.depth,
        "heads": config.heads,
        "flashed": config.rotary,
        "input_length": model.input_length,
        **bins,
    }
    write(model.module.state_dict(), settings, folder)


class _Whole:
    """A layer put together from its pieces."""

    def __init__(self, n_positions: int) -> None:
        self._n_positions = n_positions
        self.values = torch.empty(0)  # (b, positions, channels) once there is a piece

    def put(self, piece: Piece) -> None:
        """Copy a piece to its place."""
        b, n, channels = piece.values.shape
        if not len(self.values):
            self.values = piece.values.new_empty((b, self._n_positions, channels))
        self.values[:, piece.first : piece.first + n] = piece.values


def _together(near: Sequence[str], joint: Sequence[str]) -> list[str]:
    return [*near, *(name for name in joint if name not in near)]


def _beside(spans: Sequence[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Name the stretches of an input that no span covers.

    Examples
    --------
    >>> list(_beside([(8, 12), (2, 4)], 16))
    [(0, 2), (4, 8), (12, 16)]
    """
    covered = 0
    for start, end in sorted(spans):
        if start > covered:
            yield covered, start
        covered = max(covered, end)
    if covered < length:
        yield covered, length


def _check_length(length: int, config: BorzoiConfig, layer: LayerInfo | None = None) -> None:
    """Require a length that all pools divide, and that holds a position's window."""
    multiple = config.multiple
    if length < 1 or length % multiple:
        below = length // multiple * multiple
        near = " or ".join(f"{size:,}" for size in (below, below + multiple) if size > 0)
        raise ValueError(
            f"the input must be a multiple of {multiple} bp long, got {length:,}; nearest: {near}"
        )
    if layer is not None and length < layer.receptive_field:
        raise ValueError(
            f"the input must be as long as what a position of {layer.name!r} sees, "
            f"{layer.receptive_field:,} bp, got {length:,}"
        )

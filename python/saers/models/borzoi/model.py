"""Borzoi as a sequence model: its layers, and passes whose memory is bounded."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from saers.checks import did_you_mean, one_of
from saers.layer import LayerInfo
from saers.models.borzoi.config import BorzoiConfig, aliases
from saers.models.borzoi.network import Borzoi, State
from saers.models.borzoi.weights import build, open_weights
from saers.models.receptive import Window

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
        if species is not None and self.config.upto is None:
            one_of("species", species, heads)
        self.species = species
        self.input_length = input_length
        _check_length(input_length, self.config)
        self.layers: Mapping[str, LayerInfo] = _layers(self.config, input_length)

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
        """Compute several layers in one pass, each as :meth:`capture` does, to rounding."""
        order = self.config.layers
        names = {self._named(layer): layer for layer in layers}
        first, *later = sorted(names, key=order.index)
        with torch.no_grad():
            state, before = self.prefix(onehot, first), first
            found = {first: state.values.mT.float()}
            for name in later:
                state, before = self._advance(state, before, name), name
                found[name] = state.values.mT.float()
        return {layer: found[self._named(layer)] for layer in layers}

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

    def n_positions(self, layer: str, length: int) -> int:
        """Count the positions of a layer for an input of ``length`` bp."""
        positions = length // self.layers[layer].stride
        if self._named(layer) != "final_joined_convs":
            return positions
        return self.config.bins or positions - 2 * self.config.cropped

    def prefix(self, onehot: torch.Tensor, layer: str | None) -> State:
        """Compute up to a layer, or to the last, and keep what by-passes it."""
        example = next(self.module.parameters())
        if onehot.ndim != 3 or onehot.shape[2] != 4:
            raise ValueError(f"onehot must be (b, length, 4), got {tuple(onehot.shape)}")
        inputs = onehot.mT.to(device=example.device, dtype=example.dtype)
        wanted = self.config.layers[-1] if layer is None else self._named(layer)
        _check_length(inputs.shape[2], self.config, self.layers[wanted])
        return self._advance(State(inputs), None, wanted)

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
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            network = Borzoi(self.config)
            state, before, counts = State(torch.empty(1, 4, self.input_length)), None, {}
            for layer in self.config.layers:
                state, before = network.advance(state, before, layer), layer
                counts[layer] = counter.get_total_flops()
            if self.config.upto is None:
                network.outputs(state, self.species)
                counts["outputs"] = counter.get_total_flops()
        return counts

    def _advance(self, state: State, after: str | None, upto: str) -> State:
        """Compute on, convolutions of the stem and the tower piece by piece."""
        layers, deep = self.config.layers, len(self.config.tower)
        number = -1 if after is None else layers.index(after)
        target = min(layers.index(upto), deep)
        if number < target:
            state, after = self._in_chunks(state, after, layers[target]), layers[target]
        return self.module.advance(state, after, upto)

    def _in_chunks(self, state: State, after: str | None, upto: str) -> State:
        info, stride = self.layers[upto], self.layers[upto].stride
        step = 1 if after is None else self.layers[after].stride
        length = state.values.shape[2] * step
        # Pieces begin where pools begin. At the ends of the input there is no sequence beside:
        # the network pads each layer there, as it does in one pass.
        halo = -(-max(info.window_lo, info.window_hi) // stride) * stride
        values = state.values.new_empty((len(state.values), length // stride, info.channels))
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            first, last = max(start - halo, 0), min(end + halo, length)
            piece = state.values[:, :, first // step : last // step].mT.contiguous().mT
            found = self.module.advance(State(piece), after, upto).values
            skipped = (start - first) // stride
            kept = found[:, :, skipped : skipped + (end - start) // stride]
            values[:, start // stride : end // stride] = kept.mT
        deepest = self.config.layers.index(upto) == len(self.config.tower)
        return State(values.mT, (values.mT,) if deepest else ())

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
    layer: str | None = None,
    species: str | None = None,
    input_length: int = LENGTH,
) -> BorzoiModel:
    """Open a folder of weights.

    Parameters
    ----------
    folder
        config.json and model.safetensors (or shards and their index) as published, or as
        `saers.models.borzoi.truncate` writes them.
    layer
        Read the tensors up to this layer alone; None: all.
    species
        "human" or "mouse"; None: the first that the weights have.
    input_length
        Base pairs of an input.

    Raises
    ------
    FileNotFoundError
        If there are no weights.
    FormatError
        If files are broken, or tensors are missing, unexpected or of another shape.
    ValueError
        If there is no such layer or species.
    """
    network = build(open_weights(folder), layer)
    return BorzoiModel(network, species=species, input_length=input_length)


class _Layers(dict[str, LayerInfo]):
    """Layers by their names in the paper, and by those that their modules have in PyTorch."""

    def __init__(self, infos: Mapping[str, LayerInfo], others: Mapping[str, str]) -> None:
        super().__init__(infos)
        self._others = others

    def __missing__(self, name: str) -> LayerInfo:
        if self._others.get(name) in self:
            return self[self._others[name]]
        hint = did_you_mean(name, [*self, *self._others], most=3)
        raise ValueError(f"no layer {name!r}{hint}; layers: {', '.join(self)}")


def _layers(config: BorzoiConfig, length: int) -> _Layers:
    """Work out channels, strides and receptive windows."""
    window = Window(1, config.stem_kernel // 2, config.stem_kernel // 2)
    found = {"conv1d": (config.stem, window)}
    for number, channels in enumerate((*config.tower, config.dim), start=1):
        window = _convolved(_pooled(window), config.kernel)
        found[f"conv1d_{number}"] = (channels, window)
    window = _pooled(window)
    for block in range(config.depth):
        found[f"transformer.{block}"] = (config.dim, window)
    for name in ("separable1", "separable0"):
        window = _convolved(_doubled(window), config.separable_kernel)
        found[name] = (config.dim, window)
    bins = length // window.stride
    cropped = (bins - (config.bins or bins - 2 * config.cropped)) // 2 * window.stride
    shifted = Window(window.stride, window.lo - cropped, window.hi + cropped)
    found["final_joined_convs"] = (config.head, shifted)
    infos = {
        name: LayerInfo(name, channels, *window)
        for name, (channels, window) in found.items()
        if name in config.layers
    }
    return _Layers(infos, aliases(config))


def _pooled(window: Window) -> Window:
    return Window(2 * window.stride, window.lo, window.hi + window.stride)


def _convolved(window: Window, width: int) -> Window:
    reach = width // 2 * window.stride
    return Window(window.stride, window.lo + reach, window.hi + reach)


def _doubled(window: Window) -> Window:
    """Repeat each position twice: the second of the two lies half a stride to the right."""
    half = window.stride // 2
    return Window(half, window.lo + half, window.hi)


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

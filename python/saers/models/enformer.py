"""Enformer, as enformer-pytorch builds it, as a sequence model.

Its parts follow one another and nothing by-passes a part, so that the model runs up to a layer
once and from there as often as need be. The package is not needed to import this module.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from saers.checks import one_of
from saers.layer import LayerInfo
from saers.models.base import Halves, NamedLayers

LENGTH = 196_608
"""Base pairs of the window on which Enformer was trained."""


class _Part(NamedTuple):
    """A module whose output is a layer."""

    module: nn.Module
    first: bool
    """Its output is (b, channels, positions); else (b, positions, channels)."""


class EnformerModel:
    """An ``enformer_pytorch.Enformer`` as a `saers.models.SequenceModel`.

    Layers bear the names of their modules: ``stem.0`` is the first convolution, ``conv_tower.i.0``
    the raw output of the next ones, ``conv_tower.i.1`` what the pool behind them reads, and
    ``transformer.i`` a block. The receptive window of a layer behind the tower tells what a
    position has seen by convolution alone; through attention it has seen the whole input.

    Parameters
    ----------
    network
        The network.
    species
        Whose tracks are computed; None: those of the first head.
    input_length
        Base pairs of an input, a multiple of the length of a bin.

    Raises
    ------
    ValueError
        If there is no such head, or the length is no such multiple.
    """

    alphabet = "ACGT"

    def __init__(
        self, network: nn.Module, *, species: str | None = None, input_length: int = LENGTH
    ) -> None:
        self.module, self.input_length = network.eval(), input_length
        untyped: Any = network  # of a package without types
        heads = list(untyped._heads)
        if species is not None:
            one_of("species", species, heads)
        self._head: nn.Module = untyped._heads[species or heads[0]]
        self._crop, self._last = untyped.crop_final, untyped.final_pointwise
        self._parts = _parts(untyped)
        self.layers: Mapping[str, LayerInfo] = NamedLayers(_infos(self._parts, untyped))
        self._check(input_length)

    def __call__(self, onehot: torch.Tensor) -> torch.Tensor:
        """Compute the tracks, (b, tracks, bins), of one-hot sequences (b, length, 4)."""
        with torch.no_grad():
            return self._outputs(self._run(self._input(onehot), None, None), None)

    def capture(self, onehot: torch.Tensor, layer: str) -> torch.Tensor:
        """Compute a layer, (b, positions, channels) in float32, and nothing behind it."""
        with torch.no_grad():
            return self._told(self._run(self._input(onehot), None, self._named(layer)), layer)

    def run_from(
        self, layer: str, activations: torch.Tensor, *, onehot: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the tracks from a layer's activations (b, positions, channels).

        Gradients are kept where the activations ask for them; ``onehot`` is not needed.
        """
        layer = self._named(layer)
        values = activations.to(next(self.module.parameters()))
        values = values.mT if self._parts[layer].first else values
        with torch.set_grad_enabled(activations.requires_grad):
            return self._outputs(self._run(values, layer, None), layer)

    def halves(self, onehot: torch.Tensor, layer: str) -> Halves:
        """Run up to a layer once, and keep what it takes to go on."""
        found = self.capture(onehot, layer)
        return Halves(found, lambda activations: self.run_from(layer, activations))

    def n_positions(self, layer: str, length: int) -> int:
        """Count the positions of a layer for an input of ``length`` bp."""
        return length // self.layers[layer].stride

    def _run(self, values: torch.Tensor, after: str | None, upto: str | None) -> torch.Tensor:
        """Compute from behind one layer up to another, or up to the last block."""
        names = list(self._parts)
        start = 0 if after is None else names.index(after) + 1
        end = len(names) if upto is None else names.index(upto) + 1
        first = after is None or self._parts[after].first
        for name in names[start:end]:
            part = self._parts[name]
            if first and not part.first:
                values = values.mT
            values, first = part.module(values), part.first
        return values

    def _outputs(self, values: torch.Tensor, layer: str | None) -> torch.Tensor:
        tracks: torch.Tensor = self._head(self._last(self._crop(values)))
        return tracks.mT

    def _told(self, values: torch.Tensor, layer: str) -> torch.Tensor:
        return (values.mT if self._parts[self._named(layer)].first else values).float()

    def _input(self, onehot: torch.Tensor) -> torch.Tensor:
        if onehot.ndim != 3 or onehot.shape[2] != 4:
            raise ValueError(f"onehot must be (b, length, 4), got {tuple(onehot.shape)}")
        self._check(onehot.shape[1])
        return onehot.mT.to(next(self.module.parameters()))

    def _check(self, length: int) -> None:
        bin_ = list(self.layers.values())[-1].stride
        cropped = int(self._crop.target_length)
        if length < 1 or length % bin_ or length // bin_ < cropped:
            raise ValueError(
                f"the input must be a multiple of {bin_} bp long, and at least "
                f"{max(cropped, 1) * bin_:,} bp, got {length:,}"
            )

    def _named(self, layer: str) -> str:
        return self.layers[layer].name


def _parts(network: Any) -> dict[str, _Part]:  # noqa: ANN401
    """List the parts in the order in which they run, the pools with what they stand before."""
    stages = {"stem": network.stem}
    stages |= {f"conv_tower.{i}": stage for i, stage in enumerate(network.conv_tower)}
    found, pool = dict[str, _Part](), list[nn.Module]()
    for name, (convolution, residual, behind) in stages.items():
        found[f"{name}.0"] = _Part(nn.Sequential(*pool, convolution), True)
        found[f"{name}.1"] = _Part(residual, True)
        pool = [behind]
    found["pool"] = _Part(pool[0], True)
    found |= {f"transformer.{i}": _Part(b, False) for i, b in enumerate(network.transformer)}
    return found


def _infos(parts: Mapping[str, _Part], network: Any) -> dict[str, LayerInfo]:  # noqa: ANN401
    """Work out channels, strides and receptive windows."""
    found, channels, stride, lo, hi = dict[str, LayerInfo](), 4, 1, 0, 0
    for name, part in parts.items():
        if name == "pool" or (name.endswith(".0") and name.startswith("conv_tower")):
            stride, hi = 2 * stride, hi + stride
        if name.endswith(".0") and part.first:
            (convolution,) = (m for m in list(part.module.modules()) if type(m) is nn.Conv1d)
            channels, reach = convolution.out_channels, convolution.kernel_size[0] // 2 * stride
            lo, hi = lo + reach, hi + reach
        found[name] = LayerInfo(name, channels, stride, lo, hi)
    return found

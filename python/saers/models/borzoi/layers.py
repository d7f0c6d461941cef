"""The layers of Borzoi: their names, channels, strides, receptive windows and costs."""

from collections.abc import Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from saers.layer import LayerInfo
from saers.models.base import NamedLayers
from saers.models.borzoi.config import BorzoiConfig, aliases
from saers.models.borzoi.network import Borzoi, State
from saers.models.receptive import Window


def layers_of(config: BorzoiConfig, length: int) -> Mapping[str, LayerInfo]:
    """Work out channels, strides and receptive windows for inputs of ``length`` bp."""
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
    return NamedLayers(infos, aliases(config))


def flops_of(config: BorzoiConfig, length: int, species: str | None) -> dict[str, int]:
    """Count the operations up to each layer and up to the "outputs" of a species, for one input.

    Of the last layers what the outputs depend on is counted; to capture them whole costs more.
    """
    counts: dict[str, int] = {}
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network = Borzoi(config).eval()
        state, before = State(torch.empty(1, 4, length)), None
        for layer in config.layers:
            state, before = network.advance(state, before, layer, middle=True), layer
            counts[layer] = counter.get_total_flops()
        if config.upto is None:
            network.outputs(state, species)
            counts["outputs"] = counter.get_total_flops()
    return counts


def _pooled(window: Window) -> Window:
    return Window(2 * window.stride, window.lo, window.hi + window.stride)


def _convolved(window: Window, width: int) -> Window:
    reach = width // 2 * window.stride
    return Window(window.stride, window.lo + reach, window.hi + reach)


def _doubled(window: Window) -> Window:
    """Repeat each position twice: the second of the two lies half a stride to the right."""
    half = window.stride // 2
    return Window(half, window.lo + half, window.hi)

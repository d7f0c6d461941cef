"""Streams of several layers that read the same windows at the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from saers.layer import ActivationSource
from saers.sae.config import TrainConfig
from saers.sae.sources import Source


def align(
    sources: Mapping[str, Source], configs: Sequence[TrainConfig]
) -> dict[str, tuple[Source, list[TrainConfig]]]:
    """Let layers of the same windows share a buffer's windows, with equal parts of each window.

    A layer of fewer positions a window would otherwise be through with its windows sooner, and
    ask for others than the rest. What is not windows, or of others, is left as it is.

    Parameters
    ----------
    sources
        Layers.
    configs
        Settings of a layer's autoencoders, all with the same stream.

    Returns
    -------
    dict
        Source and settings by layer.
    """
    layers = [source for source in sources.values() if isinstance(source, ActivationSource)]
    if len(layers) < 2 or len(layers) < len(sources) or not _same_windows(layers):
        return {name: (source, list(configs)) for name, source in sources.items()}
    first = configs[0]
    positions = min(layer.n_positions for layer in layers)
    windows = min(
        max(first.buffer(layer.layer.channels) // max(1, layer.n_positions), first.buffer_windows)
        for layer in layers
    )
    # A buffer has to fill a batch.
    windows = max(min(windows, layers[0].windows.height), -(-first.batch_size // positions))
    shared = [
        replace(config, buffer_tokens=windows * positions, buffer_windows=windows)
        for config in configs
    ]
    return {name: (source, shared) for name, source in sources.items()}


def _same_windows(layers: Sequence[ActivationSource]) -> bool:
    """Tell whether all layers have one table of windows."""
    return all(layer.windows.equals(layers[0].windows) for layer in layers[1:])

"""Training of sparse autoencoders over one stream, from the first batch to the folded weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

from saers.progress import SILENT, Progress
from saers.sae.aligned import align
from saers.sae.config import TrainConfig
from saers.sae.divergence import TrainingDivergedError
from saers.sae.run import Places, Run, TrainResult, train_together
from saers.sae.sources import Rows, Source
from saers.sae.start import initial_sae

__all__ = [
    "TrainResult",
    "TrainingDivergedError",
    "initial_sae",
    "train_layers",
    "train_sae",
    "train_sweep",
]

# What autoencoders that share a stream must have in common.
_OF_STREAM = (
    "batch_size",
    "buffer_tokens",
    "buffer_windows",
    "background",
    "strands",
    "holdout",
)


def train_sae(
    source: Source,
    config: TrainConfig,
    *,
    device: str | torch.device | None = None,
    stats: pl.DataFrame | None = None,
    mask: Rows | None = None,
    validation: Source | None = None,
    progress: Progress | None = None,
    state_dir: str | Path | None = None,
    metrics_path: str | Path | None = None,
    log_to: str | None = None,
) -> TrainResult:
    """Train a sparse autoencoder.

    Under ``torchrun`` every process takes its part of each batch, and gets the result.

    Parameters
    ----------
    source
        An (n, channels) array or tensor; an HDF5 file, or a folder of activations; an
        `ActivationSource`, of which the windows of split ``train`` are taken; or an iterable of
        (n, channels) batches. An iterator that cannot start again ends the training when it
        ends, unless it fits in the buffer.
    config
        Settings.
    device
        Where to compute; by default (or "auto") a GPU where there is one. On a CPU torch's number
        of threads holds (``torch.set_num_threads``).
    stats
        Channel statistics (`schema.STATS`) for the map of the input; by default they are
        measured on the first buffer.
    mask
        (n,) True where a row of an array may be used.
    validation
        What to measure the result on; by default what is held out of the source: its windows of
        split ``holdout``, else what ``config.holdout`` makes of it.
    progress
        Told of every step.
    state_dir
        Folder for checkpoints. A run that finds one there goes on from it, with the result that
        an unbroken run would have had, to the bit on a CPU.
    metrics_path
        File for one line of JSON every ``log_every`` steps, one for every measurement on
        held-out positions, and one for the evaluation at the end.
    log_to
        Also show these numbers on ``tensorboard`` or ``wandb``, beside ``metrics_path``.

    Returns
    -------
    TrainResult
        The autoencoder with the input map folded in, and its metrics.

    Raises
    ------
    ValueError
        If an argument does not fit, the source does not fill a batch, or an activation is NaN
        or infinite.
    TrainingDivergedError
        If the loss becomes NaN or infinite, or stays above ``config.divergence_factor`` times
        its lowest for ``config.divergence_steps`` steps.
    MemoryError
        If there is too little memory; says what to lower.

    Examples
    --------
    >>> rows = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    >>> sae, metrics = train_sae(rows, TrainConfig(k=2, steps=20, batch_size=64))
    >>> sae.encode(rows).values.shape, metrics["trained_tokens"]
    (torch.Size([512, 2]), 1280)
    """
    places = [Places(_path(state_dir), _path(metrics_path))]
    run = Run(source, [config], places, device=device, mask=mask, log_to=log_to)
    return train_together([run], stats, validation, progress or SILENT)[0][0]


def train_sweep(
    source: Source,
    configs: Sequence[TrainConfig],
    *,
    device: str | torch.device | None = None,
    stats: pl.DataFrame | None = None,
    mask: Rows | None = None,
    validation: Source | None = None,
    progress: Progress | None = None,
    folders: Sequence[str | Path] | None = None,
    log_to: str | None = None,
) -> list[TrainResult]:
    """Train several autoencoders in one pass over one stream.

    Each ends with the bits that :func:`train_sae` alone would give it on that stream. They may
    differ in whatever does not belong to the stream; ``order_seed`` is the first one's.

    Parameters
    ----------
    source, device, stats, mask, validation, progress, log_to
        As for :func:`train_sae`.
    configs
        Settings of each.
    folders
        A folder for each, for its checkpoints (``state/``) and metrics (``metrics.jsonl``).

    Raises
    ------
    ValueError
        If the settings of the stream differ, or as :func:`train_sae` does.

    Examples
    --------
    >>> rows = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    >>> configs = [TrainConfig(k=k, steps=20, batch_size=64) for k in (1, 2)]
    >>> [result.sae.k for result in train_sweep(rows, configs)]
    [1, 2]
    """
    if folders is not None and len(folders) != len(configs):
        raise ValueError(f"folders must be {len(configs)}, one for each, got {len(folders)}")
    run = Run(
        source, _of_one_stream(configs), _places(folders, len(configs)), device=device, mask=mask,
        log_to=log_to,
    )  # fmt: skip
    return train_together([run], stats, validation, progress or SILENT)[0]


def train_layers(
    sources: Mapping[str, Source],
    configs: Sequence[TrainConfig],
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    folders: Mapping[str, Sequence[str | Path]] | None = None,
    log_to: str | None = None,
) -> dict[str, list[TrainResult]]:
    """Train the same autoencoders on each of several layers, side by side.

    Layers that have the same windows are read window by window together, as many positions of
    each, so that a forward pass of :func:`saers.shared_capture.layer_sources` serves all. Each
    autoencoder ends with the bits that :func:`train_sae` alone would give it on its layer, with
    the settings that its file tells (``buffer_tokens`` and ``buffer_windows`` are set).

    Parameters
    ----------
    sources
        The activations of each layer, as :func:`saers.shared_capture.layer_sources` makes them, or
        datasets of HDF5 files, arrays.
    configs
        Settings of each of a layer's autoencoders.
    device, progress, log_to
        As for :func:`train_sae`.
    folders
        For each layer a folder for each, for checkpoints (``state/``) and metrics.

    Returns
    -------
    dict
        Results by layer, in the order of ``configs``.

    Raises
    ------
    ValueError
        As :func:`train_sweep` does, or if there is no layer.

    Examples
    --------
    >>> draw = torch.Generator().manual_seed(0)
    >>> layers = {name: torch.randn(512, 4, generator=draw) for name in ("conv1", "conv2")}
    >>> made = train_layers(layers, [TrainConfig(k=k, steps=20, batch_size=64) for k in (1, 2)])
    >>> {name: [result.sae.k for result in results] for name, results in made.items()}
    {'conv1': [1, 2], 'conv2': [1, 2]}
    """
    if not sources:
        raise ValueError("sources must hold at least one layer, got none")
    runs = []
    for name, (source, shared) in align(sources, _of_one_stream(configs)).items():
        places = _places(None if folders is None else folders[name], len(configs))
        runs.append(Run(source, shared, places, device=device, mask=None, log_to=log_to))
    results = train_together(runs, None, None, progress or SILENT)
    return dict(zip(sources, results, strict=True))


def _of_one_stream(configs: Sequence[TrainConfig]) -> list[TrainConfig]:
    """Give all the order of the first, and require what they have to have in common."""
    if not configs:
        raise ValueError("configs must hold at least one, got none")
    made = [replace(config, order_seed=configs[0].stream_seed) for config in configs]
    for name in _OF_STREAM:
        values = {getattr(config, name) for config in made}
        if len(values) > 1:
            raise ValueError(f"{name} must be the same for all, as they share a stream: {values}")
    return made


def _places(folders: Sequence[str | Path] | None, count: int) -> list[Places]:
    """Tell where each leaves its checkpoints and metrics."""
    if folders is None:
        return [Places(None, None)] * count
    return [Places(Path(folder) / "state", Path(folder) / "metrics.jsonl") for folder in folders]


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)

"""Training of sparse autoencoders over one stream, from the first batch to the folded weights."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch
from torch import Tensor

from saers.progress import SILENT, Progress
from saers.sae.buffer import Feed, Place
from saers.sae.config import TrainConfig
from saers.sae.divergence import TrainingDivergedError
from saers.sae.holdout import divide
from saers.sae.member import Member
from saers.sae.metrics import evaluate
from saers.sae.module import SAE
from saers.sae.parallel import join_crew
from saers.sae.sources import Rows, Source, open_tokens
from saers.sae.start import find_background, fit_normaliser, initial_sae
from saers.sae.trackers import open_tracker

__all__ = ["TrainResult", "TrainingDivergedError", "initial_sae", "train_sae", "train_sweep"]

# What autoencoders that share a stream must have in common.
_OF_STREAM = (
    "batch_size",
    "buffer_tokens",
    "buffer_windows",
    "background",
    "strands",
    "holdout",
)
_PROBE = 16_384  # held-out positions that are measured during training


class TrainResult(NamedTuple):
    """A trained autoencoder and what was measured on it.

    ``metrics`` holds ``split`` (``holdout``, or ``train`` where nothing was held out), the keys
    of :meth:`saers.sae.metrics.Evaluation.summary`, and ``steps``, ``trained_tokens``,
    ``gamma_after``, ``seconds``, and ``waiting_share``, the share of the training time that was
    spent waiting for the source.
    """

    sae: SAE
    metrics: dict[str, Any]


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
    places = [_Places(_path(state_dir), _path(metrics_path))]
    run = _Run(source, [config], places, device=device, mask=mask, log_to=log_to)
    return run.through(stats, validation, progress or SILENT)[0]


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
    if not configs:
        raise ValueError("configs must hold at least one, got none")
    if folders is not None and len(folders) != len(configs):
        raise ValueError(f"folders must be {len(configs)}, one for each, got {len(folders)}")
    configs = [replace(config, order_seed=configs[0].stream_seed) for config in configs]
    for name in _OF_STREAM:
        values = {getattr(config, name) for config in configs}
        if len(values) > 1:
            raise ValueError(f"{name} must be the same for all, as they share a stream: {values}")
    places = [
        _Places(Path(folder) / "state", Path(folder) / "metrics.jsonl") for folder in folders or ()
    ] or [_Places(None, None)] * len(configs)
    run = _Run(source, configs, places, device=device, mask=mask, log_to=log_to)
    return run.through(stats, validation, progress or SILENT)


class _Places(NamedTuple):
    """Where one autoencoder leaves what a later run needs."""

    state: Path | None
    log: Path | None


class _Run:
    """One pass over a stream."""

    def __init__(
        self,
        source: Source,
        configs: Sequence[TrainConfig],
        places: Sequence[_Places],
        *,
        device: str | torch.device | None,
        mask: Rows | None,
        log_to: str | None,
    ) -> None:
        self.crew, self.device = join_crew(_device(device))
        first = configs[0]
        if first.batch_size % self.crew.size:
            raise ValueError(
                f"batch_size must be a multiple of the {self.crew.size} processes, "
                f"got {first.batch_size}"
            )
        self.division = divide(source, first.holdout, mask=mask)
        self.tokens = open_tokens(self.division.train, first, mask=self.division.train_mask)
        self.members = [
            self._member(config, place, log_to)
            for config, place in zip(configs, places, strict=True)
        ]

    def _member(self, config: TrainConfig, place: _Places, log_to: str | None) -> Member:
        trackers = []
        if log_to is not None and self.crew.rank == 0:
            trackers = [open_tracker(log_to, place.log.parent if place.log else Path("runs"))]
        return Member(
            config,
            self.tokens.channels,
            self.tokens.signature(),
            folder=place.state,
            log=place.log,
            crew=self.crew,
            trackers=trackers,
        )

    def through(
        self, stats: pl.DataFrame | None, validation: Source | None, progress: Progress
    ) -> list[TrainResult]:
        """Train, evaluate and describe every member."""
        began = time.monotonic()
        with _naming_memory(self.members[0].config):
            held_out = self._held_out(validation)
            self._begin(stats)
            try:
                seconds = self._learn(progress, held_out)
                results = [self._conclude(member, held_out) for member in self.members]
            finally:
                self.feed.close()
                for member in self.members:
                    member.close()
        waiting = self.feed.waited / seconds if seconds else 0.0
        spent = {"seconds": time.monotonic() - began, "waiting_share": waiting}
        return [TrainResult(sae, facts | spent) for sae, facts in results]

    def _held_out(self, validation: Source | None) -> "_HeldOut":
        if validation is not None:
            return _HeldOut(validation, None)
        return _HeldOut(self.division.held_out, self.division.held_out_mask)

    def _begin(self, stats: pl.DataFrame | None) -> None:
        """Look at the stream, and put every member where it stands."""
        members = self.members
        last = max(member.config.steps for member in members)
        # After a kill between two checkpoints, members that are ahead wait for the others.
        behind = [member for member in members if member.steps_done < member.config.steps]
        self.step = min((member.steps_done for member in behind), default=last)
        place = min(member.place for member in behind or members)
        first = members[0].config
        self.feed = Feed(
            self.tokens,
            first.batch_size,
            seed=first.stream_seed,
            place=place,
            wanted=last - self.step,
            crew=self.crew,
        )
        channels = self.tokens.channels
        look = cache(self.feed.look)
        known = next((member.found for member in members if member.found), None)
        thinning = (
            find_background(first.background, look)
            if known is None
            else known.thinning(first.background)
        )
        fitted = cache(lambda kind: fit_normaliser(kind, look, stats, channels).to(self.device))
        for member in members:
            kept = member.found and member.found.normaliser.to(self.device)
            member.begin(kept or fitted(member.config.normalize), thinning)
        self.feed.thin(thinning)

    def _learn(self, progress: Progress, held_out: "_HeldOut") -> float:
        """Take the steps that are left; return the seconds that they took."""
        steps = max(member.config.steps for member in self.members)
        if self.crew.rank > 0:
            progress = SILENT
        progress.start("train", steps)
        progress.advance(self.step)
        probe = self._probe(held_out, steps)
        began = time.perf_counter()
        while self.step < steps:
            batch = self.feed.next_batch()
            if batch is None:
                progress.say(f"the source ended after {self.step} of {steps} steps")
                break
            batch = batch.to(self.device, non_blocking=True)
            for member in self.members:
                if member.stepper.steps_done == self.step < member.config.steps:
                    member.learn(batch, self.feed.place, probe)
            self.step += 1
            progress.advance()
        for member in self.members:
            member.save(self.feed.place)
        return time.perf_counter() - began

    def _probe(self, held_out: "_HeldOut", steps: int) -> Tensor | None:
        """Take held-out positions to measure during training, where that is due at all."""
        due = any(member.config.eval_every < member.config.steps for member in self.members)
        if held_out.source is None or not due or self.step >= steps:
            return None
        config = self.members[0].config
        tokens = open_tokens(
            held_out.source,
            replace(config, strands="forward", buffer_tokens=max(_PROBE, config.batch_size)),
            split="holdout",
            mask=held_out.mask,
        )
        feed = Feed(tokens, 1, seed=config.stream_seed, place=Place(), wanted=0)
        try:
            return feed.look()[:_PROBE].to(self.device)
        finally:
            feed.close()

    def _conclude(self, member: Member, held_out: "_HeldOut") -> tuple[SAE, dict[str, Any]]:
        sae, seed = member.folded(), member.config.seed
        if held_out.source is None:
            result, split = evaluate(sae, self.feed.look(), seed=seed), "train"
        else:
            split = "holdout"
            result = evaluate(sae, held_out.source, seed=seed, mask=held_out.mask)
        return sae, member.conclude(sae, result, split, self.tokens.origin())


class _HeldOut(NamedTuple):
    """What metrics are measured on; None stands for a part of what was trained on."""

    source: Source | None
    mask: Rows | None


@contextmanager
def _naming_memory(config: TrainConfig) -> Iterator[None]:
    """Say what to lower where there is too little memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        short = ("can't allocate memory", "not enough memory", "out of memory")
        if not isinstance(error, MemoryError) and not any(s in text.lower() for s in short):
            raise
        raise MemoryError(
            f"too little memory ({text.splitlines()[0] if text else 'no more is free'}): lower "
            f"batch_size (it is {config.batch_size}), n_latents or expansion (it is "
            f"{config.n_latents} latents), or buffer_tokens"
        ) from error


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _device(name: str | torch.device | None) -> torch.device:
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be a device of torch, got {name!r}: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be there, got {str(name)!r}, but torch sees no GPU")
    return device

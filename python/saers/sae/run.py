"""One pass over one stream for several autoencoders, and several such passes side by side."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from saers.sae.holdout import divide
from saers.sae.member import Member
from saers.sae.metrics import evaluate
from saers.sae.module import SAE
from saers.sae.parallel import join_crew
from saers.sae.sources import Rows, Source, open_tokens
from saers.sae.start import find_background, fit_normaliser
from saers.sae.trackers import open_tracker

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


class Places(NamedTuple):
    """Where one autoencoder leaves what a later run needs."""

    state: Path | None
    log: Path | None


class Run:
    """One pass over a stream."""

    def __init__(
        self,
        source: Source,
        configs: Sequence[TrainConfig],
        places: Sequence[Places],
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

    def _member(self, config: TrainConfig, place: Places, log_to: str | None) -> Member:
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

    def open(self, validation: Source | None) -> None:
        """Find where in the stream the members stand, and begin to read there."""
        members = self.members
        self.held_out = (
            _HeldOut(self.division.held_out, self.division.held_out_mask)
            if validation is None
            else _HeldOut(validation, None)
        )
        self.steps = max(member.config.steps for member in members)
        # After a kill between two checkpoints, members that are ahead wait for the others.
        behind = [member for member in members if member.steps_done < member.config.steps]
        self.step = min((member.steps_done for member in behind), default=self.steps)
        first = members[0].config
        self.feed = Feed(
            self.tokens,
            first.batch_size,
            seed=first.stream_seed,
            place=min(member.place for member in behind or members),
            wanted=self.steps - self.step,
            crew=self.crew,
        )

    def begin(self, stats: pl.DataFrame | None) -> None:
        """Look at the stream, and put every member where it stands."""
        first, channels = self.members[0].config, self.tokens.channels
        look = cache(self.feed.look)
        known = next((member.found for member in self.members if member.found), None)
        thinning = (
            find_background(first.background, look)
            if known is None
            else known.thinning(first.background)
        )
        fitted = cache(lambda kind: fit_normaliser(kind, look, stats, channels).to(self.device))
        for member in self.members:
            kept = member.found and member.found.normaliser.to(self.device)
            member.begin(kept or fitted(member.config.normalize), thinning)
        self.feed.thin(thinning)
        self.probe = self._probe()

    def take_step(self) -> bool:
        """Take the next step with every member that has not taken it; False at the end."""
        if self.step >= self.steps:
            return False
        batch = self.feed.next_batch()
        if batch is None:
            return False
        batch = batch.to(self.device, non_blocking=True)
        for member in self.members:
            if member.stepper.steps_done == self.step < member.config.steps:
                member.learn(batch, self.feed.place, self.probe)
        self.step += 1
        return True

    def save(self) -> None:
        """Write checkpoints of what is not yet in one."""
        for member in self.members:
            member.save(self.feed.place)

    def conclude(self) -> list[tuple[SAE, dict[str, Any]]]:
        """Evaluate and describe every member."""
        return [self._conclude(member) for member in self.members]

    def close(self) -> None:
        """Let threads and trackers end."""
        self.feed.close()
        for member in self.members:
            member.close()

    def _probe(self) -> Tensor | None:
        """Take held-out positions to measure during training, where that is due at all."""
        due = any(member.config.eval_every < member.config.steps for member in self.members)
        held_out = self.held_out
        if held_out.source is None or not due or self.step >= self.steps:
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

    def _conclude(self, member: Member) -> tuple[SAE, dict[str, Any]]:
        sae, seed, held_out = member.folded(), member.config.seed, self.held_out
        if held_out.source is None:
            result, split = evaluate(sae, self.feed.look(), seed=seed), "train"
        else:
            split = "holdout"
            result = evaluate(sae, held_out.source, seed=seed, mask=held_out.mask)
        return sae, member.conclude(sae, result, split, self.tokens.origin())


def train_together(
    runs: Sequence[Run],
    stats: pl.DataFrame | None,
    validation: Source | None,
    progress: Progress,
) -> list[list[TrainResult]]:
    """Train the members of every run, a step of each run at a time.

    ``stats`` and ``validation`` are for all runs.
    """
    began = time.monotonic()
    with _naming_memory(runs[0].members[0].config), ExitStack() as opened:
        for run in runs:
            run.open(validation)
            opened.callback(run.close)
        if len(runs) > 1:
            for run in runs:
                run.feed.begin()
        for run in runs:
            run.begin(stats)
        seconds = _learn(runs, SILENT if runs[0].crew.rank else progress)
        made = [run.conclude() for run in runs]
    took = time.monotonic() - began
    results = []
    for run, members in zip(runs, made, strict=True):
        spent = {"seconds": took, "waiting_share": run.feed.waited / seconds if seconds else 0.0}
        results.append([TrainResult(sae, facts | spent) for sae, facts in members])
    return results


def _learn(runs: Sequence[Run], progress: Progress) -> float:
    """Take the steps that are left; return the seconds that they took."""
    steps, done = max(run.steps for run in runs), min(run.step for run in runs)
    progress.start("train", steps)
    progress.advance(done)
    began = time.perf_counter()
    while done < steps:
        # After a kill, runs that are ahead wait for the others.
        taken = [run.take_step() for run in runs if run.step <= done]
        if not any(taken):
            progress.say(f"the source ended after {done} of {steps} steps")
            break
        done += 1
        progress.advance()
    for run in runs:
        run.save()
    return time.perf_counter() - began


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

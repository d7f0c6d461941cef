"""Timing of a job beside its peers, and the table that comes of it."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

Job = Callable[[], object]


class Timing(NamedTuple):
    """Medians over the runs of a job, in seconds."""

    cpu: float
    """User and system time of all threads of the process."""
    wall: float


class Row(NamedTuple):
    """One line of docs/benchmarks.md."""

    job: str
    size: str
    ours: Timing
    peer: str
    theirs: Timing
    aim: float | None = None
    """What the ratio of CPU seconds, theirs over ours, should reach; None: told, not aimed at."""
    note: str = ""
    by_wall: bool = False
    """Compare wall seconds, where threads are what is measured."""

    @property
    def ratio(self) -> float:
        """How many times the peer's time ours is contained in."""
        pick = (lambda timing: timing.wall) if self.by_wall else (lambda timing: timing.cpu)
        return pick(self.theirs) / pick(self.ours)


def alternate(jobs: Sequence[Job], *, repeats: int = 3) -> list[Timing]:
    """Time several jobs in turns, so that a slow minute of the machine meets all of them.

    Each job runs once before, which warms the page cache.
    """
    for job in jobs:
        job()
    seen: list[list[Timing]] = [[] for _ in jobs]
    for _ in range(repeats):
        for job, timings in zip(jobs, seen, strict=True):
            timings.append(once(job))
    return [
        Timing(
            statistics.median(t.cpu for t in timings), statistics.median(t.wall for t in timings)
        )
        for timings in seen
    ]


def once(job: Job) -> Timing:
    """Time one run."""
    cpu, wall = time.process_time(), time.perf_counter()
    job()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall)


def scaled(timing: Timing, factor: float) -> Timing:
    """Time of a job ``factor`` times as large; say so in the row's note."""
    return Timing(timing.cpu * factor, timing.wall * factor)


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in Markdown."""
    head = "| job | size | saers, CPU s (wall s) | peer | peer, CPU s (wall s) | ratio | aim | |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        aim = "" if row.aim is None else f"≥ {row.aim:.4g}"
        met = "" if row.aim is None else ("reached" if row.ratio >= row.aim else "**missed**")
        lines.append(
            f"| {row.job} | {row.size} | {_seconds(row.ours)} | {row.peer} | "
            f"{_seconds(row.theirs)} | {_ratio(row)} | {aim} | "
            f"{' · '.join(part for part in (met, row.note) if part)} |"
        )
    return "\n".join(lines)


def _seconds(timing: Timing) -> str:
    return "–" if math.isnan(timing.cpu) else f"{timing.cpu:.3g} ({timing.wall:.3g})"


def _ratio(row: Row) -> str:
    if math.isnan(row.ratio):  # a line of memory, or without a peer
        return "–"
    return f"{row.ratio:.3g} x{' (wall)' if row.by_wall else ''}"

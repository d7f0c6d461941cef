"""Motif discovery: two motifs in windows of human sequence

MEF2A is planted in 50 % of the seqlets, POU5F1 in 30 % (JASPAR 2024). Programs of the MEME Suite
are given the same widths, 6 to 20, unless said, and their CPU time is that of their process. Needs
the test data (SAERS_TEST_DATA), `streme` and `meme` on the PATH.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benches.discovery import sets
from benches.harness import Row, Timing, scaled
from saers import discover_motifs
from saers.motifs.discovery import discover_features

DATA = Path(os.environ.get("SAERS_TEST_DATA", "../shared/data"))
FEATURES = 24
AIM = 8
MEME_AIM = 1000


def run() -> Iterator[Row]:
    for count, width in [(1000, 24), (1000, 34), (1000, 42), (1000, 78), (1000, 150)]:
        yield beside_streme(count, width)
    for count in (200, 5000):
        yield beside_streme(count, 78)
    yield beside_meme()
    yield many_features()


def extra() -> str:
    """The table of accuracy, which takes hours to make and is therefore kept."""
    kept = Path(__file__).parent / "discovery" / "accuracy.md"
    return kept.read_text() if kept.exists() else ""


def beside_streme(count: int, width: int) -> Row:
    sequences = seqlets(count, width)
    ours, theirs = alternate(
        lambda: discover_motifs(sequences, threads=1),
        lambda: discover_motifs(sequences, engine="streme"),
    )
    return Row("two motifs", f"{count:,} × {width} bp", ours, "STREME 5.4.1", theirs, AIM)


def beside_meme() -> Row:
    """Time MEME as SAE-Borzoi runs it, which takes minutes, once."""
    sequences = seqlets(1000, 34)
    # Before and after, for a machine may slow down or speed up within minutes.
    [before] = alternate(lambda: discover_motifs(sequences, threads=1), repeats=15)
    [theirs] = alternate(lambda: discover_motifs(sequences, preset="paper"), repeats=1)
    [after] = alternate(lambda: discover_motifs(sequences, threads=1), repeats=15)
    ours = Timing((before.cpu + after.cpu) / 2, (before.wall + after.wall) / 2)
    size, note = "1,000 × 34 bp", "the program timed once, on one strand, widths 8 to 50"
    return Row("two motifs", size, ours, "MEME 5.4.1, preset paper", theirs, MEME_AIM, note)


def many_features() -> Row:
    """Time some features as a stage runs them, and STREME on one."""
    frames = [
        pl.DataFrame({"feature": i, "rank": range(1000), "sequence": seqlets(1000, 34, seed=i)})
        for i in range(FEATURES)
    ]
    table = pl.DataFrame({"feature": range(FEATURES)}).with_columns(
        name=pl.format("n{}", "feature"), selected=True
    )
    ours, theirs = alternate(
        lambda: discover_features(pl.concat(frames), table, workers=2),
        lambda: discover_motifs(frames[0]["sequence"].to_list(), engine="streme"),
    )
    note = f"two workers; timed on {FEATURES} features and on one"
    return Row(
        "a whole SAE",
        "2,432 features of 1,000 × 34 bp",
        scaled(ours, 2432 / FEATURES),
        "STREME 5.4.1",
        scaled(theirs, 2432),
        AIM,
        note,
    )


def seqlets(count: int, width: int, seed: int = 0) -> list[str]:
    """Cut seqlets out of the genome and plant two motifs."""
    rng = np.random.default_rng([seed, count, width])
    letters = sets.windows(DATA, rng, count, width, repeats=False)
    motifs = {motif.name: motif.matrix for motif in sets.jaspar(DATA)}
    halves = {"MEF2A": letters[: count // 2], "POU5F1": letters[count // 2 : count * 4 // 5]}
    for name, rows in halves.items():
        for row in rows:
            sets.plant(row, motifs[name], rng, middle=False)
    return ["".join(row) for row in np.array(list("ACGT"))[letters]]


def alternate(*jobs: Callable[[], object], repeats: int = 3) -> list[Timing]:
    """Time jobs in turns, the programs that they start included."""
    seen: list[list[Timing]] = [[] for _ in jobs]
    for _ in range(repeats):
        for job, timings in zip(jobs, seen, strict=True):
            cpu, wall = cpu_seconds(), time.perf_counter()
            job()
            timings.append(Timing(cpu_seconds() - cpu, time.perf_counter() - wall))
    return [Timing(*map(statistics.median, zip(*timings, strict=True))) for timings in seen]


def cpu_seconds() -> float:
    """User and system time of this process and of the programs that it started and that ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(one)[:2]) for one in who)

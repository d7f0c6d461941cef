"""Intervals: Jaccard, overlap with annotations, shuffles, and what they come to.

Seqlets lie around 400,000 hot spots of a genome of human size, 1,000 of each of 2,432 features,
34 bp each; annotations are sorted and cover half of it, as repeats do. Lines say "frames" where
the public function is timed, frame in and frame out, and "columns" where the kernel is, from
columns in memory that hold numbers for names.
"""

import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

import saers
from benches.harness import Job, Row, Timing, alternate, scaled
from saers import _core
from saers.columns import encode
from saers.genome import Genome

N_FEATURES, PER_FEATURE, N_SPOTS, WIDTH = 2432, 1000, 400_000, 34
MEGABASES = {  # of the human chromosomes
    **{f"chr{i + 1}": size for i, size in enumerate((
        249, 242, 198, 190, 182, 171, 159, 145, 138, 134, 135,
        133, 114, 107, 102, 90, 83, 80, 59, 64, 47, 51,
    ))},
    "chrX": 156, "chrY": 57,
}  # fmt: skip
SIZES = {name: 1_000_000 * size for name, size in MEGABASES.items()}
MARGIN = 10_000
N_PAIRS = N_FEATURES * (N_FEATURES - 1) // 2
SAMPLED_PAIRS, SAMPLED_ROWS = 200, 40


def run() -> list[Row]:
    """Time the four jobs."""
    rng = np.random.default_rng(0)
    intervals = seqlets(rng)
    return [
        *jaccard(intervals),
        *overlaps(intervals, annotation(rng, 5_000_000)),
        *placements(intervals, annotation(rng, 1_000_000, classes=20)),
    ]


def places(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw places all over the genome: number of the chromosome, base."""
    ends = np.cumsum([size - 2 * MARGIN for size in SIZES.values()])
    at = rng.integers(0, ends[-1], n)
    chrom = np.searchsorted(ends, at, side="right")
    return chrom, at - np.r_[0, ends][chrom] + MARGIN


def seqlets(rng: np.random.Generator) -> pl.DataFrame:
    """Draw seqlets up to 64 bp beside hot spots, in steps of 8 bp."""
    chrom, at = places(rng, N_SPOTS)
    picks = [rng.choice(N_SPOTS, PER_FEATURE, replace=False) for _ in range(N_FEATURES)]
    pick = np.concatenate(picks)
    start = at[pick] + 8 * rng.integers(-8, 9, len(pick))
    feature = np.repeat(np.arange(N_FEATURES, dtype=np.uint32), PER_FEATURE)
    names = np.array(list(SIZES))[chrom[pick]]
    return pl.DataFrame({"feature": feature, "chrom": names, "start": start, "end": start + WIDTH})


def annotation(rng: np.random.Generator, n: int, classes: int = 0) -> pl.DataFrame:
    """Draw stretches of about 270 bp, sorted by chromosome and start."""
    chrom, at = places(rng, n)
    order = np.lexsort((at, chrom))
    chrom, start = chrom[order], at[order]
    end = start + np.clip(rng.lognormal(5.2, 0.9, n), 10, 6000).astype(np.int64)
    frame = pl.DataFrame({"chrom": np.array(list(SIZES))[chrom], "start": start, "end": end})
    if not classes:
        return frame
    names = np.array([f"class{i}" for i in range(classes)])
    return frame.with_columns(pl.Series("class", names[rng.integers(0, classes, n)]))


def jaccard(intervals: pl.DataFrame) -> list[Row]:
    """All pairs, beside bedtools on some."""
    own = encode(intervals, "feature")
    shape = (len(own.tags), len(own.chroms))
    ours, kernel = alternate(
        [
            lambda: saers.jaccard(intervals, threads=1),
            lambda: _core.jaccard(own.columns, shape, 1),
        ]
    )
    reached = "reached" if ours.cpu <= 0.5 else "missed"
    size = f"{N_FEATURES} sets × {PER_FEATURE}"
    note = f"from {SAMPLED_PAIRS} pairs, scaled; columns {kernel.cpu:.3g} s; ≤ 0.5 s {reached}"
    job = "Jaccard of all pairs, frames"
    if not shutil.which("bedtools"):
        return [missing(job, size, ours, "bedtools jaccard")]
    with tempfile.TemporaryDirectory() as folder:
        beds = [Path(folder) / f"{feature}.bed" for feature in range(SAMPLED_PAIRS + 1)]
        for feature, bed in enumerate(beds):
            write_bed(intervals.filter(pl.col("feature") == feature), bed)
        timing = children(
            ["bedtools", "jaccard", "-a", str(one), "-b", str(other)]
            for one, other in pairwise(beds)
        )
    theirs = scaled(timing, N_PAIRS / SAMPLED_PAIRS)
    return [Row(job, size, ours, "bedtools jaccard", theirs, 10_000, note)]


def overlaps(intervals: pl.DataFrame, classes: pl.DataFrame) -> list[Row]:
    """Intervals of each feature that touch an annotation, beside two libraries."""
    own = encode(intervals, "feature")
    other = encode(classes, None, chroms=own.chroms)
    shape = (len(own.tags), 1, len(own.chroms))
    split = by_chromosome(intervals, classes)
    jobs: list[Job] = [
        lambda: _core.count_overlaps(own.columns, other.columns, shape, 1),
        lambda: saers.count_overlaps(intervals, classes, threads=1),
        lambda: nested_lists(split),
        lambda: nested_lists(by_chromosome(intervals, classes)),
        lambda: polars_bio(intervals, classes),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns, frames, lists, split_and_lists, bio = alternate(jobs)
    size = f"{intervals.height:,} × {classes.height:,}"
    ncls = "NCLS, build and query"
    return [
        Row("overlap, columns", size, columns, ncls, lists, 8, "peer: split by chromosome before"),
        Row("overlap, frames", size, frames, ncls, split_and_lists, 8, "peer: split, then count"),
        Row("overlap, frames", size, frames, "polars-bio count_overlaps", bio, 6),
    ]


Split = list[tuple[np.ndarray, ...]]


def by_chromosome(intervals: pl.DataFrame, classes: pl.DataFrame) -> Split:
    """Split both tables by chromosome, as NCLS wants them."""
    targets = {
        name: frame for (name,), frame in classes.partition_by("chrom", as_dict=True).items()
    }
    return [
        (
            *(targets[name][column].to_numpy() for column in ("start", "end")),
            *(own[column].to_numpy() for column in ("start", "end", "feature")),
        )
        for (name,), own in intervals.partition_by("chrom", as_dict=True).items()
    ]


def nested_lists(split: Split) -> np.ndarray:
    """Count by NCLS."""
    from ncls import NCLS

    counts = np.zeros(N_FEATURES, np.int64)
    for target_start, target_end, start, end, feature in split:
        lists = NCLS(target_start, target_end, np.arange(len(target_start)))
        hits = lists.has_overlaps(start, end, np.arange(len(start)))
        counts += np.bincount(feature[hits], minlength=N_FEATURES)
    return counts


def polars_bio(intervals: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Count by polars-bio on one thread."""
    import polars_bio

    polars_bio.set_option("datafusion.execution.target_partitions", "1")
    polars_bio.set_option("datafusion.bio.coordinate_system_check", "false")
    polars_bio.set_option("datafusion.bio.coordinate_system_zero_based", "true")
    columns = ["chrom", "start", "end"]
    return polars_bio.count_overlaps(
        intervals, classes, cols1=columns, cols2=columns, output_type="polars.DataFrame"
    )


class Lengths(Genome):
    """Lengths of chromosomes and runs of N, without a sequence."""

    def __init__(self, runs: dict[str, list[tuple[int, int]]]) -> None:
        self.path = Path("genome.fa")
        self.chromosomes = dict(SIZES)
        self._n_runs = {name: np.array(run, np.int64) for name, run in runs.items()}


def placements(intervals: pl.DataFrame, classes: pl.DataFrame) -> list[Row]:
    """One shuffle of all intervals, and the limit of infinitely many."""
    # Telomeres, a centromere, and twenty gaps.
    runs = {
        name: [(0, MARGIN), *((k * size // 22, k * size // 22 + 50_000) for k in range(1, 22))]
        for name, size in SIZES.items()
    }
    genome = Lengths(runs)
    one_class = classes.drop("class")

    def shuffled(n: int) -> Job:
        return lambda: saers.overlap_enrichment(
            intervals, one_class, genome=genome, n_controls=n, threads=1
        )

    def exact() -> pl.DataFrame:
        return saers.overlap_enrichment(intervals, classes, genome=genome, threads=1)

    few, more, limit = alternate([shuffled(2), shuffled(12), exact], repeats=3)
    shuffle = Timing((more.cpu - few.cpu) / 10, (more.wall - few.wall) / 10)
    size = f"{intervals.height:,} × {classes.height:,}"
    job, peer = "one shuffle and its overlaps", "bedtools shuffle, intersect"
    rows = [missing(job, size, shuffle, peer)]
    if shutil.which("bedtools"):
        theirs = bedtools_shuffle(intervals, one_class, runs)
        rows = [Row(job, size, shuffle, peer, theirs, 60, "ours: 12 controls less 2, over 10")]
    reached = "reached" if limit.cpu <= 2 else "missed"
    note = f"from {SAMPLED_ROWS} rows, scaled; ≤ 2 s {reached}"
    size = f"{N_FEATURES} features × 20 classes"
    theirs = scaled(trial_by_trial(), N_FEATURES * 20 / SAMPLED_ROWS)
    return [*rows, Row("exact null, frames", size, limit, "numpy, by trials", theirs, None, note)]


def bedtools_shuffle(
    intervals: pl.DataFrame, classes: pl.DataFrame, runs: dict[str, list[tuple[int, int]]]
) -> Timing:
    """Shuffle all intervals once within their chromosomes and keep those that touch."""
    rows = [(name, *run) for name, list_ in runs.items() for run in list_]
    with tempfile.TemporaryDirectory() as folder:
        own, other, gaps, moved, sizes = (str(Path(folder) / name) for name in "ioghs")
        write_bed(intervals, Path(own))
        write_bed(classes, Path(other))
        write_bed(pl.DataFrame(rows, schema=["chrom", "start", "end"], orient="row"), Path(gaps))
        Path(sizes).write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
        shuffle = ["bedtools", "shuffle", "-chrom", "-seed", "1", "-i", own, "-g", sizes]
        first = children([[*shuffle, "-excl", gaps]], out=Path(moved))
        then = children([["bedtools", "intersect", "-u", "-a", moved, "-b", other]])
    return Timing(first.cpu + then.cpu, first.wall + then.wall)


def trial_by_trial() -> Timing:
    """Add up 1,000 trials, one by one, for some rows."""
    chances = np.random.default_rng(1).uniform(0.005, 0.03, PER_FEATURE)

    def job() -> None:
        for _ in range(SAMPLED_ROWS):
            mass = np.ones(1)
            for p in chances:
                mass = np.convolve(mass, (1 - p, p))

    return alternate([job], repeats=3)[0]


def write_bed(frame: pl.DataFrame, path: Path) -> None:
    """Write three columns, sorted."""
    table = frame.select("chrom", "start", "end").sort("chrom", "start")
    table.write_csv(path, include_header=False, separator="\t")


def children(commands: Iterable[list[str]], out: Path = Path(os.devnull)) -> Timing:
    """Time other programs, run one after the other."""
    before, wall = os.times(), time.perf_counter()
    with out.open("w") as file:
        for command in commands:
            subprocess.run(command, stdout=file, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Timing(cpu, time.perf_counter() - wall)


def missing(job: str, size: str, ours: Timing, peer: str) -> Row:
    """Tell our time alone where a program is not there."""
    nothing = Timing(float("nan"), float("nan"))
    return Row(job, size, ours, peer, nothing, None, f"{peer.split()[0]} is not installed")

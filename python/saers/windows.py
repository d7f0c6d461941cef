"""Windows: the stretches of a genome that a model reads, from a BED or by tiling.

All windows have one length. They are sorted by the genome's order of chromosomes, then by
start, and numbered from 0; whole chromosomes can be held out of training.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, schema
from saers.checks import existing_file, in_range
from saers.genome import Genome
from saers.intervals import match_names, merge, read_bed


@dataclass(frozen=True)
class WindowRules:
    """Which windows are kept, and which are held out."""

    max_n: float = 0.5
    """Largest share of N in a window."""
    blacklist: pl.DataFrame | None = None
    """Regions (chrom, start, end) that no window may touch."""
    holdout: Sequence[str] = ()
    """Chromosomes kept out of training."""
    limit: int | None = None
    """At most so many windows, drawn without replacement."""
    seed: int = 0
    """Of the draw."""


DEFAULT_RULES = WindowRules()


def tile(
    genome: Genome,
    length: int,
    *,
    step: int | None = None,
    chromosomes: Sequence[str] = (),
    rules: WindowRules = DEFAULT_RULES,
) -> pl.DataFrame:
    r"""Lay windows side by side over chromosomes; what is left at the end is not covered.

    Parameters
    ----------
    genome
        The genome.
    length
        Length of a window in bp.
    step
        Distance between starts in bp; left out, ``length``.
    chromosomes
        Names; empty: all.
    rules
        Which windows are kept.

    Returns
    -------
    DataFrame
        Columns of `schema.WINDOWS`.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGTACGTNN\n>chr2\nACGT\n")
    >>> tile(Genome(path), 4, rules=WindowRules(holdout=["chr2"])).rows()
    [(0, 'chr1', 0, 4, 'train'), (1, 'chr1', 4, 8, 'train'), (2, 'chr2', 0, 4, 'holdout')]
    """
    step = length if step is None else step
    in_range("length", length, 1, 2**31)
    in_range("step", step, 1, 2**31)
    genome.require(chromosomes)
    frames = [
        pl.DataFrame({"start": np.arange(0, genome.chromosomes[name] - length + 1, step)})
        .cast(pl.Int64)
        .select(pl.lit(name).alias("chrom"), "start", (pl.col("start") + length).alias("end"))
        for name in chromosomes or genome.chromosomes
    ]
    return _finish(pl.concat(frames), genome, rules, where=f"{genome.path}: tiles of {length} bp")


def from_bed(
    path: str | Path, genome: Genome, *, rules: WindowRules = DEFAULT_RULES
) -> pl.DataFrame:
    """Read windows from the first three columns of a BED file.

    Returns
    -------
    DataFrame
        Columns of `schema.WINDOWS`.

    Raises
    ------
    FormatError
        Naming the line: a chromosome is not in the genome, a window reaches past its end, or
        its length is not that of the first window.
    """
    regions = read_bed(existing_file(path, what="windows")).select("chrom", "start", "end")
    for i, problem in _problems(regions, genome):
        raise FormatError(f"{path}: line {_line_number(Path(path), i)}: {problem}")
    return _finish(regions, genome, rules, where=str(path))


def from_regions(
    regions: pl.DataFrame, genome: Genome, *, rules: WindowRules = DEFAULT_RULES
) -> pl.DataFrame:
    r"""Make windows of a frame of chrom, start and end.

    Returns
    -------
    DataFrame
        Columns of `schema.WINDOWS`.

    Raises
    ------
    ValueError
        Naming the row, as `from_bed` names the line.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGTACGTNN\n")
    >>> regions = pl.DataFrame({"chrom": ["1"], "start": [0], "end": [4]})
    >>> from_regions(regions, Genome(path))
    Traceback (most recent call last):
    ...
    ValueError: window 0: '1' is not in genome.fa, which has 'chr1' (match_names renames)
    """
    regions = regions.select("chrom", pl.col("start", "end").cast(pl.Int64))
    for i, problem in _problems(regions, genome):
        raise ValueError(f"window {i}: {problem}")
    return _finish(regions, genome, rules, where="regions")


def common_length(windows: pl.DataFrame) -> int:
    """Require windows of one length, and tell it in bp.

    Examples
    --------
    >>> common_length(pl.DataFrame({"start": [0, 4], "end": [4, 9]}))
    Traceback (most recent call last):
    ...
    ValueError: windows must have one length, got [4, 5]
    """
    lengths = (windows["end"] - windows["start"]).unique().sort().to_list()
    if len(lengths) != 1:
        raise ValueError(f"windows must have one length, got {lengths[:4] or 'no windows'}")
    return int(lengths[0])


def in_parts(windows: pl.DataFrame, *, crop: int = 0, parts: int = 1) -> pl.DataFrame:
    """Cut off both ends of windows, and divide what is left of each into equal parts.

    Parameters
    ----------
    windows
        Table of windows (`schema.WINDOWS`) of one length.
    crop
        Base pairs to cut off at both ends.
    parts
        Parts of a window; part ``q`` of window ``w`` has number ``w * parts + q``.

    Raises
    ------
    ValueError
        If nothing is left, or it cannot be divided so.

    Examples
    --------
    >>> rows = {"window": [0], "chrom": ["chr1"], "start": [100], "end": [120]}
    >>> whole = pl.DataFrame(rows | {"split": ["train"]})
    >>> in_parts(whole, crop=4, parts=2).rows()
    [(0, 'chr1', 104, 110, 'train'), (1, 'chr1', 110, 116, 'train')]
    >>> whole_windows(in_parts(whole, crop=4, parts=2), crop=4, parts=2).equals(whole)
    True
    """
    length = common_length(windows)
    in_range("crop", crop, 0, (length - 1) // 2)
    in_range("parts", parts, 1, length - 2 * crop)
    size, rest = divmod(length - 2 * crop, parts)
    if rest:
        raise ValueError(
            f"parts must divide the {length - 2 * crop:,} bp that are read of a window, got {parts}"
        )
    starts = windows["start"].to_numpy()[:, None] + crop + size * np.arange(parts)
    chosen = np.repeat(np.arange(windows.height), parts)
    frame = windows[chosen].with_columns(
        window=pl.int_range(pl.len()),
        start=pl.Series(starts.ravel()),
        end=pl.Series(starts.ravel() + size),
    )
    return schema.conform(frame, schema.WINDOWS, table="windows")


def whole_windows(windows: pl.DataFrame, *, crop: int = 0, parts: int = 1) -> pl.DataFrame:
    """Undo `in_parts`: find the windows, as a model sees them, that a table was made of."""
    size = common_length(windows)
    start = pl.col("start") - crop
    frame = windows[::parts].with_columns(
        window=pl.int_range(pl.len()), start=start, end=start + parts * size + 2 * crop
    )
    return schema.conform(frame, schema.WINDOWS, table="windows")


def covered_bases(
    runs: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Count the bases of intervals that lie in sorted, disjoint runs.

    Parameters
    ----------
    runs
        (m, 2) starts and ends.
    starts, ends
        (n,) the intervals.

    Returns
    -------
    ndarray
        (n,) bases covered.

    Examples
    --------
    >>> runs = np.array([[2, 4], [8, 9]])
    >>> covered_bases(runs, np.array([0, 3, 4]), np.array([10, 9, 8])).tolist()
    [3, 2, 0]
    """
    before = np.concatenate([[0], np.cumsum(runs[:, 1] - runs[:, 0])])

    def up_to(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        run = np.searchsorted(runs[:, 0], places, side="right")
        last = np.maximum(run - 1, 0)
        beyond = np.maximum(runs[last, 1] - places, 0) if len(runs) else 0
        total: npt.NDArray[np.int64] = before[run] - np.where(run > 0, beyond, 0)
        return total

    return up_to(ends) - up_to(starts)


def merged_runs(regions: pl.DataFrame, genome: Genome) -> dict[str, npt.NDArray[np.int64]]:
    r"""Merge regions into sorted, disjoint runs for each chromosome of a genome.

    A chromosome named otherwise than in the genome (``1`` for ``chr1``) is renamed; regions
    on chromosomes that the genome lacks are left out.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGTACGTNN\n")
    >>> rows = {"chrom": ["1", "1", "chrX"], "start": [3, 0, 0], "end": [5, 4, 9]}
    >>> merged_runs(pl.DataFrame(rows), Genome(path))
    {'chr1': array([[0, 5]])}
    """
    own = match_names(regions.select("chrom", "start", "end"), genome, missing="drop")
    return {
        str(chrom): group.select("start", "end").to_numpy()
        for (chrom,), group in merge(own).group_by(["chrom"], maintain_order=True)
    }


def _problems(regions: pl.DataFrame, genome: Genome) -> list[tuple[int, str]]:
    """Find the first region that cannot be a window."""
    if regions.is_empty():
        return []
    length = regions["end"][0] - regions["start"][0]
    for i, (chrom, start, end) in enumerate(regions.iter_rows()):
        place = f"{chrom}:{start}-{end}"
        if chrom not in genome.chromosomes:
            try:
                genome.require([chrom])
            except ValueError as error:
                return [(i, str(error))]
        size = genome.chromosomes[chrom]
        if not 0 <= start < end <= size:
            return [(i, f"window {place} does not lie inside {chrom} ({size} bp)")]
        if end - start != length:
            return [(i, f"window {place} is {end - start} bp long, the first is {length}")]
    return []


def _line_number(path: Path, row: int) -> int:
    """Find the line of a row of a BED file, counted from 1."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        numbers = (
            number
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.startswith(("#", "track", "browser"))
        )
        return next(islice(numbers, row, None))


def _finish(
    regions: pl.DataFrame, genome: Genome, rules: WindowRules, *, where: str
) -> pl.DataFrame:
    """Filter, draw, sort, number and split."""
    in_range("max_n", rules.max_n, 0, 1)
    genome.require(rules.holdout)
    order = pl.col("chrom").replace_strict(
        list(genome.chromosomes), range(len(genome.chromosomes)), return_dtype=pl.Int64
    )
    sorted_ = regions.unique().sort(order, "start")
    kept = sorted_.filter(_keep(sorted_, genome, rules))
    if kept.is_empty():
        black = "a" if rules.blacklist is not None else "no"
        raise ValueError(
            f"{where}: no windows are left of {sorted_.height} (max_n = {rules.max_n}, with "
            f"{black} blacklist)"
        )
    if rules.limit is not None and rules.limit < kept.height:
        in_range("limit", rules.limit, 1, kept.height)
        draw = np.random.default_rng(rules.seed)
        kept = kept[np.sort(draw.choice(kept.height, rules.limit, replace=False))]
    is_held = pl.col("chrom").is_in(list(rules.holdout))
    frame = kept.with_row_index("window").with_columns(
        split=pl.when(is_held).then(pl.lit("holdout")).otherwise(pl.lit("train"))
    )
    return schema.conform(frame, schema.WINDOWS, table="windows")


def _keep(regions: pl.DataFrame, genome: Genome, rules: WindowRules) -> pl.Series:
    """Tell which windows hold little N and nothing of the blacklist."""
    keep = np.ones(regions.height, bool)
    black = {} if rules.blacklist is None else merged_runs(rules.blacklist, genome)
    for chrom in regions["chrom"].unique():
        rows = np.flatnonzero((regions["chrom"] == chrom).to_numpy())
        starts, ends = (regions[name].to_numpy()[rows] for name in ("start", "end"))
        share = covered_bases(genome.n_runs(chrom), starts, ends) / (ends - starts)
        keep[rows] = share <= rules.max_n
        if chrom in black:
            keep[rows] &= covered_bases(black[chrom], starts, ends) == 0
    return pl.Series(keep)

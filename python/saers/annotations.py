"""Overlap of features with annotations, beside placements at random."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers import _core, checks, schema
from saers.columns import Columns, Table, encode
from saers.genome import Genome, GenomeLike, alias
from saers.intervals import match_names
from saers.progress import SILENT, Progress

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Null:
    """What the counts would be by chance; one value a feature and class."""

    mean: Floats
    sd: Floats
    p_value: Floats
    unmatched: int
    """Placements whose share of G and C is not like the interval's."""


def count_overlaps(
    intervals: pl.DataFrame, annotation: pl.DataFrame, *, threads: int | None = None
) -> pl.DataFrame:
    """Count the intervals of each feature that touch each class.

    Parameters
    ----------
    intervals
        Frame with columns feature, chrom, start, end (0-based, half-open).
    annotation
        Frame with columns chrom, start, end and, if there are classes, class; without it all
        belong to the class ``any``. Intervals of one class are merged first.
    threads
        None: all cores. The result is the same for any number.

    Returns
    -------
    DataFrame
        Columns of `schema.OVERLAP_COUNTS`: every feature beside every class, zeros included,
        sorted. ``n_intervals`` counts the feature's intervals that share a base with the
        class, ``overlap_bp`` their bases that it covers; intervals of a feature that overlap
        each other each count in full.

    Examples
    --------
    >>> seqlets = pl.DataFrame({"feature": [0], "chrom": "chr1", "start": [0], "end": [9]})
    >>> genes = pl.DataFrame({"chrom": ["chr1"], "start": [5], "end": [30]})
    >>> count_overlaps(seqlets, genes).rows()
    [(0, 'any', 1, 4)]
    """
    own, other = _encode(intervals, annotation)
    shape = (len(own.tags), len(other.tags), len(own.chroms))
    n_intervals, bases = _core.count_overlaps(own.columns, other.columns, shape, threads)
    frame = _grid(own.tags, other.tags).with_columns(
        pl.Series("n_intervals", n_intervals), pl.Series("overlap_bp", bases)
    )
    return schema.conform(frame, schema.OVERLAP_COUNTS, table="overlaps")


def overlap_enrichment(
    intervals: pl.DataFrame,
    annotation: pl.DataFrame,
    *,
    genome: GenomeLike,
    n_controls: int = 0,
    seed: int = 0,
    annotation_name: str = "annotation",
    within: pl.DataFrame | None = None,
    gc_match: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    r"""Compare how many intervals touch each class with placements at random.

    Each interval keeps its width and chromosome and is put anywhere on it, all places equally
    likely, but onto no N and, with ``within``, nowhere but inside the windows given.
    ``n_controls = 0`` computes the outcome of infinitely many such shuffles: an interval
    touches a class with a probability that is a ratio of numbers of places, so the count has
    a Poisson-binomial distribution. Otherwise so many shuffles are made and counted.

    Parameters
    ----------
    intervals
        Frame with columns feature, chrom, start, end (0-based, half-open).
    annotation
        Frame with columns chrom, start, end and, if there are classes, class.
    genome
        Lengths of chromosomes and runs of N.
    n_controls
        Number of shuffles, 0 or at least 2.
    seed
        Of the shuffles; the result is the same for any number of threads and order of rows.
    annotation_name
        Goes into the column annotation.
    within
        Frame with columns chrom, start, end: where intervals can lie at all. Seqlets come
        from windows, so their controls must. Windows that overlap or touch are joined.
    gc_match
        Put an interval only where the share of G and C among its known bases differs by at
        most this much from its own, such as 0.05; None: anywhere. With ``n_controls = 0``
        every place of the chromosomes is looked at, once for each width of intervals there
        (seconds for a mammal's genome and one width). A shuffle tries at most 1000 places
        for an interval. Where there is none, the nearest share is taken.
    threads
        None: all cores.
    progress
        Is told how many intervals found no place of their share of G and C.

    Returns
    -------
    DataFrame
        Columns of `schema.ANNOTATIONS`, every feature beside every class. ``z`` is
        ``(observed - control_mean) / control_sd`` and ``fold`` is ``observed / control_mean``;
        both are null for 0 / 0. ``p_value`` is two-sided: twice the smaller tail, at most 1.
        A tail of n shuffles is ``(1 + r) / (n + 1)`` with r of them at least as far out as
        observed, since the observed placement is itself one of n + 1 that chance could have
        made; so no p lies below ``2 / (n + 1)``. ``q_value`` is Benjamini-Hochberg over all
        rows.

    Raises
    ------
    ValueError
        If a chromosome is not in the genome, an interval fits nowhere, n_controls is 1, or
        gc_match lies outside 0..1.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\n" + 100 * "A" + "\n")
    >>> seqlets = pl.DataFrame({"feature": [3], "chrom": "chr1", "start": [0], "end": [1]})
    >>> genes = pl.DataFrame({"chrom": ["chr1"], "start": [0], "end": [10]})
    >>> overlap_enrichment(seqlets, genes, genome=path).select(
    ...     "observed", "control_mean", "fold", "p_value").row(0)
    (1, 0.1, 10.0, 0.2)
    """
    if n_controls < 0 or n_controls == 1:
        raise ValueError(f"n_controls must be 0 (exact) or at least 2, got {n_controls}")
    checks.in_range("seed", seed, 0, 2**64 - 1)
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    genome.require(intervals["chrom"].unique(maintain_order=True))
    own, other = _encode(intervals, annotation)
    placement = _core.Placement(
        own.columns,
        other.columns,
        _room(own.chroms, genome, within),
        (len(own.tags), len(other.tags), len(own.chroms)),
        None if gc_match is None else genome.match_gc(own.chroms, gc_match, threads=threads),
        threads,
    )
    observed = placement.observed().astype(np.float64)
    null = _shuffled(placement, n_controls, seed) if n_controls else _exact(placement)
    if null.unmatched:
        total = intervals.height * (n_controls or 1)
        (progress or SILENT).say(
            f"{annotation_name}: {null.unmatched} of {total} placements found no share of G and C "
            f"within {gc_match} of the interval's; they took the nearest"
        )
    grid = _grid(own.tags, other.tags).with_columns(annotation=pl.lit(annotation_name))
    return with_q_values(_scored(grid, observed, null))


def annotate(
    intervals: pl.DataFrame,
    annotations: Mapping[str, pl.DataFrame],
    *,
    genome: GenomeLike,
    within: pl.DataFrame | None = None,
    n_controls: int = 0,
    seed: int = 0,
    gc_match: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    r"""Compare features with several annotations; see :func:`overlap_enrichment`.

    Annotations may cover more than the genome and name chromosomes with or without ``chr``.

    Parameters
    ----------
    intervals, genome, within, n_controls, seed, gc_match, threads
        As for :func:`overlap_enrichment`.
    annotations
        Name -> frame with columns chrom, start, end and perhaps class.
    progress
        Is told what is renamed or left out, and which places could not be matched.

    Returns
    -------
    DataFrame
        Columns of `schema.ANNOTATIONS`, sorted by feature, annotation and class;
        ``q_value`` over all rows.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\n" + 100 * "A" + "\n")
    >>> seqlets = pl.DataFrame({"feature": [3], "chrom": "chr1", "start": [0], "end": [1]})
    >>> genes = pl.DataFrame({"chrom": ["1"], "start": [0], "end": [10]})
    >>> annotate(seqlets, {"genes": genes}, genome=path)["fold"].to_list()
    [10.0]
    """
    shown = progress or SILENT
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    shown.start("annotate", len(annotations))
    tables = [schema.empty(schema.ANNOTATIONS)]
    for name, annotation in annotations.items():
        known = match_names(annotation, genome, missing="drop", progress=shown)
        table = overlap_enrichment(
            intervals,
            known,
            genome=genome,
            n_controls=n_controls,
            seed=seed,
            annotation_name=name,
            within=within,
            gc_match=gc_match,
            threads=threads,
            progress=shown,
        )
        tables.append(table)
        shown.advance()
    return with_q_values(pl.concat(tables)).sort("feature", "annotation", "class")


def with_q_values(table: pl.DataFrame) -> pl.DataFrame:
    """Set q_value to Benjamini and Hochberg's false discovery rate over all rows with a p-value.

    Examples
    --------
    >>> with_q_values(pl.DataFrame({"p_value": [0.01, 0.5, 0.02]}))["q_value"].to_list()
    [0.03, 0.5, 0.03]
    """
    p = table["p_value"].to_numpy()
    order = np.argsort(-p, kind="stable")
    order = order[np.isfinite(p[order])]
    ranks = np.arange(len(order), 0, -1)
    q = np.full(len(p), np.nan)
    q[order] = np.minimum.accumulate(p[order] * len(order) / ranks)
    return table.with_columns(pl.Series("q_value", q, nan_to_null=True))


def _shuffled(placement: _core.Placement, n_controls: int, seed: int) -> _Null:
    """Estimate the distribution of counts by shuffles."""
    sums, squares, at_least, at_most, unmatched = placement.controls(n_controls, seed)
    mean = sums / n_controls
    # Whole numbers up to here: equal controls have a variance of exactly 0.
    spread = n_controls * squares.astype(object) - sums.astype(object) ** 2
    variance = spread.astype(np.float64) / (n_controls * (n_controls - 1))
    tail = (1 + np.minimum(at_least, at_most)) / (n_controls + 1)
    return _Null(mean, np.sqrt(variance), np.minimum(2 * tail, 1), unmatched)


def _exact(placement: _core.Placement) -> _Null:
    """Take the distribution of counts as computed."""
    mean, variance, at_least, at_most, unmatched = placement.expected()
    tail = np.minimum(at_least, at_most)
    return _Null(mean, np.sqrt(variance), np.minimum(2 * tail, 1), unmatched)


def _scored(grid: pl.DataFrame, observed: Floats, null: _Null) -> pl.DataFrame:
    """Put scores beside features and classes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (observed - null.mean) / null.sd
        fold = observed / null.mean
    frame = grid.with_columns(
        pl.Series("observed", observed),
        pl.Series("control_mean", null.mean),
        pl.Series("control_sd", null.sd),
        pl.Series("z", z).fill_nan(None),
        pl.Series("fold", fold).fill_nan(None),
        pl.Series("p_value", null.p_value),
        pl.lit(1.0).alias("q_value"),
    )
    return schema.conform(frame, schema.ANNOTATIONS, table="annotations")


def _grid(features: pl.Series, classes: pl.Series) -> pl.DataFrame:
    """Put every feature beside every class."""
    return pl.DataFrame({"feature": features}).join(pl.DataFrame({"class": classes}), how="cross")


def _encode(intervals: pl.DataFrame, annotation: pl.DataFrame) -> tuple[Table, Table]:
    """Encode both by the chromosomes of the intervals; refuse two ways of naming them."""
    own = encode(intervals, "feature")
    tag = "class" if "class" in annotation.columns else None
    other = encode(annotation, tag, chroms=own.chroms, name="annotation")
    names = set(other.chroms)
    if not names & set(own.chroms):
        for name in own.chroms:
            if found := alias(name, names):
                raise ValueError(
                    f"intervals name a chromosome {name!r}, the annotation {found!r}: "
                    "match_names gives both the names of a genome"
                )
    return own, other


def _room(
    chroms: pl.Series, genome: Genome, within: pl.DataFrame | None
) -> tuple[Columns, Columns]:
    """Say where intervals may lie, and the runs of N where they may not."""
    rows = [(chrom, 0, genome.chromosomes[chrom]) for chrom in chroms]
    columns = {"chrom": pl.String, "start": pl.Int64, "end": pl.Int64}
    space = pl.DataFrame(rows, schema=columns, orient="row")
    if within is not None:
        space = within.select("chrom", pl.col("start").clip(lower_bound=0), "end")
    runs = [(chrom, *run) for chrom in chroms for run in genome.n_runs(chrom).tolist()]
    # Past the end of a chromosome lies no room either.
    ends = [(chrom, genome.chromosomes[chrom], 2**62) for chrom in chroms]
    holes = pl.DataFrame(runs + ends, schema=columns, orient="row")
    names = chroms.cast(pl.String)
    space_table = encode(space, None, chroms=names, name="within")
    return space_table.columns, encode(holes, None, chroms=names).columns

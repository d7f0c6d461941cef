"""Relations between features: the bases that their intervals share."""

import polars as pl

from saers import _core, schema
from saers.annotations import count_overlaps
from saers.columns import encode


def jaccard(intervals: pl.DataFrame, *, threads: int | None = None) -> pl.DataFrame:
    """Compare the bases that every two features cover.

    The intervals of each feature are merged first (those that touch, too), so a base counts
    once however many of its intervals cover it. Strands are left aside.

    Parameters
    ----------
    intervals
        Frame with columns feature, chrom, start, end (0-based, half-open), such as the
        table of seqlets.
    threads
        None: all cores. The result is the same for any number.

    Returns
    -------
    DataFrame
        Columns of `schema.RELATIONS`, sorted; one row for every two features that share a
        base, ``feature_a < feature_b``. ``n_overlap`` counts pairs of merged intervals, one
        of each feature, that share a base.

    Raises
    ------
    ValueError
        If a column is missing, a coordinate negative, or a start lies after its end.

    Examples
    --------
    >>> frame = pl.DataFrame({"feature": [7, 7, 9], "chrom": "chr1",
    ...                       "start": [0, 5, 8], "end": [6, 10, 20]})
    >>> jaccard(frame).row(0)
    (7, 9, 2, 20, 0.1, 1)
    """
    columns, features, chroms = encode(intervals, "feature")
    shape = (len(features), len(chroms))
    a, b, shared, joint, pairs = _core.jaccard(columns, shape, threads)
    frame = pl.DataFrame(
        {
            "feature_a": features.gather(a),
            "feature_b": features.gather(b),
            "intersection_bp": shared,
            "union_bp": joint,
            "jaccard": shared / joint,
            "n_overlap": pairs,
        }
    )
    return schema.conform(frame, schema.RELATIONS, table="relations")


def directed_overlap(
    intervals: pl.DataFrame, groups: pl.DataFrame, *, threads: int | None = None
) -> pl.DataFrame:
    """Count the regions of each feature that are overlapped by each other one of its group.

    This is the measure of SAE-Borzoi's ``jaccard.py``, which compares features that match one
    motif. The regions of a feature are its distinct places (chromosome, start, end), each
    counted once. For an ordered pair (a, b) of one group

    - ``n_overlapped`` is the number of regions of a that share a base with any region of b,
    - ``share`` is ``n_overlapped / n_regions_a``,
    - ``directed_jaccard`` is
      ``n_overlapped / (n_regions_a + n_regions_b - n_overlapped)``, the number SAE-Borzoi
      reports. It counts regions, not bases, and (a, b) may differ from (b, a): one long
      region of b can overlap many of a.

    Parameters
    ----------
    intervals
        Frame with columns feature, chrom, start, end (0-based, half-open).
    groups
        Frame with columns feature and group, such as of :func:`best_match_groups`; a feature
        may be in several groups. Features without intervals are passed over.
    threads
        None: all cores. The result is the same for any number.

    Returns
    -------
    DataFrame
        Columns of `schema.DIRECTED`: every ordered pair of every group, zeros included,
        sorted by group, feature_a and feature_b.

    Examples
    --------
    >>> frame = pl.DataFrame({"feature": [7, 7, 9], "chrom": "chr1",
    ...                       "start": [0, 20, 4], "end": [6, 30, 9]})
    >>> groups = pl.DataFrame({"feature": [7, 9], "group": "CTCF"})
    >>> directed_overlap(frame, groups).rows()
    [('CTCF', 7, 9, 1, 2, 1, 0.5, 0.5), ('CTCF', 9, 7, 1, 1, 2, 1.0, 0.5)]
    """
    if missing := [name for name in ("feature", "group") if name not in groups.columns]:
        raise ValueError(f"groups: missing columns {missing}, found {groups.columns}")
    members = groups.select(pl.col("feature").cast(pl.UInt32), pl.col("group").cast(pl.String))
    regions = intervals.select(pl.col("feature").cast(pl.UInt32), "chrom", "start", "end").unique()
    tables = [schema.empty(schema.DIRECTED)]
    for (group,), own in members.unique().sort("group").partition_by("group", as_dict=True).items():
        within = regions.join(own, on="feature", how="semi")
        tables.append(_directed(within, str(group), threads))
    return pl.concat(tables).sort("group", "feature_a", "feature_b")


def _directed(regions: pl.DataFrame, group: str, threads: int | None) -> pl.DataFrame:
    """Count overlapped regions among the features of one group."""
    sizes = regions.group_by("feature").len("n_regions")
    classes = regions.rename({"feature": "class"})
    counts = count_overlaps(
        regions, classes.with_columns(pl.col("class").cast(pl.String)), threads=threads
    )
    n, a, b = (pl.col(name) for name in ("n_overlapped", "n_regions_a", "n_regions_b"))
    frame = (
        counts.select(
            feature_a="feature",
            feature_b=pl.col("class").cast(pl.UInt32),
            n_overlapped="n_intervals",
        )
        .filter(pl.col("feature_a") != pl.col("feature_b"))
        .join(sizes.rename({"feature": "feature_a", "n_regions": "n_regions_a"}), on="feature_a")
        .join(sizes.rename({"feature": "feature_b", "n_regions": "n_regions_b"}), on="feature_b")
        .with_columns(pl.lit(group).alias("group"), share=n / a, directed_jaccard=n / (a + b - n))
    )
    return schema.conform(frame, schema.DIRECTED, table="directed")


def best_match_groups(matches: pl.DataFrame) -> pl.DataFrame:
    """Group features by the known motif that they match best.

    Parameters
    ----------
    matches
        Frame with columns feature, target_id and p_value (or the finer log10_p), such as the
        table of matches.

    Returns
    -------
    DataFrame
        feature, group: for each feature the target of its smallest p-value over all its
        motifs; of equal ones the first by name.

    Examples
    --------
    >>> matches = pl.DataFrame({"feature": [3, 3], "target_id": ["SPI1", "CTCF"],
    ...                         "p_value": [0.01, 1e-9]})
    >>> best_match_groups(matches).rows()
    [(3, 'CTCF')]
    """
    p = "log10_p" if "log10_p" in matches.columns else "p_value"
    if missing := [name for name in ("feature", "target_id", p) if name not in matches.columns]:
        raise ValueError(f"matches: missing columns {missing}, found {matches.columns}")
    ordered = matches.sort("feature", p, "target_id")
    best = ordered.group_by("feature", maintain_order=True).first()
    return best.select(pl.col("feature").cast(pl.UInt32), group="target_id")

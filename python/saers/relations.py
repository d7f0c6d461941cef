"""Relations between features: the bases that their intervals share."""

import polars as pl

from saers import _core, schema
from saers.intervals import encode, levels


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
    features, chroms = levels(intervals, "feature"), levels(intervals, "chrom")
    columns = encode(intervals, chroms, "feature", features)
    a, b, shared, joint, pairs = _core.jaccard(columns, len(features), threads)
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

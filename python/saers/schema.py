"""Columns of every table that saers writes.

A table is a polars frame; its columns, their order and their types stand here and nowhere
else. Ranks start at 1. Coordinates are 0-based and half-open, in base pairs, unless a column
is called ``position``: that one counts positions of the layer within a window.
"""

from collections.abc import Mapping
from typing import TypeAlias

import polars as pl

Columns: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

WINDOWS: Columns = {
    "window": pl.Int64,
    "chrom": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "split": pl.String,  # "train" or "holdout"
}
STATS: Columns = {
    "channel": pl.UInt32,
    "max": pl.Float64,
    "min": pl.Float64,
    "mean": pl.Float64,
    "std": pl.Float64,  # population standard deviation (ddof = 0)
    "nonzero": pl.Int64,
    "count": pl.Int64,
    "nan": pl.Int64,  # values left out for being NaN
}
TOP_POSITIONS: Columns = {
    "window": pl.Int64,
    "channel": pl.UInt32,
    "rank": pl.UInt32,
    "position": pl.Int64,
    "value": pl.Float32,
}
TOP_SEQLETS: Columns = {
    "feature": pl.UInt32,
    "rank": pl.UInt32,
    "window": pl.Int64,
    "position": pl.Int64,
    "activation": pl.Float32,
}
FEATURE_TRACK: Columns = {
    "window": pl.Int64,
    "position": pl.Int64,
    "value": pl.Float32,  # activation, above 0
}
SIGNAL: Columns = {
    "chrom": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "value": pl.Float32,
}
FEATURE_TOTALS: Columns = {
    "feature": pl.UInt32,
    "n_nonzero": pl.Int64,  # positions with an activation above 0
    "sum": pl.Float64,
    "max": pl.Float64,
}
FEATURES: Columns = {
    "feature": pl.UInt32,
    "rank": pl.UInt32,  # by mean activation, 1 is the highest
    "name": pl.String,  # "{rank}_n{feature}"
    "n_nonzero": pl.Int64,  # positions with an activation above 0
    "density": pl.Float64,  # n_nonzero / positions encoded
    "mean_activation": pl.Float64,  # over the positions with an activation above 0
    "max_activation": pl.Float64,
    "n_above_half": pl.Int64,  # seqlets kept whose activation exceeds half the mean
    "selected": pl.Boolean,
}
SEQLETS: Columns = {
    "feature": pl.UInt32,
    "rank": pl.UInt32,
    "window": pl.Int64,
    "position": pl.Int64,
    "chrom": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "strand": pl.String,
    "activation": pl.Float32,
    "sequence": pl.String,
}
MOTIFS: Columns = {
    "motif_id": pl.String,  # "{name of the feature}.{index}"
    "feature": pl.UInt32,
    "index": pl.UInt32,  # 1 is the most significant of its feature
    "width": pl.UInt32,
    "n_sites": pl.Int64,
    "log10_evalue": pl.Float64,
    "engine": pl.String,
    "consensus": pl.String,
    "pfm": pl.List(pl.List(pl.Float64)),  # (width, 4) probabilities in ACGT order
}
FOUND_MOTIFS: Columns = {
    **MOTIFS,
    "offset": pl.Float64,  # mean distance in bp of sites from the middle of their seqlets
    "offset_sd": pl.Float64,
}
MATCHES: Columns = {
    "query_id": pl.String,
    "target_id": pl.String,
    "optimal_offset": pl.Int64,
    "p_value": pl.Float64,
    "e_value": pl.Float64,
    "q_value": pl.Float64,
    "overlap": pl.Int64,
    "query_consensus": pl.String,
    "target_consensus": pl.String,
    "orientation": pl.String,
    "log10_p": pl.Float64,
    "target_name": pl.String,
    "feature": pl.UInt32,
}
SITES: Columns = {
    "motif_id": pl.String,
    "motif_name": pl.String,
    "sequence": pl.String,  # or chromosome
    "start": pl.Int64,
    "end": pl.Int64,
    "strand": pl.String,
    "score": pl.Float64,  # log-odds in bits
    "p_value": pl.Float64,
    "q_value": pl.Float64,  # Benjamini-Hochberg over all places scored
    "matched": pl.String,  # letters as the motif reads them
}
MEMBERS: Columns = {
    "archetype": pl.String,
    "motif_id": pl.String,  # the leader comes first
    "offset": pl.Int64,  # position of the leader's first column in the member, on its strand
    "orientation": pl.String,
    "log10_p": pl.Float64,  # against the leader; null for itself
}
ANNOTATIONS: Columns = {
    "feature": pl.UInt32,
    "annotation": pl.String,
    "class": pl.String,
    "observed": pl.Int64,  # seqlets that touch the class
    "control_mean": pl.Float64,
    "control_sd": pl.Float64,
    "z": pl.Float64,
    "fold": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,  # Benjamini-Hochberg over all rows of the table
}
OVERLAP_COUNTS: Columns = {
    "feature": pl.UInt32,
    "class": pl.String,
    "n_intervals": pl.Int64,
    "overlap_bp": pl.Int64,
}
RELATIONS: Columns = {
    "feature_a": pl.UInt32,
    "feature_b": pl.UInt32,
    "intersection_bp": pl.Int64,
    "union_bp": pl.Int64,
    "jaccard": pl.Float64,
    "n_overlap": pl.Int64,
}
DIRECTED: Columns = {
    "group": pl.String,
    "feature_a": pl.UInt32,
    "feature_b": pl.UInt32,
    "n_overlapped": pl.Int64,  # unique regions of a that share a base with one of b
    "n_regions_a": pl.Int64,
    "n_regions_b": pl.Int64,
    "share": pl.Float64,
    "directed_jaccard": pl.Float64,
}
EMBEDDING: Columns = {
    "feature": pl.UInt32,
    "x": pl.Float64,
    "y": pl.Float64,
    "cluster": pl.Int64,  # -1: in no cluster
}

FAITHFULNESS: Columns = {
    "track": pl.Int64,
    "name": pl.String,
    "assay": pl.String,
    "n": pl.Int64,  # bins of all windows
    "pearson": pl.Float64,  # spliced beside original outputs
    "pearson_low": pl.Float64,  # intervals of 95 %, by resampling windows
    "pearson_high": pl.Float64,
    "r_squared": pl.Float64,
    "loss_recovered_zero": pl.Float64,  # 1 - MSE(spliced) / MSE(ablated)
    "loss_recovered_zero_low": pl.Float64,
    "loss_recovered_zero_high": pl.Float64,
    "loss_recovered_mean": pl.Float64,
    "loss_recovered_mean_low": pl.Float64,
    "loss_recovered_mean_high": pl.Float64,
    "pearson_target_original": pl.Float64,  # null where no targets were given
    "pearson_target_spliced": pl.Float64,
}

FAITHFULNESS_BY_ASSAY: Columns = {
    "assay": pl.String,
    "tracks": pl.Int64,
    "pearson": pl.Float64,  # medians over tracks
    "r_squared": pl.Float64,
    "loss_recovered_zero": pl.Float64,
    "loss_recovered_mean": pl.Float64,
    "pearson_target_original": pl.Float64,
    "pearson_target_spliced": pl.Float64,
    "pearson_lowest_tenth": pl.Float64,  # a tenth of the tracks lies below
    "r_squared_lowest_tenth": pl.Float64,
}

EFFECTS: Columns = {
    "feature": pl.UInt32,
    "track": pl.Int64,
    "name": pl.String,
    "assay": pl.String,
    "n_windows": pl.Int64,
    "n_active": pl.Int64,  # windows in which the edit changed something
    "effect": pl.Float64,  # mean over bins and windows of changed less original output
    "effect_low": pl.Float64,  # interval of 95 %, by resampling windows
    "effect_high": pl.Float64,
    "log2_effect": pl.Float64,
    "p_value": pl.Float64,  # of no effect, t-test over windows; null where none was changed
    "q_value": pl.Float64,  # Benjamini-Hochberg over all features and tracks of the table
}

SHUFFLED: Columns = {
    "feature": pl.UInt32,
    "track": pl.Int64,
    "name": pl.String,
    "assay": pl.String,
    "n_seqlets": pl.Int64,
    "log_d2": pl.Float64,  # length over bins of the change of log2(output + 1), mean over seqlets
    "log_d2_low": pl.Float64,  # interval of 95 %, by resampling seqlets
    "log_d2_high": pl.Float64,
}


def empty(columns: Columns) -> pl.DataFrame:
    """Make a table without rows.

    Examples
    --------
    >>> empty(EMBEDDING).columns
    ['feature', 'x', 'y', 'cluster']
    """
    return pl.DataFrame(schema=dict(columns))


def conform(frame: pl.DataFrame, columns: Columns, *, table: str) -> pl.DataFrame:
    """Select and cast the columns of a table, in the order of its schema.

    Parameters
    ----------
    frame
        Rows that hold at least the columns asked for.
    columns
        One of this module's schemas.
    table
        Name of the table, for the error message.

    Raises
    ------
    ValueError
        If a column is missing or cannot be cast.

    Examples
    --------
    >>> conform(pl.DataFrame({"y": [1], "x": [0], "feature": [3], "cluster": [0]}),
    ...         EMBEDDING, table="embedding").row(0)
    (3, 0.0, 1.0, 0)
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{table}: missing columns {missing}, found {frame.columns}")
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in columns.items())
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{table}: {error}") from error

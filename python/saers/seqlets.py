"""From codes to seqlets: which features matter, and the stretches that wake them.

From each feature's best positions, which `saers.encoding.encode_source` leaves in a
`TopSeqlets`, ``features_table`` ranks and selects the features by SAE-Borzoi's rules,
``seqlets_table`` gives positions their place and letters in the genome, and ``write_fasta``
writes one file a feature, as motif programs want them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from saers import schema
from saers.checks import in_range
from saers.genome import Genome
from saers.layer import LayerInfo

Width: TypeAlias = Literal["rf", "paper"] | int

# Borzoi's conv1d_1..4, known by stride and channels -> the width that SAE-Borzoi cuts out.
_PAPER_WIDTHS = {(2, 608): 14, (4, 736): 18, (8, 896): 26, (16, 1056): 34}


def distance_of(layer: LayerInfo) -> int:
    """Smallest distance, in positions, at which two receptive windows do not overlap.

    Tokens count as windows that do not.

    Examples
    --------
    >>> distance_of(LayerInfo("conv", channels=8, stride=2, window_lo=11, window_hi=12))
    12
    """
    return 1 if layer.tokens else -(-layer.receptive_field // layer.stride)


def features_table(
    feature_stats: pl.DataFrame,
    top: pl.DataFrame,
    *,
    n_tokens: int,
    min_nonzero: int = 1000,
    min_above_half: int = 200,
) -> pl.DataFrame:
    """Rank all features by their mean activation and select those worth a motif search.

    Selected is, by SAE-Borzoi's rules, a feature that is active at ``min_nonzero`` positions or
    more and of whose seqlets ``min_above_half`` or more exceed half its mean activation. Every
    feature has a rank, whether selected or not; those that never speak come last.

    Parameters
    ----------
    feature_stats
        Totals of every feature (`schema.FEATURE_TOTALS`), from `TopSeqlets.feature_stats`.
    top
        Seqlets kept of every feature (`schema.TOP_SEQLETS`), from `TopSeqlets.finish`.
    n_tokens
        Positions encoded.
    min_nonzero, min_above_half
        The rules.

    Returns
    -------
    polars.DataFrame
        One row a feature, columns of `schema.FEATURES`, sorted by feature.

    Examples
    --------
    >>> stats = pl.DataFrame({"feature": [0, 1], "n_nonzero": [0, 2], "sum": [0, 3.0],
    ...                       "max": [0, 2.0]}, strict=False)
    >>> top = pl.DataFrame({"feature": [1], "rank": [1], "window": [0], "position": [7],
    ...                     "activation": [2.0]})
    >>> features_table(stats, top, n_tokens=8, min_nonzero=2, min_above_half=1).select(
    ...     "name", "density", "mean_activation", "selected").rows()
    [('2_n0', 0.0, 0.0, False), ('1_n1', 0.25, 1.5, True)]
    """
    in_range("n_tokens", n_tokens, 1, 2**62)
    totals = schema.conform(feature_stats, schema.FEATURE_TOTALS, table="feature totals")
    kept = schema.conform(top, schema.TOP_SEQLETS, table="top seqlets")
    totals = totals.with_columns(
        mean_activation=pl.when(pl.col("n_nonzero") > 0)
        .then(pl.col("sum") / pl.col("n_nonzero"))
        .otherwise(0.0)
    )
    above_half = (
        kept.join(totals, on="feature")
        .filter(pl.col("activation").cast(pl.Float64) > pl.col("mean_activation") / 2)
        .group_by("feature")
        .agg(pl.len().alias("n_above_half"))
    )
    frame = (
        totals.join(above_half, on="feature", how="left")
        .sort("mean_activation", "feature", descending=[True, False])
        .with_row_index("rank", offset=1)
        .with_columns(
            pl.format("{}_n{}", "rank", "feature").alias("name"),
            pl.col("n_above_half").fill_null(0),
            density=pl.col("n_nonzero") / n_tokens,
            max_activation=pl.col("max"),
        )
        .with_columns(
            selected=(pl.col("n_nonzero") >= min_nonzero)
            & (pl.col("n_above_half") >= min_above_half)
        )
    )
    return schema.conform(frame, schema.FEATURES, table="features").sort("feature")


def seqlets_table(
    top: pl.DataFrame,
    features: pl.DataFrame,
    windows: pl.DataFrame,
    layer: LayerInfo,
    genome: Genome,
    *,
    width: Width = "rf",
    places: pl.DataFrame | None = None,
) -> pl.DataFrame:
    r"""Locate the seqlets of the selected features in the genome and read their letters.

    A stretch that passes the end of its chromosome is left out: it has no coordinates there.
    All rows have one width, and keep the rank that they had among the feature's seqlets.

    Parameters
    ----------
    top
        Seqlets kept of every feature (`schema.TOP_SEQLETS`).
    features
        Table of features (`schema.FEATURES`), of which those ``selected`` are taken.
    windows
        Table of windows (`schema.WINDOWS`).
    layer
        The layer, for its stride and receptive window.
    genome
        The genome.
    width
        ``"rf"``: all that the position has seen; ``"paper"``: the 14, 18, 26 or 34 bp that
        SAE-Borzoi cuts out for Borzoi's conv1d_1 to conv1d_4; or base pairs. Other widths than
        ``"rf"`` are centred on the receptive window, half a base to the left where they must.
    places
        Where the seqlets lie if the layer's positions are tokens: window, position, and the
        bases ``start`` to ``end`` of the token in its window, from `saers.tokens.places_of`.
        With ``"rf"`` rows then are as wide as their tokens.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.SEQLETS`, sorted by feature and rank; upper case, strand ``+``.

    Raises
    ------
    ValueError
        If a seqlet's window is not in ``windows``, a chromosome is not in the genome, or
        ``"paper"`` is asked for another layer.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nAACCGGTTAACC\n")
    >>> top = pl.DataFrame({"feature": [4], "rank": [1], "window": [0], "position": [2],
    ...                     "activation": [1.5]})
    >>> features = pl.DataFrame({"feature": [4], "selected": [True]})
    >>> windows = pl.DataFrame({"window": [0], "chrom": ["chr1"], "start": [2], "end": [12]})
    >>> layer = LayerInfo("conv", channels=8, stride=2, window_lo=1, window_hi=2)
    >>> table = seqlets_table(top, features, windows, layer, Genome(path))
    >>> table.select("chrom", "start", "end", "strand", "sequence").rows()
    [('chr1', 5, 9, '+', 'GTTA')]
    """
    chosen = features.filter("selected").select(pl.col("feature").cast(pl.UInt32))
    origins = windows.select("window", "chrom", pl.col("start").alias("window_start"))
    rows = (
        schema.conform(top, schema.TOP_SEQLETS, table="top seqlets")
        .join(chosen, on="feature", how="semi")
        .join(origins, on="window", how="left")
        .sort("feature", "rank")
    )
    if rows["chrom"].null_count():
        lost = rows.filter(pl.col("chrom").is_null())["window"][0]
        raise ValueError(f"windows must hold window {lost}, of which a seqlet is")
    genome.require(rows["chrom"].unique(maintain_order=True))
    chromosomes = list(genome.chromosomes.items())
    lengths = pl.DataFrame(chromosomes, {"chrom": pl.String, "length": pl.Int64}, orient="row")
    placed, origin = _located(rows, layer, width, places), pl.col("window_start")
    rows = (
        placed.join(lengths, on="chrom", maintain_order="left")
        .with_columns(start=origin + pl.col("start"), end=origin + pl.col("end"))
        .with_columns(strand=pl.lit("+"))
        .filter(pl.col("start") >= 0, pl.col("end") <= pl.col("length"))
    )
    letters = genome.slice(rows.select("chrom", "start", "end"))
    rows = rows.with_columns(pl.Series("sequence", letters, dtype=pl.String))
    return schema.conform(rows, schema.SEQLETS, table="seqlets")


def _located(
    rows: pl.DataFrame, layer: LayerInfo, width: Width, places: pl.DataFrame | None
) -> pl.DataFrame:
    """Add ``start`` and ``end`` of every row, from the start of its window."""
    if not layer.tokens:
        shift, base_pairs = _stretch(layer, width)
        first = layer.stride * pl.col("position") + shift
        return rows.with_columns(start=first, end=first + base_pairs)
    if places is None:
        raise ValueError(f"places are needed: positions of {layer.name!r} are tokens")
    found = rows.join(places, on=["window", "position"], how="left", maintain_order="left")
    if found["start"].null_count():
        lost = found.filter(pl.col("start").is_null()).row(0, named=True)
        raise ValueError(f"places must hold window {lost['window']}, position {lost['position']}")
    if width == "rf":
        return found
    if isinstance(width, str) or width < 1:
        raise ValueError(f"width of tokens must be 'rf' or base pairs, got {width!r}")
    first = (pl.col("start") + pl.col("end") - width) // 2
    return found.with_columns(start=first, end=first + width)


def _stretch(layer: LayerInfo, width: Width) -> tuple[int, int]:
    """First base, counted from stride × position, and number of bases to cut out."""
    if width == "rf":
        return -layer.window_lo, layer.receptive_field
    if width == "paper":
        known = _PAPER_WIDTHS.get((layer.stride, layer.channels))
        if known is None:
            raise ValueError(
                "width 'paper' is known for Borzoi's conv1d_1 to conv1d_4 only, "
                f"got layer {layer.name!r} ({layer.channels} channels, stride {layer.stride})"
            )
        width = known
    if isinstance(width, str) or width < 1:
        raise ValueError(f"width must be 'rf', 'paper' or base pairs, got {width!r}")
    return (layer.receptive_field - width) // 2 - layer.window_lo, width


def write_fasta(seqlets: pl.DataFrame, features: pl.DataFrame, directory: str | Path) -> None:
    r"""Write the seqlets of each feature to a FASTA file of its name.

    Parameters
    ----------
    seqlets
        Table of seqlets (`schema.SEQLETS`).
    features
        Table of features (`schema.FEATURES`), for their names.
    directory
        Folder of the files ``NAME.fa``, made where it is missing; headers ``>chrom:start-end``.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> seqlets = pl.DataFrame({"feature": [4], "rank": [1], "chrom": ["chr1"], "start": [10],
    ...                         "end": [14], "sequence": ["ACGT"]})
    >>> write_fasta(seqlets, pl.DataFrame({"feature": [4], "name": ["1_n4"]}), folder)
    >>> (folder / "1_n4.fa").read_text()
    '>chr1:10-14\nACGT\n'
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    record = pl.format(">{}:{}-{}\n{}\n", "chrom", "start", "end", "sequence")
    files = (
        seqlets.select("feature", "rank", record.alias("record"))
        .sort("feature", "rank")
        .group_by("feature", maintain_order=True)
        .agg(pl.col("record").str.join(""))
        .join(features.select("feature", "name"), on="feature")
    )
    for name, text in files.select("name", "record").iter_rows():
        (folder / f"{name}.fa").write_text(text)

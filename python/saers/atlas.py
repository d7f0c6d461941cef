"""The atlas as one object: features by annotation classes, with everything known of a feature.

An ``AnnData`` file of it opens in scanpy, cellxgene and every other tool that reads h5ad.
"""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers import schema, store
from saers._core import __version__

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

# A match with a q-value up to here gives its motif precedence over stronger unnamed ones.
SIGNIFICANT_Q = 0.05

# Columns of a summary, after those of the features table.
SUMMARY: schema.Columns = {
    "n_seqlets": pl.Int64,
    "n_motifs": pl.Int64,
    "motif_id": pl.String,
    "consensus": pl.String,
    "n_sites": pl.Int64,
    "log10_evalue": pl.Float64,
    "match_id": pl.String,
    "match_name": pl.String,
    "match_p": pl.Float64,
    "match_e": pl.Float64,
    "match_q": pl.Float64,
    "enriched": pl.String,  # "annotation:class"
    "enriched_fold": pl.Float64,
    "enriched_q": pl.Float64,
    "x": pl.Float64,
    "y": pl.Float64,
    "cluster": pl.Int64,
}


def summarise(
    features: pl.DataFrame,
    *,
    annotations: pl.DataFrame,
    embedding: pl.DataFrame,
    matches: pl.DataFrame,
    motifs: pl.DataFrame,
    seqlets: pl.DataFrame,
) -> pl.DataFrame:
    """Say the most important of every feature in one row.

    The lead motif of a feature is the one with its most significant match where a match has
    q ≤ 0.05, and the most significant motif elsewhere. The class it is named by is the one of
    highest z among those with q ≤ 0.05 that are enriched.

    Parameters
    ----------
    features, annotations, embedding, matches, motifs, seqlets
        The tables of a run, as ``saers.schema`` describes them.

    Returns
    -------
    polars.DataFrame
        The features table, sorted by feature, with the columns of ``SUMMARY``; what is not
        known is null, and the cluster of a feature that is not on the map is -1.

    Examples
    --------
    >>> tables = {name: schema.empty(getattr(schema, name.upper()))
    ...           for name in ("annotations", "embedding", "matches", "motifs", "seqlets")}
    >>> summarise(schema.empty(schema.FEATURES), **tables).height
    0
    """
    features = schema.conform(features, schema.FEATURES, table="features").sort("feature")
    counts = seqlets.group_by("feature").agg(pl.len().alias("n_seqlets"))
    motif_counts = motifs.group_by("feature").agg(pl.len().alias("n_motifs"))
    table = features
    for other in (
        counts,
        motif_counts,
        _lead_motifs(motifs, matches),
        _top_classes(annotations),
        schema.conform(embedding, schema.EMBEDDING, table="embedding"),
    ):
        table = table.join(other, on="feature", how="left", maintain_order="left")
    table = table.with_columns(
        pl.col("n_seqlets", "n_motifs").fill_null(0), pl.col("cluster").fill_null(-1)
    )
    return schema.conform(table, {**schema.FEATURES, **SUMMARY}, table="summary")


def build_anndata(
    features: pl.DataFrame,
    annotations: pl.DataFrame,
    embedding: pl.DataFrame,
    matches: pl.DataFrame,
    motifs: pl.DataFrame,
    seqlets: pl.DataFrame,
    relations: pl.DataFrame,
    *,
    effects: pl.DataFrame | None = None,
    shuffled: pl.DataFrame | None = None,
    families: Mapping[str, str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> "AnnData":
    """Gather the tables of a run into one annotated matrix.

    Parameters
    ----------
    features, annotations, embedding, matches, motifs, seqlets, relations
        The tables of a run, as ``saers.schema`` describes them.
    effects, shuffled
        What ``saers perturb`` measured, where it did.
    families
        Family of a target by its id.
    metadata
        What to say of the run in ``uns["saers"]``, the resolved recipe for example. Values
        that are lists are kept as JSON, what has no other form as text.

    Returns
    -------
    anndata.AnnData
        Shape (features, classes). ``X`` is log2((observed + 1) / (control mean + 1)) of the
        seqlets that touch a class, 0 where a class was not tested. ``layers``: ``z``, ``fold``,
        ``q_value``, NaN where not tested. ``obs``: the summary of each feature, indexed by
        name, and ``match_family``, where it is known. ``var``: annotation and class, indexed by
        ``annotation:class``. ``obsm["X_umap"]``: the map, NaN for features that are not on it.
        ``obsp["jaccard"]``: the overlap of features, symmetric and sparse. With effects ``obsm``
        holds ``effect``, ``effect_low``, ``effect_high``, ``log2_effect`` and ``effect_q``
        (features, tracks), NaN for features that were not changed, with the tracks in
        ``uns["effect_tracks"]``; with shuffled seqlets ``log_d2`` and ``uns["log_d2_tracks"]``.

    Examples
    --------
    >>> tables = {name: schema.empty(getattr(schema, name.upper()))
    ...           for name in ("features", "annotations", "embedding", "matches", "motifs",
    ...                        "seqlets", "relations")}
    >>> build_anndata(**tables, metadata={"genome": "hg38"}).uns["saers"]["genome"]
    'hg38'
    """
    from anndata import AnnData

    summary = summarise(
        features,
        annotations=annotations,
        embedding=embedding,
        matches=matches,
        motifs=motifs,
        seqlets=seqlets,
    )
    known = families or {}
    family = pl.Series([known.get(target) for target in summary["match_id"]], dtype=pl.String)
    shown = summary.drop("x", "y").with_columns(match_family=family)
    ids = summary["feature"].to_numpy()
    classes = annotations.select("annotation", "class").unique().sort("annotation", "class")
    enrichment = _matrices(ids, classes, annotations)
    atlas = AnnData(
        X=enrichment.pop("log2_fold"),
        obs=_frame(shown, index=summary["name"]),
        var=_frame(classes, index=classes.select(_class_name()).to_series()),
        layers=enrichment,
        obsm={"X_umap": summary.select("x", "y").cast(pl.Float32).to_numpy()},
        obsp={"jaccard": _jaccard(ids, relations)},
    )
    for columns, table in ((_EFFECTS, effects), (_SHUFFLED, shuffled)):
        if table is not None:
            _add_effects(atlas, ids, table, columns)
    atlas.uns["saers"] = _plain({"versions": _versions(), **(metadata or {})})
    return atlas


def write_atlas(path: str | Path, atlas: "AnnData") -> None:
    """Write an atlas as h5ad, whole or not at all.

    Examples
    --------
    >>> import anndata, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atlas(Path(folder) / "atlas.h5ad", anndata.AnnData(np.eye(2)))
    ...     anndata.read_h5ad(Path(folder) / "atlas.h5ad").shape
    (2, 2)
    """
    with store.atomic_path(path) as temporary:
        atlas.write_h5ad(temporary, compression="gzip")


def _lead_motifs(motifs: pl.DataFrame, matches: pl.DataFrame) -> pl.DataFrame:
    """Choose the motif that stands for a feature, and its best match."""
    best = (
        matches.sort("log10_p", "target_id", nulls_last=True)
        .unique("query_id", keep="first", maintain_order=True)
        .select(
            pl.col("query_id").alias("motif_id"),
            pl.col("target_id").alias("match_id"),
            pl.col("target_name").alias("match_name"),
            pl.col("p_value").alias("match_p"),
            pl.col("e_value").alias("match_e"),
            pl.col("q_value").alias("match_q"),
            "log10_p",
        )
    )
    named = pl.col("match_q") <= SIGNIFICANT_Q
    return (
        motifs.join(best, on="motif_id", how="left")
        .with_columns(pl.when(named).then("log10_p").otherwise(1.0).alias("order"))
        .sort("feature", "order", "index")
        .unique("feature", keep="first", maintain_order=True)
        .select(
            "feature",
            *("motif_id", "consensus", "n_sites", "log10_evalue"),
            *("match_id", "match_name", "match_p", "match_e", "match_q"),
        )
    )


def _top_classes(annotations: pl.DataFrame) -> pl.DataFrame:
    """Choose the class that each feature is most surely enriched in."""
    return (
        annotations.fill_nan(None)  # NaN would count as the highest z
        .filter((pl.col("q_value") <= SIGNIFICANT_Q) & (pl.col("fold") > 1))
        .sort("z", "annotation", "class", descending=[True, False, False], nulls_last=True)
        .unique("feature", keep="first", maintain_order=True)
        .select(
            "feature",
            _class_name().alias("enriched"),
            pl.col("fold").alias("enriched_fold"),
            pl.col("q_value").alias("enriched_q"),
        )
    )


def _class_name() -> pl.Expr:
    return pl.format("{}:{}", "annotation", "class").alias("name")


def _matrices(
    ids: NDArray[np.uint32], classes: pl.DataFrame, annotations: pl.DataFrame
) -> dict[str, NDArray[np.float32]]:
    """Spread the enrichment table into matrices of features × classes."""
    placed = annotations.join(
        classes.with_row_index("column"), on=["annotation", "class"], how="inner"
    ).join(pl.DataFrame({"feature": ids}).with_row_index("row"), on="feature", how="inner")
    at = placed["row"].to_numpy(), placed["column"].to_numpy()
    values = placed.select(
        ((pl.col("observed") + 1) / (pl.col("control_mean") + 1)).log(2).alias("log2_fold"),
        *("z", "fold", "q_value"),
    )
    matrices = {}
    for name in values.columns:
        untested = 0.0 if name == "log2_fold" else np.nan
        matrices[name] = np.full((len(ids), len(classes)), untested, dtype=np.float32)
        matrices[name][at] = values[name].to_numpy()
    return matrices


# Matrix of features × tracks -> the column that it holds; the first names the table of tracks.
_EFFECTS = {
    "effect": "effect",
    "effect_low": "effect_low",
    "effect_high": "effect_high",
    "log2_effect": "log2_effect",
    "effect_q": "q_value",
}
_SHUFFLED = {"log_d2": "log_d2"}


def _add_effects(
    atlas: "AnnData",
    ids: NDArray[np.uint32],
    effects: pl.DataFrame,
    columns: Mapping[str, str],
) -> None:
    """Spread a table of effects into matrices of features × tracks."""
    tracks = effects.select("track", "name", "assay").unique("track").sort("track")
    placed = effects.join(
        tracks.select("track").with_row_index("column"), on="track", how="inner"
    ).join(pl.DataFrame({"feature": ids}).with_row_index("row"), on="feature", how="inner")
    at = placed["row"].to_numpy(), placed["column"].to_numpy()
    for name, column in columns.items():
        matrix = np.full((len(ids), len(tracks)), np.nan, dtype=np.float32)
        matrix[at] = placed[column].to_numpy()
        atlas.obsm[name] = matrix
    told = f"{next(iter(columns))}_tracks"
    atlas.uns[told] = _frame(tracks, index=tracks["track"].cast(pl.String))


def _jaccard(ids: NDArray[np.uint32], relations: pl.DataFrame) -> "csr_matrix":
    """Make the pairs of the relations table a symmetric matrix."""
    from scipy.sparse import coo_matrix

    rows = pl.DataFrame({"feature": ids}).with_row_index("row")
    pairs = relations.join(rows, left_on="feature_a", right_on="feature").join(
        rows, left_on="feature_b", right_on="feature", suffix="_b"
    )
    a, b = pairs["row"].to_numpy(), pairs["row_b"].to_numpy()
    values = pairs["jaccard"].to_numpy()
    both = np.concatenate([values, values]), (np.concatenate([a, b]), np.concatenate([b, a]))
    return coo_matrix(both, shape=(len(ids), len(ids))).tocsr()


def _frame(table: pl.DataFrame, *, index: pl.Series) -> Any:  # noqa: ANN401
    """Convert to the pandas frame that AnnData holds; text with gaps becomes a category."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for column in table:
        if column.dtype == pl.String:
            columns[column.name] = pd.Categorical(column.to_list())
        else:
            columns[column.name] = column.to_numpy()
    return pd.DataFrame(columns, index=pd.Index(index.to_list(), dtype=object))


def _versions() -> dict[str, str]:
    """Name what made the atlas."""
    return {"saers": __version__} | {
        name: importlib.metadata.version(name) for name in ("anndata", "umap-learn", "torch")
    }


def _plain(values: Mapping[str, object]) -> dict[str, Any]:
    """Reduce metadata to what an h5ad file can hold; entries of None are dropped."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        key = str(name).replace("/", "|")  # a slash would open a group of the file
        if isinstance(value, Mapping):
            plain[key] = _plain(value)
        elif isinstance(value, str | int | float):
            plain[key] = value
        elif isinstance(value, list | tuple):
            plain[key] = json.dumps(value, default=str)
        elif value is not None:
            plain[key] = str(value)
    return plain

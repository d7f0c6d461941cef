"""What the pages of the atlas read: the index of all features, and chunks of details.

A page that was opened from a file may not fetch anything, but a classic script tag works
everywhere. So each data file is a script with one call into the page, and its argument is JSON.
Numbers keep four digits; a matrix becomes a text with one letter for each probability.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saers.plotting import Matrix

CHUNK = 64  # features in a file of details
N_MATCHES = 10  # known motifs listed for a motif
N_SEQLETS = 50  # seqlets listed for a feature
N_CLASSES = 40  # annotation classes listed for a feature
N_RELATED = 20  # overlapping features listed for a feature
N_BINS = 30  # bars of the histogram of activations

_LETTERS = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype="S1"
)

# Families whose members carry a letter before their number: FOXA1, HOXB4.
_LETTERED = ("FOX", "HOX", "POU")


class Tables(NamedTuple):
    """The tables of a run that the atlas shows."""

    summary: pl.DataFrame
    seqlets: pl.DataFrame
    motifs: pl.DataFrame
    matches: pl.DataFrame
    annotations: pl.DataFrame
    relations: pl.DataFrame


def script(call: str, *arguments: object) -> str:
    r"""Write a call into the page, its arguments as JSON that is also JavaScript.

    Examples
    --------
    >>> script("saers.chunk", 0, [{"x": 1.0, "y": float("nan")}])
    'saers.chunk(0,[{"x":1.0,"y":null}]);\n'
    """
    texts = (
        json.dumps(_finite(argument), separators=(",", ":"), allow_nan=False)
        for argument in arguments
    )
    return f"{call}({','.join(texts)});\n"


def encode_matrix(matrix: Matrix) -> str:
    """Write probabilities in 64 steps, four letters a column.

    Examples
    --------
    >>> encode_matrix([[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]])
    '_AAAgAAg'
    """
    steps = np.rint(np.asarray(matrix, dtype=np.float64).ravel() * 63).astype(np.int64)
    return _LETTERS[np.clip(steps, 0, 63)].tobytes().decode("ascii")


def family_of(name: str) -> str:
    """Guess the family of a transcription factor by the stem of its name.

    Examples
    --------
    >>> [family_of(name) for name in ("FOXA1", "Klf4", "FOS::JUN", "ZNF143")]
    ['FOX', 'KLF', 'FOS', 'ZNF']
    """
    first = re.split(r"::|[-_(. ]", name.strip())[0].upper()
    stem = re.match(r"[A-Z]+", first)
    if stem is None:
        return first
    lettered = next((prefix for prefix in _LETTERED if stem[0].startswith(prefix)), None)
    return lettered or stem[0]


def index(
    tables: Tables,
    *,
    meta: Mapping[str, Any],
    families: Mapping[str, str],
) -> dict[str, Any]:
    """Gather what the table and the map show of every feature, column by column.

    Parameters
    ----------
    tables
        The tables of a run; row i of the summary is feature i of the page.
    meta
        What the header says; made by ``facts``.
    families
        Family of a target by its id; the stem of its name stands in where there is none.
    """
    summary = tables.summary
    names, family = summary["match_name"].to_list(), []
    for target, name in zip(summary["match_id"].to_list(), names, strict=True):
        family.append(None if target is None else families.get(target) or family_of(name or target))
    enriched = tables.annotations.filter((pl.col("q_value") <= 0.05) & (pl.col("fold") > 1))
    classes, class_of = _classes(summary["feature"], enriched)
    matrices = dict(tables.motifs.select("motif_id", "pfm").iter_rows())
    shown = ("feature", "rank", "name", "n_nonzero", "density", "mean_activation")
    more = ("max_activation", "n_above_half", "n_seqlets", "n_motifs", "consensus", "n_sites")
    best = ("log10_evalue", "match_id", "match_name", "match_e", "match_q")
    rest = ("enriched", "enriched_fold", "enriched_q", "x", "y", "cluster")
    return {
        "meta": dict(meta),
        "chunk": CHUNK,
        **{column: _column(summary[column]) for column in shown + more + best + rest},
        "selected": summary["selected"].cast(pl.Int8).to_list(),
        "thumb": [
            None if motif is None else encode_matrix(matrices[motif])
            for motif in summary["motif_id"].to_list()
        ],
        "family": family,
        "classes": classes,
        "class_of": class_of,
    }


def chunks(tables: Tables) -> Iterator[list[dict[str, Any]]]:
    """Yield the details of the features, ``CHUNK`` at a time, in the order of the summary."""
    features = tables.summary["feature"]
    for start in range(0, len(features), CHUNK):
        wanted = features[start : start + CHUNK]
        parts = _Parts(
            seqlets=_by_feature(tables.seqlets, wanted),
            motifs=_by_feature(tables.motifs, wanted),
            matches=_by_feature(tables.matches, wanted),
            annotations=_by_feature(tables.annotations, wanted),
            relations=_by_feature(_both_ways(tables.relations, wanted), wanted),
        )
        yield [_details(feature, parts) for feature in wanted.to_list()]


class _Parts(NamedTuple):
    """Rows of each table by feature."""

    seqlets: dict[int, pl.DataFrame]
    motifs: dict[int, pl.DataFrame]
    matches: dict[int, pl.DataFrame]
    annotations: dict[int, pl.DataFrame]
    relations: dict[int, pl.DataFrame]


def _details(feature: int, parts: _Parts) -> dict[str, Any]:
    """Say of one feature what its panel shows; what there is none of is left out."""
    details: dict[str, Any] = {}
    if (motifs := parts.motifs.get(feature)) is not None:
        matches = parts.matches.get(feature)
        details["motifs"] = [
            _motif(row, matches) for row in motifs.sort("index").iter_rows(named=True)
        ]
    if (seqlets := parts.seqlets.get(feature)) is not None:
        shown = ("chrom", "start", "end", "strand", "activation", "sequence")
        details["seqlets"] = _rows(seqlets.sort("rank").head(N_SEQLETS).select(shown))
        details["histogram"] = _histogram(seqlets["activation"])
    if (annotations := parts.annotations.get(feature)) is not None:
        columns = ("annotation", "class", "observed", "control_mean", "z", "fold", "q_value")
        ordered = annotations.sort(["z", "annotation", "class"], descending=[True, False, False])
        details["classes"] = _rows(ordered.head(N_CLASSES).select(columns))
        details["n_classes"] = len(annotations)
    if (related := parts.relations.get(feature)) is not None:
        ordered = related.sort(["jaccard", "other"], descending=[True, False]).head(N_RELATED)
        details["related"] = _rows(ordered.select("other", "jaccard", "n_overlap"))
    return details


def _motif(row: Mapping[str, Any], matches: pl.DataFrame | None) -> dict[str, Any]:
    motif = {name: row[name] for name in ("motif_id", "width", "n_sites", "engine", "consensus")}
    motif["log10_evalue"] = _short(row["log10_evalue"])
    motif["pfm"] = encode_matrix(row["pfm"])
    if matches is not None:
        shown = ("target_id", "target_name", "p_value", "e_value", "q_value")
        motif["matches"] = _rows(
            matches.filter(pl.col("query_id") == row["motif_id"])
            .sort("log10_p", "target_id", nulls_last=True)
            .head(N_MATCHES)
            .select(*shown, "optimal_offset", "overlap", "orientation")
        )
    return motif


def _histogram(activations: pl.Series) -> dict[str, Any]:
    values = activations.drop_nans().to_numpy()
    if len(values) == 0:
        return {"low": 0, "high": 0, "counts": []}
    counts, edges = np.histogram(values, bins=N_BINS)
    low, high = _short(float(edges[0])), _short(float(edges[-1]))
    return {"low": low, "high": high, "counts": counts.tolist()}


def _classes(features: pl.Series, enriched: pl.DataFrame) -> tuple[list[str], list[list[int]]]:
    """Give each enriched class a number and list the numbers of each feature."""
    named = enriched.select("feature", pl.format("{}:{}", "annotation", "class").alias("name"))
    classes = named["name"].unique().sort().to_list()
    number = {name: position for position, name in enumerate(classes)}
    found: dict[int, list[int]] = {}
    for feature, name in named.iter_rows():
        found.setdefault(feature, []).append(number[name])
    return classes, [found.get(feature, []) for feature in features.to_list()]


def _both_ways(relations: pl.DataFrame, wanted: pl.Series) -> pl.DataFrame:
    """List each pair under both of its features."""
    forward = relations.rename({"feature_a": "feature", "feature_b": "other"})
    backward = relations.rename({"feature_b": "feature", "feature_a": "other"})
    columns = ("feature", "other", "jaccard", "n_overlap")
    pairs = pl.concat([forward.select(columns), backward.select(columns)])
    return pairs.filter(pl.col("feature").is_in(wanted.implode()))


def _by_feature(table: pl.DataFrame, wanted: pl.Series) -> dict[int, pl.DataFrame]:
    parts = table.filter(pl.col("feature").is_in(wanted.implode())).partition_by(
        "feature", as_dict=True, maintain_order=True
    )
    return {key[0]: part for key, part in parts.items()}


def _rows(table: pl.DataFrame) -> list[list[Any]]:
    return [[_short(value) for value in row] for row in table.iter_rows()]


def _column(series: pl.Series) -> list[Any]:
    values = series.to_list()
    return [_short(value) for value in values] if series.dtype.is_float() else values


def _short(value: Any) -> Any:  # noqa: ANN401
    """Cut a float to four digits; pass on everything else."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _finite(value: Any) -> Any:  # noqa: ANN401
    """Replace what JSON has no number for by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value

"""What the pages of the atlas read: the index of all features, and chunks of details.

A page that was opened from a file may not fetch anything, but a classic script tag works
everywhere. So each data file is a script with one call into the page, and its argument is JSON.
Numbers keep four digits; a matrix becomes a text with one letter for each probability.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saers.plotting import Matrix

CHUNK = 64  # features in a file of details
N_MATCHES = 10  # known motifs listed for a motif
N_SEQLETS = 50  # seqlets listed for a feature
N_CLASSES = 40  # annotation classes listed for a feature
N_RELATED = 20  # overlapping features listed for a feature
N_EFFECTS = 40  # tracks listed that a feature moves
N_CELLS = 240  # cells, at most, of the strip of all tracks
N_BINS = 30  # bars of the histogram of activations
N_BASES = 400  # bases shown of a seqlet; a longer one is cut to its centre

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
    effects: pl.DataFrame
    shuffled: pl.DataFrame


def script(call: str, *arguments: object) -> str:
    r"""Write a call into the page, its arguments as JSON that is also JavaScript.

    Examples
    --------
    >>> script("saers.chunk", 0, [{"x": 1 / 3, "y": float("nan")}])
    'saers.chunk(0,[{"x":0.3333,"y":null}]);\n'
    """
    texts = (
        json.dumps(_plain(argument), separators=(",", ":"), allow_nan=False)
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
    stem = re.match(r"[A-Z]\d[A-Z]|[A-Z]+", first)
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
        "meta": {**meta, "strip": _assays(_cells(tables.effects))},
        "chunk": CHUNK,
        **{column: summary[column].to_list() for column in shown + more + best + rest},
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
    features = tables.summary["feature"].to_list()  # ascending
    tables = tables._replace(relations=_both_ways(tables.relations))
    cells = _cells(tables.effects)
    for start in range(0, len(features), CHUNK):
        wanted = features[start : start + CHUNK]
        parts = _parts(tables, pl.col("feature").is_between(wanted[0], wanted[-1]), cells)
        yield [
            {name: part[feature] for name, part in parts.items() if feature in part}
            for feature in wanted
        ]


def _parts(tables: Tables, wanted: pl.Expr, cells: pl.DataFrame) -> dict[str, dict[int, Any]]:
    """Gather each part of the details by feature; a feature without a part is left out."""
    seqlets = tables.seqlets.filter(wanted).sort("feature", "rank")
    annotations = (
        tables.annotations.filter(wanted)
        .fill_nan(None)  # NaN would count as the highest z
        .sort("z", "annotation", "class", descending=[True, False, False], nulls_last=True)
    )
    related = tables.relations.filter(wanted).sort("jaccard", "other", descending=[True, False])
    tested = ("annotation", "class", "observed", "control_mean", "z", "fold", "q_value")
    placed = ("chrom", "start", "end", "strand", "activation")
    return {
        "motifs": _motifs(tables.motifs.filter(wanted), tables.matches.filter(wanted)),
        "seqlets": _lists(seqlets, "feature", [*placed, _centre("sequence")], N_SEQLETS),
        "histogram": _histograms(seqlets),
        "classes": _lists(annotations, "feature", tested, N_CLASSES),
        "n_classes": dict(annotations.group_by("feature").len().iter_rows()),
        "related": _lists(related, "feature", ("other", "jaccard", "n_overlap"), N_RELATED),
        **_effects(tables.effects.filter(wanted), tables.shuffled.filter(wanted), cells),
    }


def _effects(
    effects: pl.DataFrame, shuffled: pl.DataFrame, cells: pl.DataFrame
) -> dict[str, dict[int, Any]]:
    """List the tracks that each feature moves most, and draw all tracks as a strip."""
    size = pl.col("effect").abs()
    moved = effects.sort(size, "track", descending=[True, False], nulls_last=True)
    counts = effects.unique("feature").select("feature", "n_active", "n_windows")
    distant = shuffled.sort("log_d2", "track", descending=[True, False], nulls_last=True)
    seqlets = shuffled.unique("feature").select("feature", "n_seqlets")
    named = ("name", "assay")
    interval = ("effect", "effect_low", "effect_high", "log2_effect", "q_value")
    distance = ("log_d2", "log_d2_low", "log_d2_high")
    return {
        "effects": _lists(moved, "feature", (*named, *interval), N_EFFECTS),
        "changed": {feature: list(row) for feature, *row in counts.iter_rows()},
        "strip": _strips(effects, cells),
        "shuffled": _lists(distant, "feature", (*named, *distance), N_EFFECTS),
        "n_shuffled": dict(seqlets.iter_rows()),
    }


def _cells(effects: pl.DataFrame) -> pl.DataFrame:
    """Place every track in a cell of the strip: by assay, then in the order of the model."""
    tracks = effects.select("track", "assay").unique("track").sort("assay", "track")
    size = -(-tracks.height // N_CELLS) or 1
    within = pl.int_range(pl.len()).over("assay") // size
    return tracks.with_columns(cell=(pl.struct("assay", within.alias("at"))).rle_id())


def _assays(cells: pl.DataFrame) -> list[list[Any]]:
    """Tell how many cells and tracks of the strip each assay has, in their order."""
    found = cells.group_by("assay", maintain_order=True)
    counts = found.agg(pl.col("cell").n_unique(), pl.len().alias("tracks"))
    return [list(row) for row in counts.iter_rows()]


def _strips(effects: pl.DataFrame, cells: pl.DataFrame) -> dict[int, list[Any]]:
    """Write each feature's strip: its largest effect, and a letter a cell, 31 steps either way.

    A cell shows that of its tracks which moves most.
    """
    strongest = (
        effects.select("feature", "track", "effect")
        .join(cells, on="track")
        .sort(
            "feature",
            "cell",
            pl.col("effect").abs(),
            descending=[False, False, True],
            nulls_last=True,
        )
        .unique(["feature", "cell"], keep="first", maintain_order=True)
    )
    found: dict[int, list[Any]] = {}
    for (feature,), part in strongest.partition_by("feature", as_dict=True).items():
        values = part["effect"].fill_null(0.0).to_numpy()
        most = float(np.abs(values).max(initial=0.0))
        steps = np.rint(values / (most or 1.0) * 31).astype(np.int64) + 31
        found[feature] = [most, _LETTERS[steps].tobytes().decode("ascii")]
    return found


def _motifs(motifs: pl.DataFrame, matches: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    """Describe the motifs of each feature and the known ones that each is like."""
    shown = ("target_id", "target_name", "p_value", "e_value", "q_value")
    aligned = ("optimal_offset", "overlap", "orientation")
    ordered = matches.sort("query_id", "log10_p", "target_id", nulls_last=True)
    like = _lists(ordered, "query_id", shown + aligned, N_MATCHES)
    found: dict[int, list[dict[str, Any]]] = {}
    for row in motifs.sort("feature", "index").iter_rows(named=True):
        motif = {name: row[name] for name in ("width", "n_sites", "engine", "consensus")}
        motif["log10_evalue"] = row["log10_evalue"]
        motif["pfm"] = encode_matrix(row["pfm"])
        motif["matches"] = like.get(row["motif_id"], [])
        found.setdefault(row["feature"], []).append(motif)
    return found


def _histograms(seqlets: pl.DataFrame) -> dict[int, dict[str, Any]]:
    """Count the activations of all seqlets of each feature."""
    found = {}
    for (feature,), part in seqlets.partition_by("feature", as_dict=True).items():
        values = part["activation"].to_numpy().astype(np.float64)
        counts, edges = np.histogram(values[np.isfinite(values)], bins=N_BINS)
        low, *_, high = edges.tolist()
        found[feature] = {"low": low, "high": high, "counts": counts.tolist()}
    return found


def _lists(
    table: pl.DataFrame, key: str, columns: Sequence[str | pl.Expr], most: int
) -> dict[Any, list[list[Any]]]:
    """Take the first rows of each key, as lists of the columns."""
    found: dict[Any, list[list[Any]]] = {}
    first = table.group_by(key, maintain_order=True).head(most)
    for name, *row in first.select(key, *columns).iter_rows():
        found.setdefault(name, []).append(row)
    return found


def _centre(column: str) -> pl.Expr:
    """Cut long sequences to their centre, which the ellipses on both sides tell."""
    length = pl.col(column).str.len_bytes()
    centre = pl.col(column).str.slice((length.cast(pl.Int64) - N_BASES) // 2, N_BASES)
    cut = pl.format("…{}…", centre)
    return pl.when(length > N_BASES).then(cut).otherwise(pl.col(column)).alias(column)


def _classes(features: pl.Series, enriched: pl.DataFrame) -> tuple[list[str], list[list[int]]]:
    """Give each enriched class a number and list the numbers of each feature."""
    named = enriched.select("feature", pl.format("{}:{}", "annotation", "class").alias("name"))
    classes = named["name"].unique().sort().to_list()
    number = {name: position for position, name in enumerate(classes)}
    found: dict[int, list[int]] = {}
    for feature, name in named.iter_rows():
        found.setdefault(feature, []).append(number[name])
    return classes, [found.get(feature, []) for feature in features.to_list()]


def _both_ways(relations: pl.DataFrame) -> pl.DataFrame:
    """List each pair under both of its features."""
    forward = relations.rename({"feature_a": "feature", "feature_b": "other"})
    backward = relations.rename({"feature_b": "feature", "feature_a": "other"})
    columns = ("feature", "other", "jaccard", "n_overlap")
    return pl.concat([forward.select(columns), backward.select(columns)])


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Cut floats to four digits, and write null where JSON has no number."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value

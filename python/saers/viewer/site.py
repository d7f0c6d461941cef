"""Writes the atlas as a folder of plain files.

The folder needs no server: its scripts are classic ones, and its data are scripts too. It asks
nothing of the network.
"""

import html
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from saers import schema, store
from saers.atlas import summarise
from saers.plotting import GLYPHS, Matrix
from saers.viewer import payload

ASSETS = ("atlas.css", "core.js", "logo.js", "table.js", "scatter.js", "detail.js", "atlas.js")

# Facts of the header that the run may tell, in their order: key -> label, explanation.
_FACTS = {
    "model": ("Model", "The sequence model whose layer was taken apart."),
    "layer": ("Layer", "The layer whose activations the autoencoder reads."),
    "genome": ("Genome", "The genome that the windows come from."),
    "n_windows": ("Windows", "Windows of sequence that were encoded."),
    "k": ("Active at once", "Features that may fire together at one position."),
    "fvu": ("FVU", "Fraction of the variance of the layer that the features leave unexplained."),
    "dead_share": ("Dead", "Share of features that never fired on the encoded windows."),
    "database": ("Motif database", "Known motifs that the discovered ones were compared to."),
}


def write_site(
    directory: str | Path,
    *,
    features: pl.DataFrame,
    seqlets: pl.DataFrame,
    motifs: pl.DataFrame,
    matches: pl.DataFrame,
    annotations: pl.DataFrame,
    relations: pl.DataFrame,
    embedding: pl.DataFrame,
    meta: Mapping[str, Any],
    effects: pl.DataFrame | None = None,
    shuffled: pl.DataFrame | None = None,
    edit: str = "",
    targets: Mapping[str, Matrix] | None = None,
    families: Mapping[str, str] | None = None,
) -> None:
    """Write the static site of a run, whole or not at all.

    Parameters
    ----------
    directory
        Folder of the site; one that exists is replaced. ``index.html`` in it is the page.
    features, seqlets, motifs, matches, annotations, relations, embedding
        The tables of the run, as ``saers.schema`` describes them.
    meta
        What the header says: ``title``, and of ``model``, ``layer``, ``genome``, ``n_windows``,
        ``k``, ``fvu``, ``dead_share``, ``database`` what is known; other keys are shown under
        their own names. Values are text or numbers.
    effects, shuffled
        What ``saers perturb`` measured, where it did: tracks on the pages of the features.
    edit
        What was done to the features for ``effects``: "ablate", "scale=V" or "clamp=V".
    targets
        Matrices of known motifs by id, shape (width, 4); they are drawn under the motifs that
        match them.
    families
        Families of known motifs by id, to colour the map with; the stems of their names
        otherwise.

    Examples
    --------
    >>> import tempfile
    >>> tables = {name: schema.empty(getattr(schema, name.upper()))
    ...           for name in ("features", "seqlets", "motifs", "matches", "annotations",
    ...                        "relations", "embedding")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_site(Path(folder) / "atlas", **tables, meta={"title": "Toy"})
    ...     "<title>Toy</title>" in (Path(folder) / "atlas" / "index.html").read_text()
    True
    """
    tables = _tables(features, seqlets, motifs, matches, annotations, relations, embedding)
    tables = tables._replace(
        effects=_answer(effects, schema.EFFECTS, "effects"),
        shuffled=_answer(shuffled, schema.SHUFFLED, "shuffled"),
    )
    title = str(meta.get("title", "Feature atlas"))
    told = {"title": title, "facts": _facts(meta, tables.summary), "edit": edit}
    page = payload.index(tables, meta=told, families=families or {})
    with store.atomic_directory(directory) as site:
        (site / "assets").mkdir()
        (site / "data").mkdir()
        for name in ASSETS:
            _write(site / "assets" / name, _asset(name))
        _write(site / "index.html", _asset("index.html").replace("{{title}}", html.escape(title)))
        glyphs = payload.script("saers.glyphs", GLYPHS)
        _write(site / "data" / "index.js", glyphs + payload.script("saers.index", page))
        for number, chunk in enumerate(payload.chunks(tables)):
            text = payload.script("saers.chunk", number, chunk)
            _write(site / "data" / f"c{number:05}.js", text)
        _write(site / "data" / "targets.js", _targets(matches, targets or {}))


def _tables(
    features: pl.DataFrame,
    seqlets: pl.DataFrame,
    motifs: pl.DataFrame,
    matches: pl.DataFrame,
    annotations: pl.DataFrame,
    relations: pl.DataFrame,
    embedding: pl.DataFrame,
) -> payload.Tables:
    """Check the columns of every table before anything is written."""
    seqlets = schema.conform(seqlets, schema.SEQLETS, table="seqlets")
    motifs = schema.conform(motifs, schema.MOTIFS, table="motifs")
    matches = schema.conform(matches, schema.MATCHES, table="matches")
    annotations = schema.conform(annotations, schema.ANNOTATIONS, table="annotations")
    summary = summarise(
        features,
        annotations=annotations,
        embedding=embedding,
        matches=matches,
        motifs=motifs,
        seqlets=seqlets,
    )
    relations = schema.conform(relations, schema.RELATIONS, table="relations")
    none = schema.empty(schema.EFFECTS), schema.empty(schema.SHUFFLED)
    return payload.Tables(summary, seqlets, motifs, matches, annotations, relations, *none)


def _answer(table: pl.DataFrame | None, columns: schema.Columns, name: str) -> pl.DataFrame:
    """Check a table that a run may lack."""
    return schema.empty(columns) if table is None else schema.conform(table, columns, table=name)


def _facts(meta: Mapping[str, Any], summary: pl.DataFrame) -> list[list[str]]:
    """List label, value and explanation of what the header says."""
    dead = summary.select((pl.col("n_nonzero") == 0).mean()).item()
    known = {"dead_share": dead, **meta}
    facts = [
        [label, _told(key, known[key]), hint]
        for key, (label, hint) in _FACTS.items()
        if known.get(key) is not None
    ]
    facts += [
        [key.replace("_", " ").capitalize(), _told(key, value), ""]
        for key, value in meta.items()
        if key not in _FACTS and key != "title" and value is not None
    ]
    return facts


def _told(key: str, value: object) -> str:
    """Word a value of the header."""
    if isinstance(value, float):
        return f"{value:.1%}" if key.endswith("_share") else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _targets(matches: pl.DataFrame, targets: Mapping[str, Matrix]) -> str:
    """Write the matrices of the known motifs that some motif matches."""
    wanted = matches["target_id"].unique().sort().to_list()
    return payload.script(
        "saers.targets",
        {name: payload.encode_matrix(targets[name]) for name in wanted if name in targets},
    )


def _asset(name: str) -> str:
    return (resources.files("saers.viewer") / "static" / name).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")

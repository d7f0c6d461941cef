"""Comparison of motifs with known ones, as Tomtom 5.4.1 does it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.ma
import polars as pl

from saers import _core, checks, schema, store
from saers.motif import Motif, read_motifs

MAX_QUERY_WIDTH = 100
# A motif none of whose positions has this many bits says nothing, yet lies near many targets.
FLAT_BITS = 0.25

DISTANCES = ("ed", "pearson", "sandelin", "kullback", "allr")
Q_VALUES = ("independent", "compat")
# Options under the name of a program that calls Tomtom with them.
PRESETS: dict[str, "TomtomOptions"] = {"modisco": {"dist": "pearson", "min_overlap": 5}}

_CONSENSUS = ("query_consensus", "target_consensus")

Motifs: TypeAlias = Sequence[Motif] | str | Path

TSV_COLUMNS = {
    "query_id": "Query_ID",
    "target_id": "Target_ID",
    "optimal_offset": "Optimal_offset",
    "p_value": "p-value",
    "e_value": "E-value",
    "q_value": "q-value",
    "overlap": "Overlap",
    "query_consensus": "Query_consensus",
    "target_consensus": "Target_consensus",
    "orientation": "Orientation",
}


def tomtom(
    queries: Motifs,
    targets: Motifs,
    *,
    dist: str = "ed",
    min_overlap: int = 1,
    internal: bool = False,
    incomplete_scores: bool = False,
    reverse_complement: bool = True,
    pseudocount: float = 0.1,
    thresh: float = 0.5,
    evalue: bool = False,
    pvalue: bool = False,
    q: str = "independent",
    background: Sequence[float] | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Find the targets that each query resembles.

    Scores, p-values, E-values, offsets and strands are those of Tomtom 5.4.1 to the last digit
    that it prints.

    Parameters
    ----------
    queries, targets
        Motifs, or a file of them. Left out with a warning: motifs whose id occurs before, and
        queries wider than 100.
    dist
        Score of two columns: ``ed``, ``pearson``, ``sandelin``, ``kullback`` or ``allr``.
    min_overlap
        Least number of aligned columns, where both motifs are so wide.
    internal
        Whether the narrower motif must lie wholly inside the wider one.
    incomplete_scores
        Whether aligned columns alone count, each alignment with a p-value of its own. By
        default a query column without a partner counts as the median target column would.
    reverse_complement
        Whether targets are also tried on their other strand.
    pseudocount
        Letters of the background that are added to the sites of each column.
    thresh
        Largest q-value that is reported, or E-value or p-value where these say so:
    evalue
        Whether ``thresh`` bounds the E-value.
    pvalue
        Whether ``thresh`` bounds the p-value. Tomtom itself has no such option.
    q
        How the q-value estimates the share of targets that do not match (Storey).
        ``independent`` takes the exact expectation of the error that Tomtom estimates by a
        bootstrap, so that a query's q-values depend on nothing but itself and the targets.
        ``compat`` repeats that bootstrap, whose random numbers run on from query to query, and
        rounds p-values to single precision, as Tomtom does.
    background
        Letter frequencies for the pseudo-counts (and for ``allr``); those of each query by
        default. Tomtom's ``-bfile`` is this, for ``allr`` alone.
    threads
        Number of threads; all by default. Results are the same for any number.

    Returns
    -------
    polars.DataFrame
        Columns of :data:`saers.schema.MATCHES`, queries in their order, best matches first.
        ``feature`` is null.

    Examples
    --------
    >>> ag = Motif("AG", "", [[1, 0, 0, 0], [0, 0, 1, 0]])
    >>> frame = tomtom([ag], [Motif("GAGG", "", np.eye(4)[[2, 0, 2, 2]])], thresh=1.0)
    >>> frame.select("target_id", "optimal_offset", "overlap", "orientation").row(0)
    ('GAGG', 1, 2, '+')
    """
    checks.one_of("dist", dist, DISTANCES)
    checks.one_of("q", q, Q_VALUES)
    checks.in_range("min_overlap", min_overlap, 1, MAX_QUERY_WIDTH)
    if evalue and pvalue:
        raise ValueError("evalue and pvalue exclude each other: thresh bounds one of them")
    if not evalue:
        checks.in_range("thresh", thresh, 0, 1)
    kept = _comparable(_load(queries, "queries"))
    known = _load(targets, "targets")
    columns = _core.tomtom(
        [motif.parts() for motif in kept],
        [motif.parts() for motif in known],
        dist=dist,
        min_overlap=min_overlap,
        internal=internal,
        complete=not incomplete_scores,
        reverse_complement=reverse_complement,
        pseudocount=pseudocount,
        thresh=thresh,
        criterion="p" if pvalue else "e" if evalue else "q",
        compat=q == "compat",
        background=background,
        threads=threads,
    )
    return _table(columns, kept, known)


class TomtomOptions(TypedDict, total=False):
    """Options of :func:`tomtom`."""

    dist: str
    min_overlap: int
    internal: bool
    incomplete_scores: bool
    reverse_complement: bool
    pseudocount: float
    thresh: float
    evalue: bool
    pvalue: bool
    q: str
    background: Sequence[float] | None
    threads: int | None


def match_motifs(
    motifs: pl.DataFrame, database: Motifs, **options: Unpack[TomtomOptions]
) -> pl.DataFrame:
    """Match the motifs of features with known ones.

    Parameters
    ----------
    motifs
        Columns of :data:`saers.schema.MOTIFS`.
    database
        Known motifs, or a file of them.
    **options
        Those of :func:`tomtom`.

    Returns
    -------
    polars.DataFrame
        Columns of :data:`saers.schema.MATCHES`, in the order of ``motifs``. Motifs without
        information are left out, with a warning that names them.

    Examples
    --------
    >>> row = {"motif_id": "1_n7.1", "feature": 7, "index": 1, "width": 2, "n_sites": 50,
    ...        "log10_evalue": -9.0, "engine": "builtin", "consensus": "AG",
    ...        "pfm": [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]}
    >>> known = [Motif("GAGG", "", np.eye(4)[[2, 0, 2, 2]])]
    >>> frame = match_motifs(pl.DataFrame([row]), known, thresh=1.0)
    >>> frame.select("query_id", "target_id", "feature").row(0)
    ('1_n7.1', 'GAGG', 7)
    """
    table = schema.conform(motifs, schema.MOTIFS, table="motifs")
    queries = motifs_of(table)
    flat = _flat(queries)
    if flat:
        warnings.warn(f"not matched, without information: {_some(flat)}", stacklevel=2)
    named = [motif for motif in queries if motif.id not in set(flat)]
    if not named:
        return schema.empty(schema.MATCHES)
    matches = tomtom(named, database, **options).drop("feature")
    features = table.select(query_id="motif_id", feature="feature").unique("query_id")
    joined = matches.join(features, on="query_id", how="left", maintain_order="left")
    return schema.conform(joined, schema.MATCHES, table="matches")


def motifs_of(table: pl.DataFrame) -> list[Motif]:
    """Make motifs of a table with the columns of :data:`saers.schema.MOTIFS`.

    Examples
    --------
    >>> motifs_of(schema.empty(schema.MOTIFS))
    []
    """
    columns = ("motif_id", "pfm", "n_sites", "log10_evalue")
    return [
        Motif(id, "", pfm, n_sites=n_sites, log10_evalue=log10_evalue)
        for id, pfm, n_sites, log10_evalue in table.select(columns).iter_rows()
    ]


def is_flat(motif: Motif) -> bool:
    """Tell whether no position of a motif has a quarter of a bit.

    Examples
    --------
    >>> is_flat(Motif("flat", "", [[0.25] * 4] * 6))
    True
    """
    return bool(_flat([motif]))


def write_tomtom_tsv(matches: pl.DataFrame, path: str | Path) -> None:
    r"""Write matches as the ``tomtom.tsv`` of Tomtom 5.4.1: ten columns, then comment lines.

    Parameters
    ----------
    matches
        Columns of :data:`saers.schema.MATCHES`.
    path
        Where to; written whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     write_tomtom_tsv(schema.empty(schema.MATCHES), file.name)
    ...     Path(file.name).read_text().splitlines()[0].split("\t")[:3]
    ['Query_ID', 'Target_ID', 'Optimal_offset']
    """
    table = schema.conform(matches, schema.MATCHES, table="matches")
    lines = ["\t".join(TSV_COLUMNS.values())]
    lines += ["\t".join(_tsv_row(row)) for row in table.select(*TSV_COLUMNS).iter_rows()]
    lines += [
        "",
        f"# saers {_core.__version__}, in the layout of Tomtom (Motif Comparison Tool) 5.4.1",
        "# p-value, E-value and q-value as described in the documentation of Tomtom",
        "# offsets count from the first position of the target on the strand given",
    ]
    with store.atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tsv_row(row: tuple[Any, ...]) -> list[str]:
    """Word one row; numbers pass through single precision, as they do in Tomtom."""
    query, target, offset, p, e, q, overlap, *rest = row
    if p != float(np.float32(p)):
        # Tomtom multiplies the rounded p-value by the number of targets.
        e = float(np.float32(p)) * round(e / p)
    numbers = [f"{np.float32(value):g}" for value in (p, e, q)]
    return [query, target, str(offset), *numbers, str(overlap), *rest]


def _load(motifs: Motifs, role: str) -> list[Motif]:
    """Read motifs from a file, or take them as they are; the first of an id counts."""
    listed = read_motifs(motifs) if isinstance(motifs, str | Path) else list(motifs)
    first: dict[str, Motif] = {}
    repeated = [motif.id for motif in listed if first.setdefault(motif.id, motif) is not motif]
    if repeated:
        warnings.warn(f"{role} left out, their ids occur before: {_some(repeated)}", stacklevel=3)
    return list(first.values())


def _comparable(queries: list[Motif]) -> list[Motif]:
    """Drop queries that are too wide and warn about those and about flat ones."""
    wide = [motif.id for motif in queries if motif.width > MAX_QUERY_WIDTH]
    if wide:
        warnings.warn(
            f"skipped, wider than {MAX_QUERY_WIDTH} positions: {_some(wide)}", stacklevel=3
        )
    flat = _flat(queries)
    if flat:
        warnings.warn(
            f"without information, so that their matches mean nothing: {_some(flat)}",
            stacklevel=3,
        )
    return [motif for motif in queries if motif.width <= MAX_QUERY_WIDTH]


def _flat(motifs: Sequence[Motif]) -> list[str]:
    """List the ids of motifs none of whose positions has a quarter of a bit."""
    if not motifs:
        return []
    bits = _core.motif_information(np.concatenate([motif.matrix for motif in motifs]))
    starts = np.cumsum([0, *(motif.width for motif in motifs[:-1])])
    most = np.maximum.reduceat(bits, starts)
    return [motifs[int(index)].id for index in np.flatnonzero(most < FLAT_BITS)]


def _some(ids: Sequence[str], most: int = 5) -> str:
    """List the first few ids."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more


def _table(columns: dict[str, Any], queries: list[Motif], targets: list[Motif]) -> pl.DataFrame:
    """Put names and consensus sequences in the place of indices."""
    query, target = pl.col("query"), pl.col("target")
    consensus = {name: columns.pop(f"{name}_of") for name in _CONSENSUS}
    named = pl.DataFrame(columns).with_columns(
        *(_at(pl.col(name), values).alias(name) for name, values in consensus.items()),
        query_id=_at(query, [motif.id for motif in queries]),
        target_id=_at(target, [motif.id for motif in targets]),
        target_name=_at(target, [motif.name for motif in targets]),
        orientation=pl.when("reverse").then(pl.lit("-")).otherwise(pl.lit("+")),
        feature=pl.lit(None, pl.UInt32),
    )
    return schema.conform(named, schema.MATCHES, table="matches")


def _at(index: pl.Expr, values: list[str]) -> pl.Expr:
    """Look a string up by its position."""
    return pl.lit(pl.Series(values, dtype=pl.String)).gather(index)

"""Databases of known motifs: JASPAR by name, offline, and any motif file by path."""

import importlib.util
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import polars as pl

from saers import checks
from saers.motif import Motif, read_motifs
from saers.motifs.library import added, added_families, load_added

DEFAULT = "JASPAR2024_CORE_vertebrates"

# Probabilities carry as many decimals as in JASPAR's own MEME files, so that p-values are the
# same whether a database is given by name or as that file.
_DECIMALS = 6

_GROUPS = "SELECT DISTINCT val FROM matrix_annotation WHERE tag = 'tax_group' ORDER BY val"
_MOTIFS = """
SELECT base_id, version, name, id FROM matrix
WHERE collection = 'CORE' AND (? IS NULL OR id IN
    (SELECT id FROM matrix_annotation WHERE tag = 'tax_group' AND val = ?))
ORDER BY base_id, version
"""

_FAMILY_COLUMNS = {"target_id": pl.String, "family": pl.String}
_FAMILIES = """
SELECT base_id || '.' || version, val FROM matrix
JOIN matrix_annotation ON matrix.id = matrix_annotation.id
WHERE collection = 'CORE' AND tag = 'family' AND val <> '' ORDER BY base_id, version, val
"""


def load_database(name: str | Path) -> list[Motif]:
    """Load a database of known motifs.

    Parameters
    ----------
    name
        ``JASPAR{year}_CORE`` or ``JASPAR{year}_CORE_{taxon}`` (:func:`database_names` lists
        them), which the package pyjaspar brings along; a name that was added
        (:func:`saers.motifs.library.add_database`); or the path of a motif file.

    Returns
    -------
    list of Motif
        Of JASPAR the latest version of each matrix, sorted by id; probabilities of six decimals,
        and as many sites as the first position counts.

    Raises
    ------
    ValueError
        If there is no database of this name; the nearest one is named.

    Examples
    --------
    >>> len(load_database("JASPAR2024_CORE_vertebrates"))
    879
    >>> load_database("JASPAR2024_CORE_vertebrate")
    Traceback (most recent call last):
    ...
    ValueError: ... did you mean 'JASPAR2024_CORE_vertebrates'?
    """
    if Path(name).is_file():
        return read_motifs(name)
    release, _, taxon = str(name).partition("_CORE")
    file = _releases().get(release)
    if file is None:
        own = load_added(str(name)) if _is_name(str(name)) else None
        if own is None:
            raise ValueError(_unknown(str(name)))
        return own
    with closing(_connect(file)) as connection:
        known = ["", *(f"_{group}" for (group,) in connection.execute(_GROUPS))]
        if taxon not in known or f"{release}_CORE{taxon}" != str(name):
            raise ValueError(_unknown(str(name)))
        return _latest(connection, taxon.removeprefix("_") or None)


def database_names() -> list[str]:
    """List the databases that can be loaded by name.

    Examples
    --------
    >>> "JASPAR2026_CORE_vertebrates" in database_names()
    True
    """
    names = []
    for release, file in _releases().items():
        with closing(_connect(file)) as connection:
            groups = [group for (group,) in connection.execute(_GROUPS)]
        names += [f"{release}_CORE", *(f"{release}_CORE_{group}" for group in groups)]
    return names


def families(name: str) -> pl.DataFrame:
    """Tell to which families the factors of a database belong.

    Parameters
    ----------
    name
        As in :func:`load_database`. A plain file says nothing of families.

    Returns
    -------
    polars.DataFrame
        target_id and family, for those motifs of which it is known; several families of a
        dimer are joined by ``::``.

    Examples
    --------
    >>> frame = families("JASPAR2024_CORE_vertebrates")
    >>> frame.filter(target_id="MA0139.2")["family"].to_list()
    ['More than 3 adjacent zinc fingers']
    """
    release, _, _ = name.partition("_CORE")
    file = _releases().get(release)
    if file is None:
        own = added_families(name)
        return pl.DataFrame(schema=_FAMILY_COLUMNS) if own is None else own
    with closing(_connect(file)) as connection:
        rows = connection.execute(_FAMILIES).fetchall()
    frame = pl.DataFrame(rows, schema=_FAMILY_COLUMNS, orient="row")
    return frame.group_by("target_id", maintain_order=True).agg(
        pl.col("family").unique(maintain_order=True).str.join("::")
    )


def with_families(matches: pl.DataFrame, name: str) -> pl.DataFrame:
    """Add the column family to matches, null where it is not known.

    Examples
    --------
    >>> frame = pl.DataFrame({"target_id": ["MA0139.2", "none"]})
    >>> with_families(frame, "JASPAR2024_CORE_vertebrates")["family"].to_list()
    ['More than 3 adjacent zinc fingers', None]
    """
    return matches.join(families(name), on="target_id", how="left", maintain_order="left")


def _releases() -> dict[str, Path]:
    """Find the releases of JASPAR inside pyjaspar, without the seconds that its import takes."""
    found = importlib.util.find_spec("pyjaspar")
    if found is None or found.origin is None:
        raise ValueError("JASPAR by name needs the package pyjaspar: pip install pyjaspar")
    files = (Path(found.origin).parent / "data").glob("JASPAR*.sqlite")
    return {file.stem: file for file in sorted(files)}


def _connect(file: Path) -> sqlite3.Connection:
    """Open a release for reading alone: it may lie where nobody can write."""
    return sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)


def _is_name(name: str) -> bool:
    return bool(name) and Path(name).name == name


def _unknown(name: str) -> str:
    """Word the error for a name that is neither a database nor a file."""
    own = [entry["name"] for entry in added()]
    names = [*database_names(), *own]
    listed = ", ".join([known for known in names if known.endswith("_vertebrates")] + own)
    return (
        f"database {name!r} is neither a file nor one of {listed} (or another group)"
        f"{checks.did_you_mean(name, names)}"
    )


def _latest(connection: sqlite3.Connection, taxon: str | None) -> list[Motif]:
    """Read the latest version of each matrix of a taxonomic group."""
    latest = {row[0]: row for row in connection.execute(_MOTIFS, (taxon, taxon))}
    counts = _counts(connection, [row[3] for row in latest.values()])
    return [
        _motif(f"{base}.{version}", name, counts[key])
        for base, version, name, key in sorted(latest.values())
    ]


def _counts(
    connection: sqlite3.Connection, keys: Iterable[int]
) -> dict[int, list[tuple[str, int, float]]]:
    """Read the counts of some matrices as (letter, column, count)."""
    wanted = ",".join(str(int(key)) for key in keys)
    query = f"SELECT id, row, col, val FROM matrix_data WHERE id IN ({wanted}) ORDER BY id"
    rows = groupby(connection.execute(query), itemgetter(0))
    return {key: [row[1:] for row in group] for key, group in rows}


def _motif(id: str, name: str, counts: list[tuple[str, int, float]]) -> Motif:
    """Turn counts into a motif."""
    matrix = np.zeros((max(column for _, column, _ in counts), 4))
    for letter, column, count in counts:
        matrix[column - 1, "ACGT".index(letter)] = count
    sums = matrix.sum(axis=1, keepdims=True)
    # Through text: the decimals of a MEME file, to the bit.
    rounded = np.char.mod(f"%.{_DECIMALS}f", matrix / sums).astype(np.float64)
    return Motif(id, "_".join(name.split()), rounded, n_sites=float(round(sums[0, 0])))

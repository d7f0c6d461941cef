"""The user's own databases of known motifs: files under names, in one folder."""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import platformdirs
import polars as pl

from saers import _core, checks, store
from saers.motif import Motif, read_motifs


class Entry(TypedDict):
    """What is known of an added database."""

    name: str
    source: str
    sha256: str
    motifs: int
    families: dict[str, str]


def folder() -> Path:
    """Name the folder of added databases: ``SAERS_DATABASES``, else the user's own data folder.

    Examples
    --------
    >>> folder().is_absolute()
    True
    """
    chosen = os.environ.get("SAERS_DATABASES")
    own = Path(chosen) if chosen else platformdirs.user_data_path("saers") / "databases"
    return own.expanduser().absolute()


def add_database(
    source: str | Path,
    *,
    name: str,
    sha256: str | None = None,
    families: str | Path | None = None,
) -> Entry:
    r"""Keep a motif file under a name that :func:`~saers.motifs.databases.load_database` knows.

    Parameters
    ----------
    source
        A file, or an address that begins with http, https or ftp. It is fetched once; from then
        on no network is needed.
    name
        Letters, digits, ``.``, ``-`` and ``_``. A database of that name is replaced.
    sha256
        What the file must hash to, in hexadecimal digits.
    families
        A table without a head: id of a motif and its family, separated by a tab.

    Returns
    -------
    dict
        Name, source, hash, number of motifs, and families by id.

    Raises
    ------
    ValueError
        If the name is not one, or the hash differs.
    FormatError
        If the file holds no motifs.

    Warns
    -----
    UserWarning
        If ids are repeated: a comparison takes the first motif of each.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "own.jaspar"
    >>> _ = path.write_text(">M1 AG\nA [2 0]\nC [0 0]\nG [0 2]\nT [0 0]\n")
    >>> getfixture("monkeypatch").setenv("SAERS_DATABASES", str(path.parent / "kept"))
    >>> add_database(path, name="mine")["motifs"]
    1
    >>> [motif.id for motif in load_added("mine")]
    ['M1']
    """
    _check_name(name)
    with tempfile.TemporaryDirectory(prefix="saers-") as scratch:
        path = _fetched(str(source), Path(scratch), sha256)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if sha256 is not None and digest != sha256.lower():
            raise ValueError(f"{source}: expected sha256 {sha256.lower()}, found {digest}")
        motifs = read_motifs(path)
        entry = Entry(
            name=name,
            source=str(source),
            sha256=digest,
            motifs=len(motifs),
            families={} if families is None else _read_families(Path(families)),
        )
        target = folder() / name
        with store.atomic_directory(target) as temporary:
            shutil.copyfile(path, temporary / "motifs")
            (temporary / "entry.json").write_text(json.dumps(entry, indent=1), encoding="utf-8")
    _warn_of_repeated(name, [motif.id for motif in motifs])
    return entry


def _warn_of_repeated(name: str, ids: Iterable[str], most: int = 5) -> None:
    """Say which ids occur more than once, and what becomes of their motifs."""
    repeated = [id for id, count in Counter(ids).items() if count > 1]
    if not repeated:
        return
    named = ", ".join(repeated[:most]) + (", …" if len(repeated) > most else "")
    warnings.warn(
        f"{name}: {len(repeated)} ids occur more than once, and match takes the first motif of "
        f"each: {named}",
        stacklevel=3,
    )


def added() -> list[Entry]:
    """List the databases that were added, by name.

    Examples
    --------
    >>> getfixture("monkeypatch").setenv("SAERS_DATABASES", "/nowhere")
    >>> added()
    []
    """
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder().glob("*/entry.json"))
    ]


def load_added(name: str) -> list[Motif] | None:
    """Load a database that was added; None if there is none of that name."""
    path = folder() / name / "motifs"
    return read_motifs(path) if path.is_file() else None


def added_families(name: str) -> pl.DataFrame | None:
    """Tell the families of an added database: a frame of target_id and family."""
    for entry in added():
        if entry["name"] == name:
            pairs = entry["families"].items()
            schema = {"target_id": pl.String, "family": pl.String}
            return pl.DataFrame(list(pairs), schema=schema, orient="row")
    return None


def _check_name(name: str) -> None:
    if not name or not all(letter.isalnum() or letter in ".-_" for letter in name):
        raise ValueError(f"name must be letters, digits, '.', '-' and '_', got {name!r}")
    if name.startswith(".") or name.startswith("JASPAR"):
        raise ValueError(f"name may begin neither with '.' nor with 'JASPAR', got {name!r}")


def _fetched(source: str, scratch: Path, sha256: str | None) -> Path:
    """Bring an address to a file, or name the file."""
    if not source.startswith(("http://", "https://", "ftp://")):
        return checks.existing_file(source, what="database")
    import pooch

    known = None if sha256 is None else f"sha256:{sha256.lower()}"
    # The name of the file does not matter; that of an address may hold anything.
    return Path(pooch.retrieve(source, known, fname="motifs", path=scratch, progressbar=False))


def _read_families(path: Path) -> dict[str, str]:
    families = {}
    text = checks.existing_file(path, what="families").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        id, tab, family = line.partition("\t")
        if not (id.strip() and tab and family.strip()):
            raise _core.FormatError(
                f"{path}: line {number}: expected an id, a tab and a family, found {line!r}"
            )
        families[id.strip()] = family.strip()
    return families

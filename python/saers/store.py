"""The run directory: its paths, its manifest, and writes that are whole or not there.

The only module that chooses where an artefact of a run lies.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from saers import schema
from saers._core import FormatError
from saers.digests import Digest, digest_path

MANIFEST_VERSION = 1

# Artefact -> where it lies in the run directory. A trailing slash marks a folder.
LAYOUT: dict[str, str] = {
    "recipe": "recipe.toml",
    "manifest": "manifest.json",
    "windows": "windows.parquet",
    "layer": "layer.json",
    "activations": "activations/activations.h5",
    "activations_part": "activations/activations.h5.part",
    "stats": "stats.parquet",
    "sae": "sae/",
    "train_state": "train_state/",
    "codes": "codes/codes.h5",
    "encoding": "codes/encoding.json",
    "top": "codes/top.parquet",
    "totals": "codes/totals.parquet",
    "features": "features.parquet",
    "seqlets": "seqlets.parquet",
    "seqlets_fasta": "seqlets/",
    "motifs": "motifs.parquet",
    "motifs_meme": "motifs.meme",
    "motifs_parts": "motifs_parts/",
    "matches": "matches.parquet",
    "tomtom_tsv": "tomtom.tsv",
    "annotations": "annotations.parquet",
    "relations": "relations.parquet",
    "embedding": "embedding.parquet",
    "faithfulness": "faithfulness.parquet",
    "faithfulness_by_assay": "faithfulness_by_assay.parquet",
    "faithfulness_figure": "faithfulness.png",
    "effects": "effects.parquet",
    "shuffled": "shuffled.parquet",
    "atlas_h5ad": "atlas.h5ad",
    "atlas": "atlas/",
}
TABLES: dict[str, schema.Columns] = {
    "windows": schema.WINDOWS,
    "stats": schema.STATS,
    "top": schema.TOP_SEQLETS,
    "totals": schema.FEATURE_TOTALS,
    "features": schema.FEATURES,
    "seqlets": schema.SEQLETS,
    "motifs": schema.FOUND_MOTIFS,
    "matches": schema.MATCHES,
    "annotations": schema.ANNOTATIONS,
    "relations": schema.RELATIONS,
    "embedding": schema.EMBEDDING,
    "faithfulness": schema.FAITHFULNESS,
    "faithfulness_by_assay": schema.FAITHFULNESS_BY_ASSAY,
    "effects": schema.EFFECTS,
    "shuffled": schema.SHUFFLED,
}
_SCRATCH = ".saers-tmp-"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path whose file takes the place of ``path`` when the block succeeds.

    A reader sees the old file or the new one, never half of it; when the block fails the old
    one stays.

    Raises
    ------
    OSError
        As the writer raised it; a full disk names ``path`` and says what to do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "table.txt"
    ...     with atomic_path(target) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     target.read_text()
    'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_SCRATCH, suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming_full_disk(target):
            yield temporary
            _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``path`` when the block succeeds.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_directory(Path(folder) / "site") as temporary:
    ...         _ = (temporary / "index.html").write_text("hello")
    ...     (Path(folder) / "site" / "index.html").read_text()
    'hello'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=target.parent))
    try:
        with _naming_full_disk(target):
            yield temporary
        temporary.chmod(0o777 & ~_umask())
        if target.exists():
            # A folder cannot be replaced in one step: between these two renames there is none,
            # and a run that is killed right there writes it again.
            old = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=target.parent))
            target.rename(old / "old")
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _naming_full_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"no space left while writing {target}; free some and run the same command again",
            ) from error
        raise


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class RunStore:
    """One run directory.

    Parameters
    ----------
    root
        The directory; made when it is missing.

    Raises
    ------
    BlockingIOError
        From :meth:`locked`, when another process works in the same directory.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one writer; leftovers of a killed one are removed first."""
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    error.errno, f"another saers is working in {self.root}; wait until it ends"
                ) from error
            self._sweep()
            yield

    def _sweep(self) -> None:
        for folder in {(self.root / place).parent for place in LAYOUT.values()}:
            for leftover in folder.glob(_SCRATCH + "*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()

    def path(self, artefact: str) -> Path:
        """Say where an artefact lies.

        Examples
        --------
        >>> RunStore("/tmp").path("stats").name
        'stats.parquet'
        """
        return self.root / LAYOUT[artefact].rstrip("/")

    def has(self, artefact: str) -> bool:
        """Tell whether an artefact has been written."""
        return self.path(artefact).exists()

    def read_table(self, artefact: str) -> pl.DataFrame:
        """Read a table and hold it to its schema.

        Raises
        ------
        FileNotFoundError
            If the stage that writes it has not run.
        saers.FormatError
            If the file is no Parquet file or lacks columns.
        """
        path = self.path(artefact)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the stage that writes it has not run")
        try:
            return schema.conform(pl.read_parquet(path), TABLES[artefact], table=artefact)
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise FormatError(f"{path}: {error}") from error

    def write_table(self, artefact: str, frame: pl.DataFrame) -> None:
        """Write a table whole, with the columns of its schema."""
        table = schema.conform(frame, TABLES[artefact], table=artefact)
        with atomic_path(self.path(artefact)) as temporary:
            table.write_parquet(temporary, row_group_size=65_536)

    def read_json(self, artefact: str) -> Any:  # noqa: ANN401 - whatever the file holds
        """Read a JSON artefact.

        Raises
        ------
        saers.FormatError
            If the file is broken; names the file and the place.
        """
        path = self.path(artefact)
        try:
            return json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}") from error

    def write_json(self, artefact: str, value: object) -> None:
        """Write a JSON artefact whole."""
        with atomic_path(self.path(artefact)) as temporary:
            temporary.write_text(json.dumps(value, indent=1) + "\n")

    def read_manifest(self) -> dict[str, Any]:
        """Read what each stage recorded: stage name -> record; empty before the first stage.

        Raises
        ------
        saers.FormatError
            If the manifest is not one that this version wrote.
        """
        path = self.path("manifest")
        if not path.exists():
            return {}
        way_out = f"move {path} away to have every stage run again"
        try:
            manifest = self.read_json("manifest")
        except FormatError as error:
            raise FormatError(f"{error}; {way_out}") from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("stages"), dict):
            raise FormatError(f"{path}: no object with 'stages' in it; {way_out}")
        if manifest.get("version") != MANIFEST_VERSION:
            raise FormatError(
                f"{path}: version {manifest.get('version')!r}, expected {MANIFEST_VERSION}; "
                f"{way_out}"
            )
        return dict(manifest["stages"])

    def write_manifest(self, stages: dict[str, Any]) -> None:
        """Write what each stage recorded."""
        self.write_json("manifest", {"version": MANIFEST_VERSION, "stages": stages})

    def digest(self, artefact: str, known: Digest | None = None) -> Digest | None:
        """Digest an artefact; None where it does not exist."""
        path = self.path(artefact)
        return digest_path(path, known) if path.exists() else None

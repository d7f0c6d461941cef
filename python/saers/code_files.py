"""Files of sparse codes: written window by window, read by window or by feature.

HDF5 datasets ``windows`` (window,), ``indices`` and ``values`` (window, position, k), the
attribute ``n_features``, and the index by feature of `saers.code_tracks`. Where the genome is
known, a table of the windows' places and the layer's geometry lie in the file too.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, schema
from saers.checks import existing_file, in_range, one_of
from saers.code_tracks import GROUP, Run, TrackIndexer, read_runs
from saers.codes import Codes, as_array, as_indices
from saers.layer import LayerInfo
from saers.store import atomic_path

PLACES = "places"

_BLOCK_VALUES = 4 * 2**20


class Places(NamedTuple):
    """Where the positions of a file of codes lie in the genome."""

    windows: pl.DataFrame
    """Table of windows (`schema.WINDOWS`)."""
    layer: LayerInfo


class CodesWriter:
    """Writes blocks of codes one after the other; made by :func:`write_codes`."""

    def __init__(self, file: h5py.File, n_features: int, indexer: TrackIndexer | None) -> None:
        self._file = file
        self._n_features = n_features
        self._indexer = indexer

    def append(self, windows: npt.ArrayLike, codes: Codes) -> None:
        """Add whole windows.

        Parameters
        ----------
        windows
            (b,) numbers of the windows.
        codes
            Indices and values of (b, positions, k).

        Raises
        ------
        ValueError
            If the shape is not that of the file, an index is out of range, or an activation is
            too large for half precision.
        """
        numbers = np.asarray(windows, dtype=np.int64)
        indices, values = as_indices(codes.indices), as_array(codes.values)
        stored = self._file["values"]
        if values.shape != (len(numbers), *stored.shape[1:]) or indices.shape != values.shape:
            raise ValueError(
                f"codes must be {(len(numbers), *stored.shape[1:])}, "
                f"got {indices.shape} and {values.shape}"
            )
        if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < self._n_features:
            raise ValueError(
                f"indices must lie in 0..{self._n_features - 1}, "
                f"got {indices.min()}..{indices.max()}"
            )
        with np.errstate(over="ignore"):
            narrow = values.astype(stored.dtype)
        if not np.isfinite(narrow).all():
            raise ValueError(f"values must fit in {stored.dtype}, got up to {np.max(values)}")
        first = len(stored)
        for name, block in (("windows", numbers), ("indices", indices), ("values", narrow)):
            self._file[name].resize(first + len(numbers), axis=0)
            self._file[name][first:] = block
        if self._indexer is not None:
            self._indexer.add(indices, narrow)


@contextmanager
def write_codes(
    path: str | Path,
    *,
    n_features: int,
    n_positions: int,
    k: int,
    dtype: str = "float16",
    index: bool = True,
    places: Places | None = None,
) -> Iterator[CodesWriter]:
    """Write codes to an HDF5 file, which appears under its name when the block succeeds.

    Indices take 16 bits where they fit.

    Parameters
    ----------
    path
        The file; what was there is replaced.
    n_features, n_positions, k
        Features of the SAE, positions of a window, active features of a position.
    dtype
        Type of the values, float16 (about 3 digits, values below 6e-8 become 0) or float32.
    index
        Also write the index by feature, which `feature_track` is quick with and which takes
        about as much room again.
    places
        Windows and layer, for what needs coordinates.

    Examples
    --------
    >>> import tempfile
    >>> codes = Codes(np.array([[[0, 2]]]), np.array([[[1.5, 0.25]]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "codes.h5"
    ...     with write_codes(path, n_features=3, n_positions=1, k=2) as writer:
    ...         writer.append([7], codes)
    ...     [(windows.tolist(), read.values.tolist()) for windows, read in read_codes(path)]
    [([7], [[[1.5, 0.25]]])]
    """
    one_of("dtype", dtype, ("float16", "float32"))
    kind = "uint16" if n_features <= 2**16 else "uint32"
    shape, chunks = (n_positions, k), (1, max(1, min(n_positions, 4096)), k)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["n_features"] = n_features
        file.create_dataset("windows", (0,), "int64", maxshape=(None,), chunks=(4096,))
        for name, stored in (("indices", kind), ("values", dtype)):
            file.create_dataset(
                name,
                (0, *shape),
                stored,
                maxshape=(None, *shape),
                chunks=chunks,
                shuffle=True,
                compression="gzip",
                compression_opts=1,
            )
        if places is not None:
            _write_places(file, places)
        indexer = TrackIndexer(file) if index else None
        yield CodesWriter(file, n_features, indexer)
        if indexer is not None:
            indexer.finish()


def _write_places(file: h5py.File, places: Places) -> None:
    group = file.create_group(PLACES)
    group.attrs.update(dataclasses.asdict(places.layer))
    table = schema.conform(places.windows, schema.WINDOWS, table="windows")
    for name, column in table.to_dict().items():
        text = column.dtype == pl.String
        values = column.to_list() if text else column.to_numpy()
        group.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)


def read_codes(path: str | Path) -> Iterator[tuple[npt.NDArray[np.int64], Codes]]:
    """Read a file of codes, some whole windows at a time.

    Yields
    ------
    windows : numpy.ndarray
        (b,) numbers of the windows.
    codes : Codes
        Arrays of (b, positions, k), the values as float32.

    Raises
    ------
    saers.FormatError
        If the file is damaged or holds no codes.
    """
    with _open(path) as file:
        windows, indices, values = (file[name] for name in ("windows", "indices", "values"))
        step = max(1, _BLOCK_VALUES // max(1, values.shape[1] * values.shape[2]))
        for first in range(0, len(values), step):
            part = np.s_[first : first + step]
            yield windows[part], Codes(indices[part], values[part].astype(np.float32))


@contextmanager
def _open(path: str | Path, *, copy: Path | None = None) -> Iterator[h5py.File]:
    """Open a file of codes, or a copy to write to; check that its datasets fit together."""
    found = existing_file(path, what="codes")
    try:
        with h5py.File(copy or found, "r+" if copy else "r") as file:
            windows, indices, values = (file[name] for name in ("windows", "indices", "values"))
            if values.ndim != 3 or indices.shape != values.shape or len(windows) != len(values):
                raise FormatError(f"{found}: windows, indices and values do not fit together")
            yield file
    except FormatError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"{found}: no readable file of codes: {error}") from error


def index_codes(path: str | Path) -> None:
    """Add the index by feature to a file of codes that has none, or make it anew.

    The file is copied and the copy takes its place, so that nobody meets half an index.

    Raises
    ------
    saers.FormatError
        If the file is damaged or holds no codes.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "codes.h5"
    >>> with write_codes(path, n_features=3, n_positions=2, k=1, index=False) as writer:
    ...     writer.append([7], Codes(np.array([[[2], [0]]]), np.array([[[1.5], [0.25]]])))
    >>> index_codes(path)
    >>> feature_track(path, 2).rows()
    [(7, 0, 1.5)]
    """
    found = existing_file(path, what="codes")
    with atomic_path(found) as temporary:
        shutil.copyfile(found, temporary)
        with _open(found, copy=temporary) as file:
            file.pop(GROUP, None)
            indexer = TrackIndexer(file)
            for row in range(len(file["values"])):
                part = np.s_[row : row + 1]
                indexer.add(file["indices"][part], file["values"][part])
            indexer.finish()


def feature_track(path: str | Path, feature: int) -> pl.DataFrame:
    """Read where one feature is active, and how much.

    With the index by feature only the feature's own entries are read; a file without one is
    read whole.

    Parameters
    ----------
    path
        File of codes.
    feature
        Number of the feature.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.FEATURE_TRACK`: activations above 0, by window as they follow each
        other in the file, then by position.

    Raises
    ------
    ValueError
        If there is no such feature.
    saers.FormatError
        If the file is damaged, holds no codes, or its index is not that of its codes.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "codes.h5"
    >>> codes = Codes(np.array([[[0, 2], [2, 1]]]), np.array([[[1.5, 0.25], [3.0, 0.0]]]))
    >>> with write_codes(path, n_features=3, n_positions=2, k=2) as writer:
    ...     writer.append([7], codes)
    >>> feature_track(path, 2).rows()
    [(7, 0, 0.25), (7, 1, 3.0)]
    """
    with _open(path) as file:
        n_features = int(file.attrs["n_features"])
        runs: list[Run] = []
        if 0 <= feature < n_features:
            runs += read_runs(file, feature) if GROUP in file else _scan(file, feature)
        numbers = file["windows"][:]
    in_range("feature", feature, 0, n_features - 1)
    parts = [
        pl.DataFrame({"window": numbers[run.rows], "position": run.positions, "value": run.values})
        for run in runs
    ]
    empty = schema.empty(schema.FEATURE_TRACK)
    return pl.concat(
        [empty, *(schema.conform(p, schema.FEATURE_TRACK, table="track") for p in parts)]
    )


def _scan(file: h5py.File, feature: int) -> Iterator[Run]:
    """Find the entries of one feature among all codes."""
    for row in range(len(file["values"])):
        hits = file["indices"][row] == feature
        values = file["values"][row]
        positions, place = np.nonzero(hits & (values > 0))
        found = values[positions, place].astype(np.float32)
        yield Run(np.full(len(positions), row, dtype=np.int64), positions, found)


def read_places(path: str | Path) -> Places | None:
    """Read where the positions of a file of codes lie; None where it does not tell.

    Raises
    ------
    saers.FormatError
        If the file is damaged or holds no codes.
    """
    with _open(path) as file:
        if PLACES not in file:
            return None
        group = file[PLACES]
        table = {
            name: group[name].asstr()[:].tolist() if kind == pl.String else group[name][:]
            for name, kind in schema.WINDOWS.items()
        }
        numbers = (
            int(group.attrs[key]) for key in ("channels", "stride", "window_lo", "window_hi")
        )
        tokens = bool(group.attrs.get("tokens", False))
        layer = LayerInfo(str(group.attrs["name"]), *numbers, tokens=tokens)
        windows = schema.conform(pl.DataFrame(table), schema.WINDOWS, table="windows")
    return Places(windows, layer)

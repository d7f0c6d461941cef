"""HDF5 datasets, read chunk by chunk on every core without HDF5's own lock.

h5py opens a file and says how a dataset lies in it; `_core.Dataset` then reads and decodes the
chunks itself. What it does not know (virtual and external datasets, filters like szip, a file
that is open for writing) stays with h5py, which gives the same numbers one chunk at a time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from saers import FormatError, _core
from saers.checks import did_you_mean, existing_file

MASK = "mask"
"""Name of the dataset of usable positions (windows, positions) beside saers' own activations."""

_LOG = logging.getLogger(__name__)

# (size, (sign, exponent, exponent bits, mantissa, mantissa bits), bias) -> code of the kernel.
_FLOATS = {
    (2, (15, 10, 5, 0, 10), 15): "f2",
    (2, (15, 7, 8, 0, 7), 127): "b2",  # bfloat16
    (4, (31, 23, 8, 0, 23), 127): "f4",
    (8, (63, 52, 11, 0, 52), 1023): "f8",
}
_BYTE_ORDERS = {h5py.h5t.ORDER_LE: "<", h5py.h5t.ORDER_BE: ">"}
_SAMPLE_ROWS = 64
# A dataset of more bytes than this, of whose chunks not one in so many was written, is no result
# of a finished program, and would take hours to read.
_VAST, _HARDLY = 2**36, 1000


_Part = TypeVar("_Part")
_Read = TypeVar("_Read")


class _StaysWithHdf5Error(Exception):
    """Why a dataset is read through h5py."""


def open_file(path: str | Path, *, what: str = "activations") -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    FileNotFoundError
        If there is none; ``what`` names its role.
    FormatError
        If it is damaged, or no HDF5 file.

    Examples
    --------
    >>> open_file("no-such.h5")
    Traceback (most recent call last):
    ...
    FileNotFoundError: activations: no file at no-such.h5
    """
    found = existing_file(path, what=what)
    try:
        return h5py.File(found, "r")
    except OSError as error:
        if error.errno is not None:  # the system's own: no permission, too many files ...
            raise
        raise FormatError(f"{found}: not a readable HDF5 file: {error}") from error


@contextmanager
def _damage(place: str) -> Iterator[None]:
    """Turn what h5py raises for damaged structures into FormatError."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FormatError(f"{place}: {error}") from error


def find_dataset(file: h5py.File, name: str | None = None) -> h5py.Dataset:
    """Find a dataset by name; without one ``activations``, else the first at the top.

    Raises
    ------
    ValueError
        If there is none of that name.
    FormatError
        If there is none at all.

    Examples
    --------
    >>> file = getfixture("tmp_path") / "a.h5"
    >>> with h5py.File(file, "w") as made:
    ...     made["x"] = [[1.0]]
    >>> with open_file(file) as opened:
    ...     find_dataset(opened).name
    '/x'
    """
    with _damage(file.filename):
        found = [key for key, item in file.items() if isinstance(item, h5py.Dataset)]
        if name is None:
            if not found:
                raise FormatError(f"{file.filename}: no dataset at the top of the file")
            name = "activations" if "activations" in found else found[0]
        item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        hint = did_you_mean(name, found)
        raise ValueError(f"{file.filename}: no dataset {name!r}, has {', '.join(found)}{hint}")
    return item


def locate(dataset: h5py.Dataset) -> _core.Dataset | None:
    """Describe a dataset to the kernels, and check one chunk against h5py.

    Parameters
    ----------
    dataset
        Floats of (windows, positions, channels), or (positions, channels) for one window.

    Returns
    -------
    _core.Dataset or None
        None where it has to be read through h5py; the log says why.

    Raises
    ------
    FormatError
        If a chunk lies outside the file, or its bytes are not what its filters promise.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.h5"
    >>> with h5py.File(path, "w") as made:
    ...     made["x"] = np.ones((1, 5, 3), np.float16)
    >>> with open_file(path) as file:
    ...     locate(file["x"]).shape
    (1, 5, 3)
    """
    try:
        with _damage(f"{dataset.file.filename}: dataset {dataset.name!r}"):
            found = _describe(dataset)
        if found is not None and not _agrees(found, dataset):
            raise _StaysWithHdf5Error("a sampled chunk was decoded differently")
    except _StaysWithHdf5Error as why:
        place = f"{dataset.file.filename}: dataset {dataset.name!r}"
        _LOG.warning("%s is read through h5py, one chunk at a time: %s", place, why)
        return None
    return found


def _describe(dataset: h5py.Dataset) -> _core.Dataset | None:
    """Tell where a dataset lies; None where it is too small to matter."""
    file = dataset.file
    if file.mode != "r" or file.swmr_mode:
        raise _StaysWithHdf5Error("the file is open for writing")
    if file.driver not in ("sec2", "stdio"):
        raise _StaysWithHdf5Error(f"the file is opened by the driver {file.driver!r}")
    if dataset.is_virtual or dataset.external:
        raise _StaysWithHdf5Error("its numbers lie in other files")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.COMPACT or 0 in dataset.shape:
        return None
    shape = dataset.shape if dataset.ndim == 3 else (1, *dataset.shape)
    options: dict[str, Any] = {"fill": _fill(dataset)}
    # Behind a user block HDF5 gives an offset even where nothing was ever written.
    if layout.get_layout() == h5py.h5d.CONTIGUOUS and dataset.id.get_storage_size():
        options["offset"] = dataset.id.get_offset()
    else:
        options["chunked"] = _chunks(dataset, shape, layout)
    try:
        return _core.Dataset(file.filename, shape, _element(dataset), **options)
    except FormatError as error:
        raise FormatError(f"{error} (dataset {dataset.name!r})") from error
    except ValueError as error:
        raise _StaysWithHdf5Error(str(error)) from error


def _element(dataset: h5py.Dataset) -> str:
    """Code of the kernel for the type that lies in the file."""
    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeFloatID):
        known = (kind.get_size(), kind.get_fields(), kind.get_ebias())
        order = _BYTE_ORDERS.get(kind.get_order())
        if known in _FLOATS and order:
            return order + _FLOATS[known]
    raise _StaysWithHdf5Error(f"its numbers are {dataset.dtype}")


def _fill(dataset: h5py.Dataset) -> float:
    """Value of what was never written, as single precision."""
    with np.errstate(over="ignore"):
        return float(np.asarray(dataset.fillvalue).astype(np.float32))


def _chunks(
    dataset: h5py.Dataset, shape: tuple[int, int, int], layout: h5py.h5p.PropDCID
) -> tuple[tuple[int, int, int], list[tuple[int, list[int]]], Any]:
    """Shape, filters and table of the chunks; what was never written is one chunk not there."""
    chunks = dataset.chunks or (min(1024, shape[1]), shape[2])
    block = tuple(chunks) if len(chunks) == 3 else (1, *chunks)
    filters = [layout.get_filter(i) for i in range(layout.get_nfilters())]
    table: list[tuple[Any, ...]] = []
    if dataset.chunks is not None:
        dataset.id.chunk_iter(lambda chunk: table.append(tuple(chunk)))
    expected = math.prod(-(-n // size) for n, size in zip(shape, block, strict=True))
    if len(table) < expected and layout.get_fill_time() == h5py.h5d.FILL_TIME_NEVER:
        raise _StaysWithHdf5Error("chunks are missing, and nothing tells what they hold")
    if dataset.nbytes > _VAST and _HARDLY * len(table) < expected:
        raise FormatError(
            f"{dataset.file.filename}: dataset {dataset.name!r} of shape {dataset.shape}: only "
            f"{len(table)} of {expected} chunks were ever written"
        )
    # offsets of the first element, filter mask, offset in bytes, size in bytes
    first = np.array([row[0] for row in table], np.uint64).reshape(-1, dataset.ndim)
    if dataset.ndim == 2:
        first = np.insert(first, 0, 0, axis=1)
    columns = (
        np.ascontiguousarray(first),
        np.array([row[2] for row in table], np.uint64),
        np.array([row[3] for row in table], np.uint64),
        np.array([row[1] for row in table], np.uint32),
    )
    return block, [(item[0], list(item[2])) for item in filters], columns


def _agrees(found: _core.Dataset, dataset: h5py.Dataset) -> bool:
    """Compare some rows of the middle of the dataset, where HDF5 has its filters at hand."""
    layout = dataset.id.get_create_plist()
    filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
    if not all(map(h5py.h5z.filter_avail, filters)):
        return True
    n_windows, n_positions, n_channels = found.shape
    window, first = n_windows // 2, max(0, n_positions // 2 - _SAMPLE_ROWS // 2)
    last = min(first + _SAMPLE_ROWS, n_positions)
    ours = np.empty((1, last - first, n_channels), np.float32)
    found.read((window, window + 1), (first, last), ours)
    theirs = read_rows(dataset, window, first, last)
    return bool(np.array_equal(ours[0], theirs, equal_nan=True))


def read_rows(dataset: h5py.Dataset, window: int, first: int, last: int) -> npt.NDArray[np.float32]:
    """Read rows of one window through h5py, as single precision.

    Raises
    ------
    FormatError
        If they cannot be read.

    Examples
    --------
    >>> with h5py.File("x", "w", driver="core", backing_store=False) as file:
    ...     file["x"] = [[1.0], [2.0]]
    ...     read_rows(file["x"], 0, 1, 2)
    array([[2.]], dtype=float32)
    """
    cut = np.s_[window, first:last] if dataset.ndim == 3 else np.s_[first:last]
    try:
        rows = dataset[cut]
    except OSError as error:
        place = f"{dataset.file.filename}: dataset {dataset.name!r}: window {window}"
        raise FormatError(f"{place}, position {first}: cannot be read: {error}") from error
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, and is found
        return np.ascontiguousarray(rows, dtype=np.float32)


class Rows:
    """Rows of one dataset, by the kernels where they can, else by h5py.

    Parameters
    ----------
    dataset
        Floats of (windows, positions, channels), or (positions, channels) for one window; its
        file must stay open.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.h5"
    >>> with h5py.File(path, "w") as made:
    ...     made["x"] = np.arange(6.0).reshape(1, 3, 2)
    >>> out = np.empty((1, 2, 2), np.float32)
    >>> with open_file(path) as file:
    ...     Rows(file["x"]).read(0, 1, 3, out[0])
    >>> out.tolist()
    [[[2.0, 3.0], [4.0, 5.0]]]
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._native = locate(dataset)

    def read(self, window: int, first: int, last: int, out: npt.NDArray[np.float32]) -> None:
        """Fill ``out`` (rows, channels) with positions ``first`` to ``last`` of a window."""
        if self._native is None:
            out[:] = read_rows(self._dataset, window, first, last)
        else:
            self._native.read((window, window + 1), (first, last), out[None])


def read_ahead(read: Callable[[_Part], _Read], parts: Iterable[_Part]) -> Iterator[_Read]:
    """Read the next part while the caller works on this one.

    Parameters
    ----------
    read
        Reads one part; runs in a thread of its own, one call after the other.
    parts
        What to read, in order.

    Examples
    --------
    >>> list(read_ahead(str.upper, ["a", "b"]))
    ['A', 'B']
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[_Read] | None = None
        for part in parts:
            following = pool.submit(read, part)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()

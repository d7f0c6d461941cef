"""The index by feature of a file of codes.

Codes lie position by position; for the track of one feature all of them would have to be read.
The group ``by_feature`` holds them once more, the other way round. The windows of the file are
taken in blocks. In each block the entries above 0 are sorted by feature and then by place, that
is row of the block × positions + position, so that a feature has one run in each block:

- ``starts`` (block, feature + 1): where in ``place`` and ``value`` the runs begin and end;
- ``place`` (entry,): distance from the entry before it in the run, the first from 0;
- ``value`` (entry,): activations as they stand in ``values``;
- attribute ``block``: windows in a block, the last of which may have fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from saers import FormatError

GROUP = "by_feature"

_BLOCK_VALUES = 8 * 2**20
_RUN_CHUNK = 4096
_START_ROWS = 16
_START_COLUMNS = 512


class Run(NamedTuple):
    """Entries of one feature in consecutive windows of a file."""

    rows: npt.NDArray[np.int64]
    """Rows of ``windows``, not their numbers."""
    positions: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


class TrackIndexer:
    """Builds the index while windows come by; holds one block of them.

    Parameters
    ----------
    file
        File of codes that is being written; its datasets tell shape and type.
    """

    def __init__(self, file: h5py.File) -> None:
        _, self._n_positions, k = file["values"].shape
        self._n_features = int(file.attrs["n_features"])
        self._block = max(1, _BLOCK_VALUES // max(1, self._n_positions * k))
        self._pending: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        self._starts: list[npt.NDArray[np.int64]] = []
        group = file.create_group(GROUP)
        group.attrs["block"] = self._block
        packed = {"shuffle": True, "compression": "gzip", "compression_opts": 1}
        width = self._n_features + 1
        self._runs = group.create_dataset(
            "starts",
            (0, width),
            "int64",
            maxshape=(None, width),
            chunks=(_START_ROWS, min(width, _START_COLUMNS)),
            **packed,
        )
        self._place, self._value = (
            group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_RUN_CHUNK,), **packed)
            for name, kind in (("place", "uint32"), ("value", file["values"].dtype))
        )

    def add(self, indices: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        """Add whole windows (b, positions, k), the values in the type of the file."""
        for window in zip(indices, values, strict=True):
            self._pending.append(window)
            if len(self._pending) == self._block:
                self._end_block()

    def finish(self) -> None:
        """Write what is left."""
        if self._pending:
            self._end_block()
        self._write_starts()

    def _end_block(self) -> None:
        indices, values = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        self._pending.clear()
        starts, places, kept = by_feature(indices, values, self._n_features)
        first = len(self._place)
        for dataset, entries in ((self._place, _steps(starts, places)), (self._value, kept)):
            dataset.resize(first + len(entries), axis=0)
            dataset[first:] = entries
        self._starts.append(first + starts.astype(np.int64))
        if len(self._starts) == _START_ROWS:
            self._write_starts()

    def _write_starts(self) -> None:
        if self._starts:
            first = len(self._runs)
            self._runs.resize(first + len(self._starts), axis=0)
            self._runs[first:] = np.stack(self._starts)
            self._starts.clear()


def by_feature(
    indices: npt.NDArray[Any], values: npt.NDArray[Any], n_features: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Sort the entries above 0 of (n, k) codes by feature, then by row.

    Returns
    -------
    starts : numpy.ndarray
        (n_features + 1,) where each feature's entries begin and end.
    rows, values : numpy.ndarray
        The entries.

    Raises
    ------
    ValueError
        If the index of such an entry names no feature.

    Examples
    --------
    >>> starts, rows, values = by_feature(
    ...     np.array([[2, 0], [0, 1], [2, 1]]), np.array([[5.0, 1.0], [2.0, 0.0], [7.0, 3.0]]), 3)
    >>> starts.tolist(), rows.tolist(), values.tolist()
    ([0, 2, 3, 5], [0, 1, 2, 0, 2], [1.0, 2.0, 3.0, 5.0, 7.0])
    """
    from scipy.sparse import csr_array

    active = values > 0
    chosen = indices[active]
    if chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < n_features:
        raise ValueError(
            f"indices must lie in 0..{n_features - 1}, got {chosen.min()}..{chosen.max()}"
        )
    ends = np.concatenate([[0], np.cumsum(active.sum(axis=1))])
    # A sparse matrix knows no half precision: it carries the bits.
    bits = np.ascontiguousarray(values[active]).view(f"u{values.dtype.itemsize}")
    columns = chosen.astype(np.int32 if n_features < 2**31 else np.int64)
    found = csr_array((bits, columns, ends), shape=(len(values), n_features)).tocsc()
    return found.indptr, found.indices, found.data.view(values.dtype)


def _steps(starts: npt.NDArray[Any], places: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Replace places by the distances within their runs, which are small and pack well."""
    steps = np.diff(places, prepend=0)
    firsts = starts[:-1][starts[:-1] < starts[1:]]
    steps[firsts] = places[firsts]
    return steps.astype(np.uint32)


def read_runs(file: h5py.File, feature: int) -> Iterator[Run]:
    """Read the runs of one feature, block by block, and nothing else.

    Raises
    ------
    saers.FormatError
        If the index does not fit the codes; names file and block.
    """
    group, shape = file[GROUP], file["values"].shape
    starts, place, value = (group[name] for name in ("starts", "place", "value"))
    block = int(group.attrs["block"])
    n_blocks = -(-shape[0] // block) if block > 0 else -1
    width = int(file.attrs["n_features"]) + 1
    if starts.shape != (n_blocks, width) or place.ndim != 1 or place.shape != value.shape:
        raise FormatError(
            f"{file.filename}: the index by feature is not that of its {shape[0]} windows; "
            "saers.index_codes makes it anew"
        )
    for number, (first, last) in enumerate(starts[:, feature : feature + 2].tolist()):
        where = f"{file.filename}: index by feature, block {number}, feature {feature}"
        if not 0 <= first <= last <= len(place):
            raise FormatError(f"{where}: entries {first} to {last} of {len(place)}")
        if first == last:
            continue
        places = np.cumsum(place[first:last], dtype=np.int64)
        rows = number * block + places // shape[1]
        if rows[-1] >= min((number + 1) * block, shape[0]):
            raise FormatError(f"{where}: place {places[-1]} lies beyond the block")
        yield Run(rows, places % shape[1], value[first:last].astype(np.float32))

"""Activations as a stream of tiles, whatever they lie in.

A file of activations may hold terabytes. Everything that only needs to see each value once
reads it through :func:`open_tiles`: a few megabytes at a time, cut along the chunks of the
file so that none is decompressed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from saers import FormatError
from saers.checks import did_you_mean, existing_file
from saers.layer import ActivationSource

Source: TypeAlias = str | Path | h5py.Dataset | npt.ArrayLike | ActivationSource
_Values: TypeAlias = h5py.Dataset | npt.NDArray[Any]

TILE_VALUES = 4 * 2**20
"""Values that are read at a time, unless one chunk of a file holds more."""


class Tile(NamedTuple):
    """Consecutive positions of one or more windows, all channels."""

    windows: npt.NDArray[np.int64]
    """Numbers of the windows, (b,)."""
    first_position: int
    """Position of the first row within each window."""
    values: npt.NDArray[np.float32]
    """Activations, C-contiguous (b, n, channels)."""
    mask: npt.NDArray[np.bool_] | None
    """Usable positions, (b, n); None where all are."""


class Tiles:
    """A source that was opened: its shape, and its tiles.

    Every window appears with all its positions, in ascending order; the tiles of different
    windows do not alternate, except that windows read together stay together.
    """

    def __init__(self, name: str, shape: tuple[int, int, int], tiles: Iterator[Tile]) -> None:
        self.name = name
        """What to call the source in a message."""
        self.n_windows, self.n_positions, self.n_channels = shape
        self._tiles = tiles

    def __iter__(self) -> Iterator[Tile]:
        return self._tiles


@contextmanager
def open_tiles(source: Source, *, dataset: str | None = None) -> Iterator[Tiles]:
    """Open activations for reading tile by tile.

    Parameters
    ----------
    source
        Path of an HDF5 file, an h5py dataset, an array of (windows, positions, channels) or
        (positions, channels), or a source of activations with a mask.
    dataset
        Name of the dataset within a file; without it ``activations``, else the first one.

    Raises
    ------
    ValueError
        If the rank is neither 2 nor 3, the values are no numbers or there is no such dataset.
    saers.FormatError
        If the file is damaged or no HDF5 file.

    Examples
    --------
    >>> with open_tiles(np.zeros((2, 10, 3))) as tiles:
    ...     [tile.values.shape for tile in tiles]
    [(2, 10, 3)]
    """
    if dataset is not None and not isinstance(source, str | Path):
        raise ValueError(f"dataset names a dataset of a file, got {dataset!r} without a path")
    if isinstance(source, str | Path):
        path = existing_file(source, what="activations")
        with _open_file(path) as file:
            yield _tiles_of(_find_dataset(file, dataset, path))
    elif isinstance(source, h5py.Dataset):
        yield _tiles_of(source)
    elif isinstance(source, ActivationSource):
        layer = source.layer
        shape = (source.windows.height, source.n_positions, layer.channels)
        yield Tiles(f"layer {layer.name}", shape, _blocks(source))
    else:
        yield _tiles_of(np.asarray(source))


def _open_file(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None:  # the system's own: no permission, too many files ...
            raise
        raise FormatError(f"{path}: not a readable HDF5 file: {error}") from error


def _find_dataset(file: h5py.File, name: str | None, path: Path) -> h5py.Dataset:
    found = [key for key, item in file.items() if isinstance(item, h5py.Dataset)]
    if name is None:
        if not found:
            raise FormatError(f"{path}: no dataset at the top of the file")
        name = "activations" if "activations" in found else found[0]
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        hint = did_you_mean(name, found)
        raise ValueError(f"{path}: no dataset {name!r}, has {', '.join(found)}{hint}")
    return item


def _tiles_of(values: _Values) -> Tiles:
    if isinstance(values, np.ndarray):
        name, chunks = "source", None
    else:
        name, chunks = f"{values.file.filename}: dataset {values.name!r}", values.chunks
    if values.ndim not in (2, 3):
        raise ValueError(
            f"{name} must have rank 2 (positions, channels) or 3 (windows, positions, channels), "
            f"got shape {values.shape}"
        )
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers, got {values.dtype}")
    shape = values.shape if values.ndim == 3 else (1, *values.shape)
    if shape[2] == 0:
        raise ValueError(f"{name} has no channels, its shape is {values.shape}")
    together, rows = _steps(shape, chunks)
    return Tiles(name, shape, _slices(values, name, shape, together, rows))


def _steps(shape: tuple[int, int, int], chunks: tuple[int, ...] | None) -> tuple[int, int]:
    """Windows and positions to read at a time: whole chunks, and whole windows if they fit."""
    _, positions, channels = shape
    chunk_rows = 1 if chunks is None else chunks[-2]
    together = 1 if chunks is None or len(chunks) == 2 else chunks[0]
    window = max(1, positions * channels)
    if together * window <= TILE_VALUES:
        return together * (TILE_VALUES // (together * window)), max(1, positions)
    rows = TILE_VALUES // (together * channels)
    return together, max(rows - rows % chunk_rows, min(chunk_rows, positions))


def _slices(
    values: _Values,
    name: str,
    shape: tuple[int, int, int],
    together: int,
    rows: int,
) -> Iterator[Tile]:
    n_windows, positions, channels = shape
    for window in range(0, n_windows, together):
        end = min(window + together, n_windows)
        for first in range(0, positions, rows):
            last = min(first + rows, positions)
            cut = np.s_[first:last] if values.ndim == 2 else np.s_[window:end, first:last]
            try:
                read = values[cut]
            except OSError as error:
                place = f"window {window}, position {first}"
                raise FormatError(f"{name}: {place}: cannot be read: {error}") from error
            with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, and is found
                tile = np.ascontiguousarray(read, dtype=np.float32)
            windows = np.arange(window, end, dtype=np.int64)
            yield Tile(windows, first, tile.reshape(end - window, last - first, channels), None)


def _blocks(source: ActivationSource) -> Iterator[Tile]:
    for block in source.blocks():
        values = np.ascontiguousarray(block.values, dtype=np.float32)
        windows = np.ascontiguousarray(block.windows, dtype=np.int64)
        yield Tile(windows, 0, values, np.ascontiguousarray(block.mask))

"""Activations as a stream, whatever they lie in.

A file of activations may hold terabytes. Everything that only needs to see each value once opens
it through :func:`open_tiles`: as parts that the kernels read by themselves, or, where they cannot,
as tiles of a few megabytes, cut along the chunks of the file so that none is decompressed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from saers import FormatError, _core
from saers.hdf5 import MASK, find_dataset, locate, open_file
from saers.layer import ActivationSource, Tile, tiles_of

Source: TypeAlias = (
    str | Path | Sequence[str | Path] | h5py.Dataset | npt.ArrayLike | ActivationSource
)
_Values: TypeAlias = h5py.Dataset | npt.NDArray[Any]

TILE_VALUES = 4 * 2**20
"""Values that are read at a time, unless one chunk of a file holds more."""
_MASK_BYTES = 16 * 2**20


class _Opens(Protocol):
    def __call__(self) -> AbstractContextManager[h5py.Dataset]: ...


@dataclass(frozen=True)
class Part:
    """One dataset of a source."""

    name: str
    """What to call it in a message."""
    shape: tuple[int, int, int]
    """Windows, positions and channels."""
    first_window: int
    """Number of its first window in the whole source."""
    open: _Opens
    """Opens the dataset with h5py."""
    native: _core.Dataset | None
    """The dataset as the kernels read it; None where h5py must."""
    masked: bool
    """Whether a mask of usable positions lies beside it."""

    def masks(self) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.bool_] | None]]:
        """Yield stretches of windows, each with its mask (windows x positions), or None."""
        if not self.masked:
            yield (0, self.shape[0]), None
            return
        step = max(1, _MASK_BYTES // max(1, self.shape[1]))
        with self.open() as dataset:
            for start in range(0, self.shape[0], step):
                end = min(start + step, self.shape[0])
                mask = dataset.parent[MASK][start:end].astype(np.bool_)
                yield (start, end), np.ascontiguousarray(mask.reshape(-1))


class Tiles:
    """A source that was opened: its shape, its parts, and its tiles.

    Every window appears with all its positions, in ascending order; the tiles of different
    windows do not alternate, except that windows read together stay together.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        tiles: Iterator[Tile],
        parts: Sequence[Part] = (),
    ) -> None:
        self.name = name
        """What to call the source in a message."""
        self.n_windows, self.n_positions, self.n_channels = shape
        self.from_files = len(parts) > 0
        """Whether a bad value is the fault of a file."""
        known = [(part, part.native) for part in parts if part.native is not None]
        self.natives = known if len(known) == len(parts) else []
        """Parts that the kernels read by themselves: all of them, or none."""
        self._tiles = tiles

    def __iter__(self) -> Iterator[Tile]:
        return self._tiles


@contextmanager
def open_tiles(source: Source, *, dataset: str | None = None) -> Iterator[Tiles]:
    """Open activations for reading tile by tile.

    Parameters
    ----------
    source
        Path of an HDF5 file or several, whose windows follow each other; an h5py dataset; an
        array of (windows, positions, channels) or (positions, channels); or a source of
        activations with a mask. The mask of saers' own files is respected.
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
    paths = _paths(source)
    if dataset is not None and not paths:
        raise ValueError(f"dataset names a dataset of a file, got {dataset!r} without a path")
    if paths:
        yield _tiles_of_parts(list(_file_parts(paths, dataset)))
    elif isinstance(source, h5py.Dataset):
        yield _tiles_of_parts([_part(source, 0, partial(nullcontext, source))])
    elif isinstance(source, ActivationSource):
        layer = source.layer
        shape = (source.windows.height, source.n_positions, layer.channels)
        yield Tiles(f"layer {layer.name}", shape, _blocks(source))
    else:
        values = np.asarray(source)
        shape = _shape(values, "source")
        yield Tiles("source", shape, _slices(values, "source", shape))


def _paths(source: Source) -> list[Path]:
    """List the files of a source; none where it is something else."""
    if isinstance(source, str | Path):
        return [Path(source)]
    several = source if isinstance(source, Sequence) else []
    paths = [Path(item) for item in several if isinstance(item, str | Path)]
    return paths if len(paths) == len(several) else []


def _file_parts(paths: Sequence[Path], name: str | None) -> Iterator[Part]:
    """Look at every file once; none stays open."""
    first_window = 0
    for path in paths:
        with open_file(path) as file:
            found = find_dataset(file, name)
            part = _part(found, first_window, partial(_reopen, path, found.name))
        yield part
        first_window += part.shape[0]


@contextmanager
def _reopen(path: Path, name: str) -> Iterator[h5py.Dataset]:
    with open_file(path) as file:
        yield find_dataset(file, name)


def _part(dataset: h5py.Dataset, first_window: int, opens: _Opens) -> Part:
    name = f"{dataset.file.filename}: dataset {dataset.name!r}"
    shape = _shape(dataset, name)
    mask = dataset.parent.get(MASK) if dataset.name == "/activations" else None
    masked = isinstance(mask, h5py.Dataset) and mask.shape == dataset.shape[:2]
    return Part(name, shape, first_window, opens, locate(dataset), masked)


def _tiles_of_parts(parts: Sequence[Part]) -> Tiles:
    first = parts[0]
    for part in parts:
        if part.shape[1:] != first.shape[1:]:
            raise FormatError(
                f"{part.name} is of shape {part.shape}, {first.name} of {first.shape}; "
                "files of one source must have the same positions and channels"
            )
    shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
    name = first.name if len(parts) == 1 else f"{first.name} and {len(parts) - 1} more"
    return Tiles(name, shape, chain.from_iterable(map(_part_tiles, parts)), parts)


def _part_tiles(part: Part) -> Iterator[Tile]:
    """Read one dataset through h5py."""
    with part.open() as dataset:
        mask = dataset.parent[MASK] if part.masked else None
        for tile in _slices(dataset, part.name, part.shape):
            windows, last = tile.windows, tile.first_position + tile.values.shape[1]
            usable = None
            if mask is not None:
                cut = np.s_[windows[0] : windows[-1] + 1, tile.first_position : last]
                usable = np.ascontiguousarray(mask[cut], dtype=np.bool_)
            yield tile._replace(windows=windows + part.first_window, mask=usable)


def _shape(values: _Values, name: str) -> tuple[int, int, int]:
    """Windows, positions and channels of a dataset or array that may be activations."""
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
    return shape


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


def _slices(values: _Values, name: str, shape: tuple[int, int, int]) -> Iterator[Tile]:
    n_windows, positions, channels = shape
    together, rows = _steps(shape, getattr(values, "chunks", None))
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
    for tile in tiles_of(source):
        values = np.ascontiguousarray(tile.values, dtype=np.float32)
        windows = np.ascontiguousarray(tile.windows, dtype=np.int64)
        mask = None if tile.mask is None else np.ascontiguousarray(tile.mask)
        yield Tile(windows, tile.first_position, values, mask)

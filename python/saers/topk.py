"""The highest positions of every channel in every window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import _core, schema
from saers.layer import Tile
from saers.tiles import Source, Tiles, open_tiles

# Channel, rank, position and value, as the kernel gives them.
_Columns: TypeAlias = tuple[
    npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.float32]
]


def top_positions(
    source: Source,
    k: int,
    *,
    min_distance: int = 1,
    dataset: str | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Find the k highest positions of every channel in every window, exactly.

    Positions are taken by value, the highest first and of equals the lowest position, each at
    least ``min_distance`` positions from those taken before. NaN is never taken; values may
    have any sign. One pass, bounded memory.

    Parameters
    ----------
    source
        Path of an HDF5 file or several, an h5py dataset, an array of (windows, positions,
        channels) or (positions, channels), or a source of activations; masked positions are
        never taken.
    k
        Positions to take per window and channel; fewer come back where no more keep distance.
    min_distance
        Smallest distance of two taken positions, in positions.
    dataset
        Name of the dataset within a file; default: ``activations``, else the first one.
    threads
        Threads to work with; default: all cores. The result does not depend on it.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.TOP_POSITIONS`, sorted by window, channel and rank (from 1).

    Raises
    ------
    ValueError
        If ``k`` or ``min_distance`` is not positive, or the rank is neither 2 nor 3.
    saers.FormatError
        If a file is damaged.

    Examples
    --------
    >>> values = np.array([[1.0], [5.0], [4.0], [4.0]])
    >>> top_positions(values, 2, min_distance=2).rows()
    [(0, 0, 1, 1, 5.0), (0, 0, 2, 3, 4.0)]
    """
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    if min_distance < 1:
        raise ValueError(f"min_distance must be positive, got {min_distance}")
    with open_tiles(source, dataset=dataset) as tiles:
        search = _search_files if tiles.natives else _search
        parts = list(search(tiles, k, min_distance, threads))
    frame = pl.concat([schema.empty(schema.TOP_POSITIONS), *parts])
    return frame.sort("window", "channel", "rank")


def _search(tiles: Tiles, k: int, min_distance: int, threads: int | None) -> Iterator[pl.DataFrame]:
    searches: list[_core.DenseTop] = []
    for tile in tiles:
        values = _masked(tile)
        if values.shape[1] == tiles.n_positions:
            counts, columns = _core.top_positions(values, k, min_distance, threads)
            yield _frame(np.repeat(tile.windows, counts), columns)
            continue
        if tile.first_position == 0:
            searches = [_core.DenseTop(tiles.n_channels, k, min_distance) for _ in tile.windows]
        for search, rows in zip(searches, values, strict=True):
            search.update(rows, threads)
        if tile.first_position + values.shape[1] == tiles.n_positions:
            for window, search in zip(tile.windows, searches, strict=True):
                columns = search.finish()
                yield _frame(np.full(len(columns[0]), window), columns)


def _search_files(
    tiles: Tiles, k: int, min_distance: int, threads: int | None
) -> Iterator[pl.DataFrame]:
    for part, native in tiles.natives:
        for windows, mask in part.masks():
            found = _core.top_positions_from(native, windows, k, min_distance, mask, threads)
            yield _frame(found[0] + part.first_window, found[1:])


def _masked(tile: Tile) -> npt.NDArray[np.float32]:
    """Put NaN, which is never taken, where the mask is."""
    if tile.mask is None or bool(tile.mask.all()):
        return tile.values
    return np.where(tile.mask[:, :, None], tile.values, np.float32(np.nan))


def _frame(windows: npt.NDArray[np.int64], columns: _Columns) -> pl.DataFrame:
    named = zip(schema.TOP_POSITIONS, (windows, *columns), strict=True)
    return schema.conform(pl.DataFrame(dict(named)), schema.TOP_POSITIONS, table="top positions")

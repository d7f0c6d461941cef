"""Largest, smallest, mean, spread and count of every channel of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, _core, schema
from saers.layer import ActivationSource, tiles_of
from saers.progress import SILENT, Progress
from saers.tiles import Part, Source, open_tiles


class ChannelStats:
    """Running statistics of every channel.

    Parameters
    ----------
    channels
        Number of channels.
    allow_nan
        Count values that are NaN or infinite and leave them out; without it they are an error.

    Examples
    --------
    >>> stats = ChannelStats(2)
    >>> stats.update(np.array([[1, 0], [3, -2]], dtype=np.float32))
    >>> stats.finish().select("max", "min", "mean", "std", "nonzero").rows()
    [(3.0, 1.0, 2.0, 1.0, 2), (0.0, -2.0, -1.0, 1.0, 1)]
    """

    def __init__(self, channels: int, *, allow_nan: bool = False) -> None:
        self.channels = channels
        self._kernel = _core.ChannelStats(channels, allow_nan=allow_nan)

    def update(
        self,
        values: npt.ArrayLike,
        *,
        windows: npt.ArrayLike | None = None,
        first_position: int = 0,
        mask: npt.ArrayLike | None = None,
        threads: int | None = None,
    ) -> None:
        """Add activations.

        Parameters
        ----------
        values
            Activations, (n, channels) of one window or (b, n, channels) of b windows.
        windows
            Numbers of the windows, (b,), and
        first_position
            position of their first row: both only name the place of a bad value.
        mask
            Rows to use, of the shape of ``values`` without its channels; default: all.
        threads
            Threads to work with; default: all cores. The result does not depend on it.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a value is NaN or infinite. Nothing is added then.
        """
        given = np.ascontiguousarray(values, dtype=np.float32)
        if given.ndim not in (2, 3) or given.shape[-1] != self.channels:
            raise ValueError(
                f"values must be ([windows,] positions, {self.channels}), got {given.shape}"
            )
        count = given.shape[0] if given.ndim == 3 else 1
        numbers = np.arange(count) if windows is None else np.atleast_1d(np.asarray(windows))
        if numbers.shape != (count,):
            raise ValueError(f"windows must number {count} windows, got shape {numbers.shape}")
        rows = None if mask is None else np.ascontiguousarray(mask, dtype=np.bool_)
        if rows is not None and rows.shape != given.shape[:-1]:
            raise ValueError(f"mask must be of shape {given.shape[:-1]}, got {rows.shape}")
        self._kernel.update(
            given.reshape(-1, self.channels),
            np.ascontiguousarray(numbers, dtype=np.int64),
            first_position,
            None if rows is None else rows.reshape(-1),
            threads,
        )

    def read(self, part: Part, native: _core.Dataset, *, threads: int | None = None) -> None:
        """Add all usable positions of a dataset that the kernel reads by itself.

        Raises
        ------
        FormatError
            If the file is damaged, or a value is NaN or infinite; what came before it is added.
        """
        for windows, mask in part.masks():
            self._kernel.update_from(native, windows, part.first_window, mask, threads)

    def merge(self, other: ChannelStats) -> None:
        """Add what another accumulator has seen.

        Examples
        --------
        >>> one, two = ChannelStats(1), ChannelStats(1)
        >>> one.update([[1.0]])
        >>> two.update([[3.0]])
        >>> one.merge(two)
        >>> one.finish()["mean"].item()
        2.0
        """
        self._kernel.merge(other._kernel)

    @property
    def left_out(self) -> tuple[int, int]:
        """Numbers of NaN and of infinite values that were left out."""
        return self._kernel.left_out()

    @property
    def first_left_out(self) -> str | None:
        """Place of the first value that was left out."""
        return self._kernel.first_left_out()

    def finish(self) -> pl.DataFrame:
        """Return the table of statistics (`schema.STATS`) of what was seen so far.

        A channel without a value has NaN for its maximum, minimum, mean and deviation.
        """
        names = ("max", "min", "mean", "std", "nonzero", "count", "nan")
        columns = dict(zip(names, self._kernel.summary(), strict=True))
        frame = pl.DataFrame({"channel": np.arange(self.channels, dtype=np.uint32), **columns})
        return schema.conform(frame, schema.STATS, table="stats")


def channel_stats(
    source: Source,
    *,
    dataset: str | None = None,
    threads: int | None = None,
    allow_nan: bool = False,
) -> pl.DataFrame:
    """Compute statistics of every channel in one pass and bounded memory.

    The maximum serves to scale a layer's channels; a mean and a deviation near 0 show channels
    that never speak.

    Parameters
    ----------
    source
        Path of an HDF5 file or several, an h5py dataset, an array of (windows, positions,
        channels) or (positions, channels), or a source of activations; masks are respected.
    dataset
        Name of the dataset within a file; default: ``activations``, else the first one.
    threads
        Threads to work with; default: all cores. The result does not depend on it.
    allow_nan
        Leave values that are NaN or infinite out instead of refusing them.

    Returns
    -------
    polars.DataFrame
        One row a channel, columns of `schema.STATS`. ``std`` is that of the population;
        ``nonzero`` and ``count`` are numbers of values.

    Raises
    ------
    ValueError
        If the rank is neither 2 nor 3, or a value is NaN or infinite.
    saers.FormatError
        If a file is damaged or holds NaN or infinite values.

    Examples
    --------
    >>> channel_stats(np.array([[[1.0, 0.0], [3.0, -2.0]]])).select("max", "nonzero").rows()
    [(3.0, 2), (0.0, 1)]
    """
    with open_tiles(source, dataset=dataset) as tiles:
        stats = ChannelStats(tiles.n_channels, allow_nan=allow_nan)
        for part, native in tiles.natives:
            stats.read(part, native, threads=threads)
        for tile in () if tiles.natives else tiles:
            try:
                stats.update(
                    tile.values,
                    windows=tile.windows,
                    first_position=tile.first_position,
                    mask=tile.mask,
                    threads=threads,
                )
            except ValueError as error:
                broken = FormatError if tiles.from_files else ValueError
                raise broken(f"{tiles.name}: {error}") from error
    return stats.finish()


def stream_stats(
    source: ActivationSource,
    windows: Sequence[int] | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Compute statistics of every channel over the usable positions of some windows.

    Parameters
    ----------
    source
        Activations of a layer, from a model or from files.
    windows
        Numbers of the windows; default: all.
    threads
        Threads to work with; default: all cores.
    progress
        Is told of the windows done.

    Returns
    -------
    polars.DataFrame
        One row a channel, columns of `schema.STATS`.

    Raises
    ------
    ValueError
        If an activation is NaN or infinite, or no position is usable.

    Examples
    --------
    >>> from saers.layer import ActivationBlock, LayerInfo
    >>> class Source:
    ...     layer, n_positions = LayerInfo("conv", 1, 1, 0, 0), 3
    ...     windows = pl.DataFrame({"window": [0]})
    ...     def blocks(self, *, windows=None):
    ...         values = np.array([[[1], [9], [3]]], dtype=np.float32)
    ...         yield ActivationBlock(np.array([0]), values, np.array([[True, False, True]]))
    >>> stream_stats(Source()).select("max", "mean", "count").rows()
    [(3.0, 2.0, 2)]
    """
    watcher = SILENT if progress is None else progress
    watcher.start("stats", source.windows.height if windows is None else len(windows))
    stats = ChannelStats(source.layer.channels)
    usable = 0
    for tile in tiles_of(source, windows):
        numbers, first, values, mask = tile
        stats.update(values, windows=numbers, first_position=first, mask=mask, threads=threads)
        usable += values.shape[0] * values.shape[1] if mask is None else int(mask.sum())
        watcher.advance(len(numbers) if first + values.shape[1] == source.n_positions else 0)
    if not usable:
        raise ValueError(f"layer {source.layer.name}: all positions are masked, none is usable")
    return stats.finish()

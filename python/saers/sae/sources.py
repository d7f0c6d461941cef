"""Whatever holds activations, as pools of positions that fit in memory.

A pool is a function of the seed, the epoch and its number alone, so that a run which was killed
finds its place again without having stored what it had read.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from saers.layer import ActivationSource, StreamedSource
from saers.sae.config import TrainConfig
from saers.sae.dataset import open_file

Rows: TypeAlias = Tensor | npt.NDArray[Any]
Batches: TypeAlias = Iterable[Rows]
_Part: TypeAlias = tuple[int, npt.NDArray[np.int64], npt.NDArray[np.float32]]
Source: TypeAlias = Rows | str | Path | ActivationSource | Batches

_ORDER, _POSITIONS, _STRAND = 1, 2, 5  # streams of random numbers, apart from each other


@dataclass(frozen=True)
class Selected:
    """Some rows of an array, which is not copied for that."""

    rows: Rows
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.index)


Pool: TypeAlias = Rows | Selected


class Tokens(Protocol):
    """Positions of a source, in pools."""

    channels: int

    def pools(self, epoch: int, first: int = 0) -> Iterator[Pool]:
        """Yield the pools of an epoch from number ``first`` on, each (positions, channels)."""

    def signature(self) -> dict[str, Any]:
        """Tell what a resumed run must find unchanged."""

    def origin(self) -> dict[str, Any]:
        """Tell where the positions come from, for the file of the autoencoder."""


class ArrayTokens:
    """An array in memory (or mapped into it): one pool, all of it, or what a mask leaves."""

    def __init__(self, rows: Rows, mask: Rows | None = None) -> None:
        _check_rank(rows, "source")
        self.channels = int(rows.shape[1])
        self._rows = rows
        self._mask = None if mask is None else np.asarray(mask)
        if self._mask is not None and (
            self._mask.dtype != np.bool_ or self._mask.shape != (len(rows),)
        ):
            raise ValueError(
                f"mask must be ({len(rows)},) of true and false, got {self._mask.dtype} of "
                f"{self._mask.shape}"
            )

    def pools(self, epoch: int, first: int = 0) -> Iterator[Pool]:
        """Yield the array."""
        if first == 0:
            mask = self._mask
            yield self._rows if mask is None else Selected(self._rows, np.flatnonzero(mask))

    def signature(self) -> dict[str, Any]:
        """Tell the shape."""
        told = {"kind": "array", "shape": list(self._rows.shape)}
        if self._mask is None:
            return told
        return told | {"mask": hashlib.sha256(self._mask.tobytes()).hexdigest()}

    def origin(self) -> dict[str, Any]:
        """Tell nothing: an array has no name."""
        return {}


class BatchTokens:
    """Batches one after the other, from an iterable.

    What can be iterated again is, once an epoch. An iterator gives one epoch, unless all of it
    fits in the buffer: then it is kept.
    """

    def __init__(self, batches: Batches, config: TrainConfig) -> None:
        self._once = isinstance(batches, Iterator)
        self._kept: Tensor | None = None
        first = next(iter(batches), None)
        if first is None:
            raise ValueError("source must hold at least one batch, got none")
        _check_rank(first, "batch 0")
        self.channels = int(first.shape[1])
        self._size = config.buffer(self.channels)
        self._batches = itertools.chain([first], batches) if self._once else batches

    def pools(self, epoch: int, first: int = 0) -> Iterator[Rows]:
        """Gather batches until the buffer is full."""
        if self._kept is not None:
            yield from [self._kept][first:]
            return
        if self._once and epoch > 0:
            return
        pools = self._fill()
        opening = next(pools, None)
        second = next(pools, None) if opening is not None else None
        if second is None:
            self._kept = opening
        known = (pool for pool in (opening, second) if pool is not None)
        yield from itertools.islice(itertools.chain(known, pools), first, None)

    def signature(self) -> dict[str, Any]:
        """Tell the channels; nothing else is known beforehand."""
        return {"kind": "batches", "channels": self.channels, "buffer": self._size}

    def origin(self) -> dict[str, Any]:
        """Tell nothing: batches have no name."""
        return {}

    def _fill(self) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        count = 0
        for number, batch in enumerate(self._batches):
            for part in torch.split(self._rows(batch, number), self._size):
                head, tail = part[: self._size - count], part[self._size - count :]
                waiting.append(head)
                count += len(head)
                if count == self._size:
                    yield torch.cat(waiting)
                    waiting, count = [tail], len(tail)
        if count:
            yield torch.cat(waiting)

    def _rows(self, batch: Rows, number: int) -> Tensor:
        _check_rank(batch, f"batch {number}")
        if batch.shape[1] != self.channels:
            raise ValueError(
                f"batch {number} must have {self.channels} channels, got {batch.shape[1]}"
            )
        rows = torch.as_tensor(batch).detach().cpu().float()
        require_finite(rows, f"batch {number} of the source")
        return rows


class WindowTokens:
    """Windows in a seeded order, a group of them at a time; of each a part, or all, is taken."""

    def __init__(
        self, source: ActivationSource, windows: Sequence[int], config: TrainConfig
    ) -> None:
        if not windows:
            raise ValueError("source must hold at least one window, got none")
        self.channels = source.layer.channels
        self._source = source
        self._reverse: StreamedSource | None = None
        if config.strands != "forward":
            if not isinstance(source, StreamedSource):
                raise ValueError(
                    f"strands must be forward, got {config.strands!r}: the source holds one "
                    "strand; train from the model itself"
                )
            self._reverse = source.reverse()
        self._windows = np.asarray(windows, dtype=np.int64)
        self._paired = config.strands == "paired"
        self._seed = config.stream_seed
        buffer = config.buffer(self.channels)
        fitting = buffer // max(1, source.n_positions)
        self._group = min(max(fitting, config.buffer_windows), len(self._windows))
        self._quota = max(1, buffer // self._group // (2 if self._paired else 1))
        self._kept: Rows | None = None

    def pools(self, epoch: int, first: int = 0) -> Iterator[Rows]:
        """Read group after group of windows."""
        if self._kept is not None:
            if first == 0:
                yield self._kept
            return
        generator = np.random.default_rng([self._seed, _ORDER, epoch])
        order = generator.permutation(self._windows)
        groups = np.array_split(order, -(-len(order) // self._group))
        for group in groups[first:]:
            # Ascending, so that a file is read forwards; the pool is shuffled afterwards.
            pool = self._read(np.sort(group), epoch)
            whole = self._quota >= self._source.n_positions
            if len(groups) == 1 and whole and (self._reverse is None or self._paired):
                self._kept = pool
            yield pool

    def signature(self) -> dict[str, Any]:
        """Tell the windows and their shape."""
        return {
            "kind": "windows",
            "layer": self._source.layer.name,
            "windows": self._digest(),
            "positions": self._source.n_positions,
            "channels": self.channels,
            "buffer": [self._group, self._quota],
        }

    def origin(self) -> dict[str, Any]:
        """Tell the layer; ``hook_name`` is SAELens's word for its name."""
        layer = self._source.layer
        return {
            "hook_name": layer.name,
            "stride": layer.stride,
            "window_lo": layer.window_lo,
            "window_hi": layer.window_hi,
        }

    def _digest(self) -> str:
        chosen = self._source.windows.filter(pl.col("window").is_in(self._windows.tolist()))
        return hashlib.sha256(chosen.write_csv().encode()).hexdigest()

    def _read(self, group: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.float32]:
        room = len(group) * min(self._quota, self._source.n_positions) * (1 + self._paired)
        pool = np.empty((room, self.channels), np.float32)
        count = 0
        for window, chosen, taken in self._parts(group, epoch):
            _require_finite_window(taken, chosen, window)
            pool[count : count + len(taken)] = taken
            count += len(taken)
        return pool[:count]

    def _parts(self, group: npt.NDArray[np.int64], epoch: int) -> Iterator[_Part]:
        """Take a part of each window of a group, on the strands that are asked for."""
        if self._reverse is None:
            yield from self._one_strand(self._source, group, epoch)
        elif self._paired:
            yield from self._both_strands(self._reverse, group, epoch)
        else:
            lots = [_lot([self._seed, _STRAND, epoch, w]) for w in group.tolist()]
            turned = np.array(lots, dtype=np.bool_)
            yield from self._one_strand(self._source, group[~turned], epoch)
            yield from self._one_strand(self._reverse, group[turned], epoch)

    def _one_strand(
        self, source: ActivationSource, group: npt.NDArray[np.int64], epoch: int
    ) -> Iterator[_Part]:
        if len(group) == 0:
            return
        if isinstance(source, StreamedSource):
            yield from self._as_it_streams(source, group, epoch)
            return
        for block in source.blocks(windows=group.tolist()):
            for window, values, mask in zip(*block, strict=True):
                chosen = self._choose(int(window), mask, epoch)
                yield int(window), chosen, values[chosen]

    def _as_it_streams(
        self, source: StreamedSource, group: npt.NDArray[np.int64], epoch: int
    ) -> Iterator[_Part]:
        """Take positions out of pieces of windows; no window is held."""
        wanted: dict[int, npt.NDArray[np.int64]] = {}
        for numbers, first, values, _ in source.tiles(windows=group.tolist()):
            for window, rows in zip(numbers.tolist(), values, strict=True):
                if first == 0:
                    wanted[window] = self._choose(window, source.mask(window), epoch)
                low, high = np.searchsorted(wanted[window], [first, first + len(rows)])
                chosen = wanted[window][low:high]
                yield window, chosen, rows[chosen - first]
                if first + len(rows) == source.n_positions:
                    del wanted[window]

    def _both_strands(
        self, reverse: ActivationSource, group: npt.NDArray[np.int64], epoch: int
    ) -> Iterator[_Part]:
        """Take the same places on both strands."""
        both = (source.blocks(windows=group.tolist()) for source in (self._source, reverse))
        for plus, minus in zip(*both, strict=True):
            for row, window in enumerate(plus.windows.tolist()):
                mirrored = minus.mask[row][::-1], minus.values[row][::-1]
                chosen = self._choose(window, plus.mask[row] & mirrored[0], epoch)
                yield window, chosen, plus.values[row][chosen]
                yield window, chosen, mirrored[1][chosen]

    def _choose(
        self, window: int, mask: npt.NDArray[np.bool_], epoch: int
    ) -> npt.NDArray[np.int64]:
        usable = np.flatnonzero(mask)
        if len(usable) <= self._quota:
            return usable
        generator = np.random.default_rng([self._seed, _POSITIONS, epoch, window])
        return np.sort(generator.choice(usable, self._quota, replace=False, shuffle=False))


def open_tokens(
    source: Source, config: TrainConfig, *, split: str = "train", mask: Rows | None = None
) -> Tokens:
    """Find out what a source is.

    Parameters
    ----------
    source
        An (n, channels) array or tensor; an HDF5 file or a folder of them; an
        `ActivationSource`; or an iterable of (n, channels) batches.
    config
        Seed and size of the buffer.
    split
        Which windows of an `ActivationSource` to take, as its table has them; where none is of
        that split, all.
    mask
        (n,) True where a row of an array may be used.

    Raises
    ------
    ValueError
        If it is none of them, or holds nothing.

    Examples
    --------
    >>> open_tokens(np.zeros((10, 3)), TrainConfig()).channels
    3
    """
    if isinstance(source, Tensor | np.ndarray):
        return ArrayTokens(source, mask)
    if mask is not None:
        raise ValueError("mask must be None: only an array takes one, other sources have their own")
    if isinstance(source, str | Path):
        source = open_file(source)
    if isinstance(source, ActivationSource):
        table = source.windows
        of_split = table.filter(table["split"] == split)["window"].to_list()
        return WindowTokens(source, of_split or table["window"].to_list(), config)
    if isinstance(source, Iterable):
        return BatchTokens(source, config)
    raise ValueError(
        "source must be an array, a path, an ActivationSource or an iterable of batches, "
        f"got {type(source).__name__}"
    )


def take(rows: Pool, chosen: npt.NDArray[np.int64]) -> Tensor:
    """Copy rows of a pool as float32, on the CPU unless the pool lies elsewhere."""
    if isinstance(rows, Selected):
        return take(rows.rows, rows.index[chosen])
    if isinstance(rows, Tensor):
        return rows[torch.from_numpy(chosen).to(rows.device)].detach().float()
    return torch.from_numpy(rows[chosen].astype(np.float32, copy=False))


def require_finite(rows: Tensor, where: str) -> None:
    """Require that no activation is NaN or infinite; name the first row and channel.

    Examples
    --------
    >>> require_finite(torch.tensor([[0.0, torch.inf]]), "batch 3")
    Traceback (most recent call last):
    ...
    ValueError: batch 3: activation inf in row 0, channel 1
    """
    if torch.isfinite(rows.sum()):
        return
    bad = (~torch.isfinite(rows)).nonzero()
    if len(bad):
        row, channel = bad[0].tolist()
        raise ValueError(
            f"{where}: activation {rows[row, channel].item()} in row {row}, channel {channel}"
        )


def _lot(seed: list[int]) -> bool:
    return bool(np.random.default_rng(seed).integers(2))


def _require_finite_window(
    taken: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64], window: int
) -> None:
    rows, channels = np.nonzero(~np.isfinite(taken))
    if len(rows):
        raise ValueError(
            f"source: activation {taken[rows[0], channels[0]]} in window {window}, "
            f"position {chosen[rows[0]]}, channel {channels[0]}"
        )


def _check_rank(rows: Rows, name: str) -> None:
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} must be (positions, channels), got shape {tuple(rows.shape)}")

"""Shuffled batches out of pools, from any place in the stream on.

One thread gathers the next batch and another reads the next pool while the trainer works on this
one, so that at most two pools and two batches are in memory.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saers.sae.parallel import Crew
from saers.sae.sources import Pool, Selected, Tokens, take

_SHUFFLE, _THIN = 3, 4  # streams of random numbers of their own
_LOOK_SIZE = 262_144  # positions from which the map of the input is estimated
_PART = 65_536
_ALONE = Crew()


class Place(NamedTuple):
    """Where in the stream the next batch lies."""

    epoch: int = 0
    pool: int = 0
    batch: int = 0


class Thinning(NamedTuple):
    """Leaves out part of the background: of what lies within a border around the mean."""

    mean: Tensor  # (channels,)
    border: Tensor  # squared distance from the mean that the background does not exceed
    share: float  # of the background that stays

    def choose(self, pool: Pool, seed: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Tell which positions of a pool are used."""
        stays = np.random.default_rng(seed).random(len(pool)) < self.share
        for first in range(0, len(pool), _PART):
            rows = take(pool, np.arange(first, min(first + _PART, len(pool))))
            far = (rows - self.mean).square().sum(dim=1) > self.border
            stays[first : first + len(rows)] |= far.cpu().numpy()
        return stays


class Feed:
    """Batches of a source, epoch after epoch.

    Each pool is shuffled whole; what is left of it after the last full batch is not used in
    this epoch (another part is left in the next).

    Parameters
    ----------
    tokens
        The positions.
    batch_size
        Positions in a batch.
    seed
        Seed of the order.
    place
        Where to begin.
    wanted
        Batches that will be asked for; nothing is read ahead beyond them.
    crew
        The processes that share each batch.

    Examples
    --------
    >>> from saers.sae.sources import ArrayTokens
    >>> feed = Feed(ArrayTokens(np.eye(4, dtype=np.float32)), 2, seed=0)
    >>> feed.next_batch().shape, feed.place
    (torch.Size([2, 4]), Place(epoch=0, pool=0, batch=1))
    """

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        *,
        seed: int,
        place: Place | None = None,
        wanted: int | None = None,
        crew: Crew = _ALONE,
    ) -> None:
        self.tokens = tokens
        self.place = place or Place()
        self.waited = 0.0  # seconds that a batch was waited for, after the first
        self._batch_size = batch_size
        self._seed = seed
        self._crew = crew
        self._wanted = wanted
        self._thinning: Thinning | None = None
        self._cursor = self.place  # where the thread that gathers stands
        self._pools: Iterator[Pool] | None = None
        self._pool: Pool | None = None
        self._order: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._shuffled: tuple[int, int] | None = None
        self._recent: Tensor | None = None
        self._barren = 0  # epochs in a row that ended without a batch
        self._given = 0
        self._gatherer = ThreadPoolExecutor(1, "saers-batches")
        self._reader = ThreadPoolExecutor(1, "saers-pools")
        self._next_pool: Future[Pool | None] | None = None
        self._next: Future[tuple[Place, Tensor] | None] | None = None
        self._looking: Future[Tensor] | None = None

    def next_batch(self) -> Tensor | None:
        """Give the next batch, (batch_size, channels) float32; None where the source is at its end.

        Of a crew, each process gets its part of it.

        Raises
        ------
        ValueError
            If the source does not fill one batch, or an activation is NaN or infinite.
        """
        began = time.perf_counter()
        coming, self._next = self._next or self._gatherer.submit(self._gather), None
        made = coming.result()
        if made is None:
            return None
        if self._given:
            self.waited += time.perf_counter() - began
        self._given += 1
        self.place, self._recent = made
        if self._wanted is None or self._given < self._wanted:
            self._next = self._gatherer.submit(self._gather)
        return self._recent

    def look(self) -> Tensor:
        """Give a sample of the pool at hand, without moving on; at the end the last batch.

        Nothing is thinned out of it. To be called before the first batch or after the last.

        Raises
        ------
        ValueError
            If there is none.
        """
        coming, self._looking = self._looking or self._gatherer.submit(self._sample), None
        return coming.result()

    def begin(self) -> None:
        """Begin with the sample, without waiting for it: feeds that share a model read together."""
        self._looking = self._gatherer.submit(self._sample)

    def thin(self, thinning: Thinning | None) -> None:
        """Leave out part of the background from now on; to be called before the first batch."""
        self._thinning = thinning
        self._shuffled = None

    def close(self) -> None:
        """Let the threads end; a pool that is being read is dropped."""
        for worker in (self._gatherer, self._reader):
            worker.shutdown(wait=False, cancel_futures=True)

    def _sample(self) -> Tensor:
        if self._load() and len(self._order) and self._pool is not None:
            order = shuffled(len(self._pool), self._seed, *self._cursor[:2])
            return self._take(order[:_LOOK_SIZE])
        if self._recent is None:
            raise ValueError("source holds no usable position")
        return self._recent

    def _gather(self) -> tuple[Place, Tensor] | None:
        """Gather the batch at the cursor, and move on."""
        while self._load():
            first = self._cursor.batch * self._batch_size
            chosen = self._order[first : first + self._batch_size]
            if len(chosen) == self._batch_size:
                self._barren = 0
                self._cursor = self._cursor._replace(batch=self._cursor.batch + 1)
                return self._cursor, self._take(self._crew.part(chosen))
            self._pool = None
            self._cursor = Place(self._cursor.epoch, self._cursor.pool + 1, 0)
        return None

    def _load(self) -> bool:
        """Have a pool at hand; False where the source is at its end."""
        while self._pool is None:
            self._pool = self._read_pool()
            if self._pool is None:
                if self._cursor.pool == 0:
                    return False
                self._next_epoch()
        epoch, pool, _ = self._cursor
        if self._shuffled != (epoch, pool):
            self._order = self._arrange(self._pool)
            self._shuffled = (epoch, pool)
            self._read_on()
        return True

    def _read_pool(self) -> Pool | None:
        if self._pools is None:
            self._pools = self.tokens.pools(self._cursor.epoch, self._cursor.pool)
            self._next_pool = None
        coming, self._next_pool = self._next_pool, None
        return next(self._pools, None) if coming is None else coming.result()

    def _read_on(self) -> None:
        """Begin to read the next pool, where the run will come to it."""
        left = len(self._order) // self._batch_size - self._cursor.batch
        needed = self._wanted is None or self._given + left < self._wanted
        if needed and self._pools is not None and self._next_pool is None:
            self._next_pool = self._reader.submit(next, self._pools, None)

    def _arrange(self, pool: Pool) -> npt.NDArray[np.int64]:
        epoch, number, _ = self._cursor
        order = shuffled(len(pool), self._seed, epoch, number)
        if self._thinning is None:
            return order
        stays = self._thinning.choose(pool, (self._seed, _THIN, epoch, number))
        return order[stays[order]]

    def _next_epoch(self) -> None:
        self._barren += 1
        if self._barren > 1:  # the first may have been entered at its end
            raise ValueError(
                f"source must fill one batch of {self._batch_size} positions from one buffer, "
                f"got {len(self._order)}: lower batch_size"
            )
        self._cursor = Place(self._cursor.epoch + 1, 0, 0)
        self._pools = None

    def _take(self, chosen: npt.NDArray[np.int64]) -> Tensor:
        if self._pool is None:
            raise ValueError("source holds no usable position")
        rows = take(self._pool, chosen)
        # Windows and batches were checked when they were read; an array is checked here, where
        # it costs one pass over what is in the cache anyway.
        if not torch.isfinite(rows.sum()):
            pool = self._pool
            _name_bad_row(rows, pool.index[chosen] if isinstance(pool, Selected) else chosen)
        return rows


def shuffled(count: int, seed: int, epoch: int, pool: int) -> npt.NDArray[np.int64]:
    """Order the rows of a pool.

    Examples
    --------
    >>> sorted(shuffled(3, 0, 0, 0).tolist())
    [0, 1, 2]
    """
    return np.random.default_rng([seed, _SHUFFLE, epoch, pool]).permutation(count)


def _name_bad_row(rows: Tensor, chosen: npt.NDArray[np.int64]) -> None:
    bad = (~torch.isfinite(rows)).nonzero()
    if len(bad):
        row, channel = bad[0].tolist()
        raise ValueError(
            f"source: activation {rows[row, channel].item()} in row {chosen[row]}, "
            f"channel {channel}"
        )

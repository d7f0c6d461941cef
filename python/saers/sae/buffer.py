"""Shuffled batches out of pools, from any place in the stream on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saers.sae.sources import Rows, Tokens, take

_SHUFFLE = 3  # a stream of random numbers of its own
_LOOK_SIZE = 262_144  # positions from which the map of the input is estimated


class Place(NamedTuple):
    """Where in the stream the next batch lies."""

    epoch: int = 0
    pool: int = 0
    batch: int = 0


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

    Examples
    --------
    >>> from saers.sae.sources import ArrayTokens
    >>> feed = Feed(ArrayTokens(np.eye(4, dtype=np.float32)), 2, seed=0)
    >>> feed.next_batch().shape, feed.place
    (torch.Size([2, 4]), Place(epoch=0, pool=0, batch=1))
    """

    def __init__(
        self, tokens: Tokens, batch_size: int, *, seed: int, place: Place | None = None
    ) -> None:
        self.tokens = tokens
        self.place = place or Place()
        self._batch_size = batch_size
        self._seed = seed
        self._pools: Iterator[Rows] | None = None
        self._pool: Rows | None = None
        self._order: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._shuffled: tuple[int, int] | None = None
        self._recent: Tensor | None = None
        self._barren = 0  # epochs in a row that ended without a batch

    def next_batch(self) -> Tensor | None:
        """Give the next batch, (batch_size, channels) float32; None where the source is at its end.

        Raises
        ------
        ValueError
            If the source does not fill one batch, or an activation is NaN or infinite.
        """
        while self._load():
            first = self.place.batch * self._batch_size
            chosen = self._order[first : first + self._batch_size]
            if len(chosen) == self._batch_size:
                self._barren = 0
                self.place = self.place._replace(batch=self.place.batch + 1)
                self._recent = self._take(chosen)
                return self._recent
            self._pool = None
            self.place = Place(self.place.epoch, self.place.pool + 1, 0)
        return None

    def look(self) -> Tensor:
        """Give a sample of the pool at hand, without moving on; at the end the last batch.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self._load() and len(self._order):
            return self._take(self._order[:_LOOK_SIZE])
        if self._recent is None:
            raise ValueError("source holds no usable position")
        return self._recent

    def _load(self) -> bool:
        """Have a pool at hand; False where the source is at its end."""
        while self._pool is None:
            if self._pools is None:
                self._pools = self.tokens.pools(self.place.epoch, self.place.pool)
            self._pool = next(self._pools, None)
            if self._pool is None:
                if self.place.pool == 0:
                    return False
                self._next_epoch()
        epoch, pool, _ = self.place
        if self._shuffled != (epoch, pool):
            self._order = shuffled(len(self._pool), self._seed, epoch, pool)
            self._shuffled = (epoch, pool)
        return True

    def _next_epoch(self) -> None:
        self._barren += 1
        if self._barren > 1:  # the first may have been entered at its end
            raise ValueError(
                f"source must fill one batch of {self._batch_size} positions from one buffer, "
                f"got {len(self._order)}: lower batch_size"
            )
        self.place = Place(self.place.epoch + 1, 0, 0)
        self._pools = None

    def _take(self, chosen: npt.NDArray[np.int64]) -> Tensor:
        if self._pool is None:
            raise ValueError("source holds no usable position")
        rows = take(self._pool, chosen)
        # Windows and batches were checked when they were read; an array is checked here, where
        # it costs one pass over what is in the cache anyway.
        if not torch.isfinite(rows.sum()):
            _name_bad_row(rows, chosen)
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

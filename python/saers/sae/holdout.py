"""What is kept out of training, so that metrics are of positions that no weight has seen."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from saers import schema
from saers.layer import ActivationBlock, ActivationSource, StreamedSource, Tile
from saers.sae.dataset import open_file
from saers.sae.sources import Rows, Source


class Division(NamedTuple):
    """A source apart from what is held out of it."""

    train: Source
    train_mask: Rows | None
    held_out: Source | None
    held_out_mask: Rows | None = None


def divide(source: Source, share: float, *, mask: Rows | None = None) -> Division:
    """Hold a share of a source out, unless it says itself which windows those are.

    Of an array the last rows are held out; of windows whole chromosomes, those whose number of
    windows comes nearest to the share, or the last windows where there is one chromosome only.
    Nothing can be held out of an iterable of batches, whose end is not known.

    Parameters
    ----------
    source
        As for :func:`saers.train_sae`.
    share
        Share to hold out.
    mask
        (n,) usable rows of an array.

    Examples
    --------
    >>> parts = divide(np.zeros((10, 3)), 0.2)
    >>> len(parts.train), len(parts.held_out)
    (8, 2)
    """
    if isinstance(source, Tensor | np.ndarray):
        return _divide_array(source, share, mask)
    if isinstance(source, str | Path):
        source = open_file(source)
    if not isinstance(source, ActivationSource):
        return Division(source, mask, None)
    if not (source.windows["split"] == "holdout").any():
        chosen = choose_windows(source.windows, share)
        if not chosen:
            return Division(source, mask, None)
        source = mark(source, chosen)
    return Division(source, mask, source)


def _divide_array(source: Rows, share: float, mask: Rows | None) -> Division:
    last = int(len(source) * share)
    if last == 0:
        return Division(source, mask, None)
    cut = len(source) - last
    before, after = (None, None) if mask is None else (mask[:cut], mask[cut:])
    return Division(source[:cut], before, source[cut:], after)


def choose_windows(windows: pl.DataFrame, share: float) -> list[int]:
    """Choose what to hold out: chromosomes where there are several, else the last windows.

    Examples
    --------
    >>> table = pl.DataFrame({"window": range(4), "chrom": ["1", "1", "1", "2"]})
    >>> choose_windows(table, 0.1)
    [3]
    """
    if share == 0 or windows.height < 2:
        return []
    counts = windows["chrom"].value_counts(sort=True).sort("count", "chrom")
    if counts.height == 1:
        last = min(windows.height - 1, max(1, round(windows.height * share)))
        return windows["window"].to_list()[-last:]
    wanted, chosen, total = windows.height * share, list[str](), 0
    for chrom, count in counts.rows():
        nearer = abs(total + count - wanted) < abs(total - wanted)
        if len(chosen) + 1 < counts.height and (not chosen or nearer):
            chosen.append(chrom)
            total += count
    return windows.filter(pl.col("chrom").is_in(chosen))["window"].to_list()


def mark(source: ActivationSource, windows: Sequence[int]) -> ActivationSource:
    """Give a source with these windows marked as held out."""
    if isinstance(source, StreamedSource):
        return _StreamedMarked(source, windows)
    return _Marked(source, windows)


class _Marked:
    """A source with another column ``split``."""

    def __init__(self, source: ActivationSource, windows: Sequence[int]) -> None:
        self._source = source
        self._held_out = windows
        self.layer, self.n_positions = source.layer, source.n_positions
        held_out = pl.col("window").is_in(list(windows))
        split = pl.when(held_out).then(pl.lit("holdout")).otherwise(pl.lit("train"))
        table = source.windows.with_columns(split=split)
        self.windows = schema.conform(table, schema.WINDOWS, table="windows")

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order."""
        return self._source.blocks(windows=windows)


class _StreamedMarked(_Marked):
    """Such a source that is computed while it is read."""

    def __init__(self, source: StreamedSource, windows: Sequence[int]) -> None:
        super().__init__(source, windows)
        self._streamed = source

    def tiles(self, *, windows: Sequence[int] | None = None) -> Iterator[Tile]:
        """Yield what `blocks` yields as it is made."""
        return self._streamed.tiles(windows=windows)

    def mask(self, window: int) -> npt.NDArray[np.bool_]:
        """Tell which positions of a window may be used."""
        return self._streamed.mask(window)

    def reverse(self) -> StreamedSource:
        """Read the other strand."""
        return _StreamedMarked(self._streamed.reverse(), self._held_out)

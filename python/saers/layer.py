"""A layer, what its positions have seen, and what a source of its activations gives.

Every later stage reads an `ActivationSource`: a model that is run while it is read
(`saers.capture.ModelActivations`) or HDF5 files (`saers.activations.FileActivations`). Both
give blocks of whole windows, so that nobody holds more than one block. A model gives tiles as
well, which are parts of windows, as it makes them: a window of a large model takes gigabytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError


@dataclass(frozen=True)
class LayerInfo:
    """A layer and the stretch of input that each of its positions has seen.

    Position ``i`` sees the bases ``stride * i - window_lo`` to ``stride * i + window_hi`` of its
    window, both included. An unpadded convolution of width 19 has ``window_lo = 0`` and
    ``window_hi = 18``; a layer behind a crop has a negative ``window_lo``.

    Examples
    --------
    >>> conv1d_1 = LayerInfo("res_tower.0", channels=608, stride=2, window_lo=11, window_hi=12)
    >>> conv1d_1.receptive_field
    24
    >>> conv1d_1.interval(np.array([0, 10]), window_start=1000).tolist()
    [[989, 1013], [1009, 1033]]
    """

    name: str
    """Name by which the model knows the layer."""
    channels: int
    """Number of channels."""
    stride: int
    """Base pairs from one position to the next."""
    window_lo: int
    """Base pairs seen before ``stride * i``."""
    window_hi: int
    """Base pairs seen after ``stride * i``."""
    tokens: bool = field(default=False, kw_only=True)
    """Positions are tokens of a language model, of different lengths: ``stride`` and the window
    are means, and only the model's ``places`` tell where a position lies."""

    def __post_init__(self) -> None:
        if self.channels < 1 or self.stride < 1 or self.receptive_field < 1:
            raise ValueError(f"layer must have channels, a stride and a window, got {self}")

    @property
    def receptive_field(self) -> int:
        """Width in bp of the input that one position sees."""
        return self.window_lo + self.window_hi + 1

    def interval(
        self, positions: npt.NDArray[np.int64], window_start: int
    ) -> npt.NDArray[np.int64]:
        """Locate what positions have seen, as (n, 2) half-open coordinates of the chromosome.

        Raises
        ------
        ValueError
            If the positions are tokens.
        """
        if self.tokens:
            raise ValueError(
                f"positions of {self.name!r} are tokens of different lengths, which only their "
                "model can locate"
            )
        first = window_start + self.stride * positions - self.window_lo
        return np.stack([first, first + self.receptive_field], axis=-1)

    def inside(self, n_positions: int, length: int) -> npt.NDArray[np.bool_]:
        """Tell which positions see nothing beyond a window of ``length`` bp.

        Examples
        --------
        >>> LayerInfo("conv", channels=1, stride=2, window_lo=3, window_hi=4).inside(5, 10).tolist()
        [False, False, True, False, False]
        """
        seen = self.interval(np.arange(n_positions), 0)
        return (seen[:, 0] >= 0) & (seen[:, 1] <= length)


class ActivationBlock(NamedTuple):
    """Activations of a few whole windows."""

    windows: npt.NDArray[np.int64]
    """(b,) numbers of the windows, as in the source's table."""
    values: npt.NDArray[np.float32]
    """(b, positions, channels)."""
    mask: npt.NDArray[np.bool_]
    """(b, positions), True where a position may be used."""


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


@runtime_checkable
class ActivationSource(Protocol):
    """Gives the activations of one layer for a table of windows."""

    @property
    def layer(self) -> LayerInfo:
        """The layer."""

    @property
    def windows(self) -> pl.DataFrame:
        """Table of windows (`schema.WINDOWS`)."""

    @property
    def n_positions(self) -> int:
        """Positions in each window."""

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order."""


@runtime_checkable
class StreamedSource(ActivationSource, Protocol):
    """A source that is computed while it is read."""

    def tiles(self, *, windows: Sequence[int] | None = None) -> Iterator[Tile]:
        """Yield what `blocks` yields as it is made: each window by rising positions."""

    def mask(self, window: int) -> npt.NDArray[np.bool_]:
        """Tell which positions of a window may be used, (positions,), without computing it."""

    def reverse(self) -> "StreamedSource":
        """Read the reverse complement of every window; position ``i`` becomes the i-th last."""


class LayersSource(Protocol):
    """Several layers of one model over the same windows, from one pass for all of them."""

    @property
    def sources(self) -> Mapping[str, StreamedSource]:
        """Each layer by itself, by its name."""

    def tiles(
        self, *, windows: Sequence[int] | None = None, layers: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Tile]]:
        """Yield (layer, tile): of each layer what its own source yields, in that order.

        ``layers`` names those that are wanted; None: all. How tiles of different layers follow
        each other is not said, but all of a pass are given before the next pass begins.
        """


def tiles_of(source: ActivationSource, windows: Sequence[int] | None = None) -> Iterator[Tile]:
    """Yield a source in the smallest pieces that it has: tiles, or blocks of whole windows.

    Examples
    --------
    >>> class Source:
    ...     layer, n_positions, windows = LayerInfo("conv", 1, 1, 0, 0), 3, pl.DataFrame()
    ...     def blocks(self, *, windows=None):
    ...         yield ActivationBlock(np.array([7]), np.zeros((1, 3, 1)), np.ones((1, 3), bool))
    >>> [(tile.windows.tolist(), tile.values.shape) for tile in tiles_of(Source())]
    [([7], (1, 3, 1))]
    """
    if isinstance(source, StreamedSource):
        yield from source.tiles(windows=windows)
        return
    for block in source.blocks(windows=windows):
        yield Tile(block.windows, 0, np.ascontiguousarray(block.values), block.mask)


def check_finite(
    values: npt.NDArray[np.floating[Any]],
    windows: npt.NDArray[np.int64],
    *,
    where: str,
    first_position: int = 0,
) -> None:
    """Require that no activation is NaN or infinite.

    Parameters
    ----------
    values
        (b, positions, channels) activations.
    windows
        (b,) numbers of their windows.
    where
        File or model that they come from.
    first_position
        Position of the first row.

    Raises
    ------
    FormatError
        Naming the first bad window, position and channel.

    Examples
    --------
    >>> check_finite(np.ones((1, 2, 3)), np.array([0]), where="acts.h5")
    """
    # Both carry a NaN along, in a fraction of the time of looking at every value.
    if values.size == 0 or np.isfinite([values.max(), values.min()]).all():
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        block, position, channel = bad[0].tolist()
        raise FormatError(
            f"{where}: activation {values[block, position, channel]} in window "
            f"{windows[block]}, position {first_position + position}, channel {channel} "
            f"({len(bad)} such values in this block)"
        )


def check_windows(windows: Sequence[int] | None, n_windows: int) -> npt.NDArray[np.int64]:
    """Resolve a choice of windows; None is all of them.

    Examples
    --------
    >>> check_windows(None, 3)
    array([0, 1, 2])
    """
    if windows is None:
        return np.arange(n_windows, dtype=np.int64)
    chosen = np.asarray(windows, dtype=np.int64)
    wrong = chosen[(chosen < 0) | (chosen >= n_windows)]
    if len(wrong):
        raise ValueError(f"windows must lie in 0..{n_windows - 1}, got {wrong[0]}")
    return chosen

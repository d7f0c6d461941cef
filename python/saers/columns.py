"""Frames of intervals as the columns that the kernels read: names become numbers."""

from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Columns: TypeAlias = tuple[
    NDArray[np.uint32] | None, NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]
]
Numbers: TypeAlias = NDArray[np.uint32]

ANY = "any"
"""The tag of intervals that are not told apart."""

_ELSEWHERE = np.iinfo(np.uint32).max  # chromosomes of no interest, to the kernels
_PROBE = 4096
_DENSE = 1 << 24


class Coded(NamedTuple):
    """A column by the numbers of its values."""

    numbers: Numbers
    """Place of each value among those known."""
    levels: pl.Series
    """Values that occur, sorted."""


class Table(NamedTuple):
    """Intervals as the kernels read them."""

    columns: Columns
    """Tag (None: there is one), chromosome, start, end."""
    tags: pl.Series
    """Features or classes, by number."""
    chroms: pl.Series
    """Chromosomes that occur, by number unless others were known before."""


def encode(
    frame: pl.DataFrame,
    tag: str | None,
    *,
    chroms: pl.Series | None = None,
    name: str = "intervals",
) -> Table:
    """Bring a frame of intervals into the columns that the kernels read.

    Parameters
    ----------
    frame
        chrom, start, end and the column ``tag``.
    tag
        Column of the feature or class; None: there is one.
    chroms
        Chromosomes that are numbered already; intervals on others take part in nothing.
    name
        What the caller calls the frame, for messages.

    Raises
    ------
    ValueError
        If a column is missing or has empty fields.

    Examples
    --------
    >>> frame = pl.DataFrame({"class": ["b", "a"], "chrom": "chr1", "start": [0, 5], "end": 9})
    >>> table = encode(frame, "class")
    >>> table.columns[0].tolist(), table.tags.to_list()
    ([1, 0], ['a', 'b'])
    """
    needed = ["chrom", "start", "end", *([tag] if tag else [])]
    if missing := [column for column in needed if column not in frame.columns]:
        raise ValueError(f"{name}: missing columns {missing}, found {frame.columns}")
    if any(frame[column].null_count() for column in needed):
        raise ValueError(f"{name} must have no empty fields in {', '.join(needed)}")
    tags = Coded(np.empty(0, np.uint32), pl.Series([ANY])) if tag is None else code(frame[tag])
    places = code(frame["chrom"], known=chroms)
    start, end = (
        np.ascontiguousarray(frame[column].cast(pl.Int64).to_numpy()) for column in ("start", "end")
    )
    return Table(
        (tags.numbers if tag else None, places.numbers, start, end), tags.levels, places.levels
    )


def code(values: pl.Series, *, known: pl.Series | None = None) -> Coded:
    """Replace the values of a column by their place among those known, or its own, sorted.

    Examples
    --------
    >>> code(pl.Series(["b", "a", "b"])).numbers.tolist()
    [1, 0, 1]
    """
    if values.dtype.is_integer():
        return _code_whole_numbers(values, known)
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
        levels = values.unique().sort()
        places = pl.Series(_places(levels, known))
        return Coded(_numpy(values.replace_strict(levels, places)), levels)
    probe = values.head(_PROBE).rle_id()
    if len(probe) and 8 * (probe[-1] + 1) < len(probe):
        # Sorted or grouped, as annotations come: few runs stand for all rows.
        runs = values.rle().struct.unnest()
        if 8 * runs.height < len(values):
            return _code_runs(runs, known)
    return _code_sampled(values, known) or _code_names(values.cast(pl.Categorical), known)


def _code_sampled(values: pl.Series, known: pl.Series | None) -> Coded | None:
    """Code names if all of them occur among the first ones, as chromosomes do."""
    levels = values.head(16 * _PROBE).cast(pl.String).unique().sort()
    if values.dtype != pl.String or not 0 < len(levels) < _PROBE:
        return None
    codes = values.cast(pl.Enum(levels), strict=False)
    if codes.null_count():
        return None
    numbers = codes.to_physical()
    places = _places(levels, known)
    own = known is None or np.array_equal(places, np.arange(len(levels)))
    return Coded(_numpy(numbers) if own else places[numbers.to_numpy()], levels)


def _code_runs(runs: pl.DataFrame, known: pl.Series | None) -> Coded:
    """Code rows by the runs they lie in."""
    names = runs["value"].cast(pl.String)
    levels = names.unique().sort()
    places = names.replace_strict(levels, pl.Series(_places(levels, known)))
    return Coded(np.repeat(_numpy(places), runs["len"].to_numpy()), levels)


def _code_names(values: pl.Series, known: pl.Series | None) -> Coded:
    """Code names by way of the codes that polars gives them."""
    distinct = values.unique()
    names = distinct.cast(pl.String)
    levels = names.sort()
    places = names.replace_strict(levels, pl.Series(_places(levels, known)))
    table = np.zeros(int(distinct.to_physical().max() or 0) + 1, np.uint32)  # type: ignore[arg-type]
    table[distinct.to_physical().to_numpy()] = places.to_numpy()
    return Coded(table[values.to_physical().to_numpy()], levels)


def _code_whole_numbers(values: pl.Series, known: pl.Series | None) -> Coded:
    """Code whole numbers by a table where they are dense, as features are."""
    levels = values.unique().sort()
    places = _places(levels, known)
    low, high = (int(levels[0]), int(levels[-1])) if len(levels) else (0, 0)
    if low < 0 or high >= _DENSE:
        return Coded(_numpy(values.replace_strict(levels, pl.Series(places))), levels)
    if len(levels) == high + 1 and known is None:
        return Coded(_numpy(values), levels)
    table = np.zeros(high + 1, np.uint32)
    table[levels.to_numpy()] = places
    return Coded(table[values.to_numpy()], levels)


def _places(levels: pl.Series, known: pl.Series | None) -> Numbers:
    """Give the place of each level among those known."""
    if known is None:
        return np.arange(len(levels), dtype=np.uint32)
    numbers = {value: number for number, value in enumerate(known.to_list())}
    return np.array([numbers.get(value, _ELSEWHERE) for value in levels.to_list()], np.uint32)


def _numpy(values: pl.Series) -> Numbers:
    return np.ascontiguousarray(values.to_numpy(), dtype=np.uint32)

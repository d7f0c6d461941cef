"""Regions that a caller asks for: a frame, or tuples."""

from collections.abc import Iterable
from typing import TypeAlias

import polars as pl

Region: TypeAlias = tuple[str, int, int] | tuple[str, int, int, str]
Regions: TypeAlias = pl.DataFrame | Iterable[Region]

_COLUMNS = {"chrom": pl.String, "start": pl.Int64, "end": pl.Int64, "strand": pl.String}
_STRANDS = ("+", "-", ".")


def regions_frame(regions: Regions) -> pl.DataFrame:
    """Bring regions into a frame of chrom, start, end, strand.

    Parameters
    ----------
    regions
        Frame with columns chrom, start, end and, if wanted, strand; or tuples of the same.

    Raises
    ------
    ValueError
        If a column is missing, a field is empty, or a strand is none of ``+``, ``-``, ``.``.

    Examples
    --------
    >>> regions_frame([("chr1", 3, 9)]).row(0)
    ('chr1', 3, 9, '+')
    """
    if not isinstance(regions, pl.DataFrame):
        rows = [(*region, "+") if len(region) == 3 else region for region in regions]
        regions = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    has_strand = "strand" in regions.columns
    frame = regions if has_strand else regions.with_columns(strand=pl.lit("+"))
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"regions: missing columns {missing}, found {regions.columns}")
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in _COLUMNS.items())
    if frame.null_count().sum_horizontal().item():
        raise ValueError("regions must have no empty fields")
    if has_strand and not frame["strand"].is_in(_STRANDS).all():
        odd = sorted(set(frame["strand"].unique()) - set(_STRANDS))
        raise ValueError(f"strand must be one of {', '.join(_STRANDS)}, got {odd[0]!r}")
    return frame

"""Output tracks of a model: their names and assays, and measured ones to compare with."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError
from saers.checks import did_you_mean, existing_file, in_range

TARGETS = "targets"


def read_tracks(path: str | Path) -> pl.DataFrame:
    r"""Read names and assays of tracks from a tab-separated table, a row for each track.

    Parameters
    ----------
    path
        Columns ``name`` and ``assay``, or ``identifier`` and ``description`` as in Borzoi's
        targets.txt, where the assay stands before the first colon: ``CAGE:liver, adult``.

    Returns
    -------
    polars.DataFrame
        Columns ``name`` and ``assay``, in the order of the model's tracks.

    Raises
    ------
    FormatError
        If the table cannot be read or lacks these columns.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "targets.txt"
    >>> _ = path.write_text("identifier\tdescription\nENC1\tDNASE:K562\n")
    >>> read_tracks(path).row(0)
    ('ENC1', 'DNASE')
    """
    try:
        table = pl.read_csv(
            existing_file(path, what="tracks"), separator="\t", infer_schema_length=None
        )
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path}: {error}") from error
    if {"name", "assay"} <= set(table.columns):
        found = table.select("name", "assay")
    elif {"identifier", "description"} <= set(table.columns):
        assay = pl.col("description").cast(pl.String).str.split(":").list.first()
        found = table.select(pl.col("identifier").alias("name"), assay.alias("assay"))
    else:
        raise FormatError(
            f"{path}: columns name and assay, or identifier and description, are needed; "
            f"found {', '.join(table.columns)}"
        )
    return found.select(pl.all().cast(pl.String).fill_null(""))


def label(tracks: pl.DataFrame | None, n_tracks: int) -> dict[str, Any]:
    """Give every track of a model its ``name`` and ``assay``; without a table, its number.

    Raises
    ------
    ValueError
        If the table has not one row a track.

    Examples
    --------
    >>> label(None, 2)
    {'name': ['0', '1'], 'assay': ['', '']}
    """
    if tracks is None:
        return {"name": [str(i) for i in range(n_tracks)], "assay": [""] * n_tracks}
    if tracks.height != n_tracks:
        raise ValueError(f"tracks must have {n_tracks} rows, one a track, got {tracks.height}")
    return {"name": tracks["name"], "assay": tracks["assay"]}


def find(wanted: Sequence[str], tracks: pl.DataFrame | None) -> list[int]:
    """Find tracks by name or number; a name that several tracks bear finds them all.

    Raises
    ------
    ValueError
        If there is no such track; the nearest names are told.

    Examples
    --------
    >>> tracks = pl.DataFrame({"name": ["CNhs1+", "CNhs1-", "ENC1"], "assay": ["", "", ""]})
    >>> find(["ENC1", "0"], tracks)
    [0, 2]
    >>> find(["CNhs2+"], tracks)
    Traceback (most recent call last):
    ...
    ValueError: no track 'CNhs2+' among 3; did you mean 'CNhs1+' or 'CNhs1-'?
    """
    names = [] if tracks is None else tracks["name"].to_list()
    found: set[int] = set()
    for word in wanted:
        places = [place for place, name in enumerate(names) if name == word]
        if not places and word.isdecimal() and (not names or int(word) < len(names)):
            places = [int(word)]
        if not places:
            told = f" among {len(names)}" if names else "; give --tracks to name them"
            raise ValueError(f"no track {word!r}{told}{did_you_mean(word, names, most=3)}")
        found.update(places)
    return sorted(found)


def chosen(numbers: Sequence[int] | None, n_tracks: int) -> list[int]:
    """Resolve a choice of tracks; None is all of them.

    Examples
    --------
    >>> chosen([5], 3)
    Traceback (most recent call last):
    ...
    ValueError: track must lie in 0..2, got 5
    """
    if numbers is None:
        return list(range(n_tracks))
    for number in numbers:
        in_range("track", number, 0, n_tracks - 1)
    return list(numbers)


def read_targets(
    path: str | Path, windows: Sequence[int], batch_size: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Read measured tracks of windows, batch by batch.

    Parameters
    ----------
    path
        HDF5; dataset ``targets`` (window, track, bin), in the order of the run's windows.
    windows
        Numbers of the windows that are wanted.
    batch_size
        Windows in a batch.

    Yields
    ------
    (b, tracks, bins).

    Raises
    ------
    FormatError
        If the file has no such dataset, or not that many windows.
    """
    place = existing_file(path, what="targets")
    try:
        file = h5py.File(place, "r")
    except OSError as error:
        raise FormatError(f"{place}: not a readable HDF5 file: {error}") from error
    with closing(file):
        held = file.get(TARGETS)
        if not isinstance(held, h5py.Dataset) or held.ndim != 3:
            raise FormatError(f"{place}: a dataset {TARGETS!r} (window, track, bin) is needed")
        if max(windows, default=-1) >= len(held):
            raise FormatError(
                f"{place}: {TARGETS!r} holds {len(held)} windows, the run has window "
                f"{max(windows)}; a row for each window of windows.parquet is needed"
            )
        for first in range(0, len(windows), batch_size):
            rows = [held[window] for window in windows[first : first + batch_size]]
            yield np.stack(rows).astype(np.float32)

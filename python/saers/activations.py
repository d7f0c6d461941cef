"""Activations in HDF5 files: saers' own cache, and the files of SAE-Borzoi.

Both are read a few whole windows at a time. The cache holds, beside the activations, which
positions may be used and the table of windows, so that it is a source by itself. SAE-Borzoi
leaves the coordinates in a BED beside its files and says nothing about the layer.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, schema
from saers.hdf5 import MASK, Rows, open_file, read_ahead
from saers.layer import (
    ActivationBlock,
    ActivationSource,
    LayerInfo,
    check_finite,
    check_windows,
)

__all__ = [
    "ActivationBlock",
    "ActivationSource",
    "FileActivations",
    "LayerInfo",
    "open_activations",
    "open_sae_borzoi",
    "read_header",
]

DATASET = "activations"
DONE = "done"
WINDOW_TABLE = "windows"
LAYER_ATTRIBUTES = ("layer", "stride", "window_lo", "window_hi")

BORZOI_PAD = 163_840
"""Base pairs that Borzoi sees on each side of the 196,608 bp of a sequence in its BED."""

# stride -> (channels, window_lo, window_hi) of the convolutions that SAE-Borzoi captures.
_BORZOI_LAYERS = {
    2: (608, 11, 12),
    4: (736, 19, 22),
    8: (896, 35, 42),
    16: (1056, 67, 82),
    32: (1280, 131, 162),
}
_BORZOI_BED = "train_seqs.bed"
_BLOCK_BYTES = 64 * 2**20


class Row(NamedTuple):
    """Where the activations of one window lie."""

    file: Path
    dataset: str
    row: int


class FileActivations:
    """Activations that lie in HDF5 files; an `ActivationSource`.

    Parameters
    ----------
    rows
        For each window, where its activations lie.
    layer
        The layer.
    windows
        Table of windows (`schema.WINDOWS`), one row for each of ``rows``.
    """

    def __init__(self, rows: Sequence[Row], layer: LayerInfo, windows: pl.DataFrame) -> None:
        if not rows or len(rows) != windows.height:
            raise ValueError(f"rows must be one for each window, got {len(rows)}")
        self.layer = layer
        self.windows = schema.conform(windows, schema.WINDOWS, table="windows")
        self.n_positions = _shape(rows[0])[1]
        self._rows = list(rows)
        length = int((self.windows["end"] - self.windows["start"])[0])
        self._inside = layer.inside(self.n_positions, length)

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order.

        Raises
        ------
        FormatError
            If a file is damaged or holds NaN or infinite activations.
        """
        chosen = check_windows(windows, len(self._rows))
        step = max(1, _BLOCK_BYTES // (4 * self.n_positions * self.layer.channels))
        with _Files() as files:
            parts = (chosen[first : first + step] for first in range(0, len(chosen), step))
            yield from read_ahead(partial(self._block, files=files), parts)

    def _block(self, windows: npt.NDArray[np.int64], files: "_Files") -> ActivationBlock:
        """Read one block."""
        values = np.empty((len(windows), self.n_positions, self.layer.channels), np.float32)
        mask = np.empty(values.shape[:2], np.bool_)
        for i, window in enumerate(windows):
            place = self._rows[window]
            usable = files.read(place, values[i])
            mask[i] = self._inside if usable is None else usable
            check_finite(values[i : i + 1], windows[i : i + 1], where=str(place.file))
        return ActivationBlock(windows, values, mask)


def open_activations(
    path: str | Path, *, layer: LayerInfo | None = None, pad: int | None = None
) -> FileActivations:
    """Open a cache of saers, a folder that holds one, or a folder of SAE-Borzoi.

    Parameters
    ----------
    path
        An HDF5 file that `saers.capture.write_cache` wrote, a folder with one such file, or a
        folder with ``activations_*.h5`` and ``train_seqs.bed``.
    layer, pad
        For SAE-Borzoi's files only, see `open_sae_borzoi`.

    Raises
    ------
    FormatError
        If a file is damaged, unfinished or laid out differently.

    Examples
    --------
    >>> open_activations("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: activations: nothing at no-such-folder
    """
    found = Path(path)
    if not found.exists():
        raise FileNotFoundError(f"activations: nothing at {found}")
    if found.is_dir():
        if (found / _BORZOI_BED).is_file():
            return open_sae_borzoi(found, layer=layer, pad=pad)
        files = sorted(found.glob("*.h5"))
        if len(files) != 1:
            raise FormatError(
                f"{found}: neither {_BORZOI_BED} nor a single HDF5 file ({len(files)} found)"
            )
        found = files[0]
    return _open_cache(found)


def read_header(file: h5py.File) -> tuple[LayerInfo, pl.DataFrame]:
    """Read the layer and the table of windows of a cache.

    Raises
    ------
    FormatError
        If the file lacks them.
    """
    dataset = _dataset(file, DATASET)
    lacking = [name for name in LAYER_ATTRIBUTES if name not in file.attrs]
    if lacking or WINDOW_TABLE not in file:
        lacking += [] if WINDOW_TABLE in file else [f"table {WINDOW_TABLE!r}"]
        raise FormatError(
            f"{file.filename}: no cache of saers, it lacks {', '.join(lacking)}; SAE-Borzoi's "
            f"files are opened by their folder, with {_BORZOI_BED} in it"
        )
    name = str(file.attrs["layer"])
    numbers = [int(file.attrs[key]) for key in LAYER_ATTRIBUTES[1:]]
    table = file[WINDOW_TABLE]
    windows = pl.DataFrame(
        {
            "window": np.arange(dataset.shape[0]),
            "chrom": table["chrom"].asstr()[:].tolist(),
            "start": table["start"][:],
            "end": table["end"][:],
            "split": table["split"].asstr()[:].tolist(),
        }
    )
    return LayerInfo(name, dataset.shape[2], *numbers), windows


def open_sae_borzoi(
    folder: str | Path, *, layer: LayerInfo | None = None, pad: int | None = None
) -> FileActivations:
    """Open the activation files of calico/sae-borzoi.

    ``activations_C.h5`` holds, in its first dataset (sequences, positions, channels), row
    ``inner_ind`` of each line of ``train_seqs.bed`` with ``chunk_ind`` C. Lines are sorted by
    chromosome and start to number the windows.

    Parameters
    ----------
    folder
        Folder with ``activations_*.h5`` and ``train_seqs.bed`` (tab-separated; a header with
        ``0`` or ``chrom``, ``1`` or ``start``, ``2`` or ``end``, chunk_ind, inner_ind).
    layer
        The layer, which the files do not tell. Left out, it is one of Borzoi's convolutions,
        known by its stride and channels.
    pad
        Base pairs on both sides of the BED's intervals that the model saw too. Left out, it is
        163,840 where the intervals are Borzoi's 196,608 bp, else 0.

    Raises
    ------
    FormatError
        If a file is missing or damaged, a row lies outside its file, or the lengths disagree.
    """
    bed = Path(folder) / _BORZOI_BED
    table = _read_borzoi_bed(bed)
    lengths = (table["end"] - table["start"]).unique().to_list()
    if len(lengths) != 1:
        raise FormatError(f"{bed}: intervals of different lengths {sorted(lengths)[:4]}")
    if pad is None:
        pad = BORZOI_PAD if lengths[0] == 196_608 else 0
    rows = _borzoi_rows(Path(folder), table, bed)
    _, positions, channels = _shape(rows[0])
    length = lengths[0] + 2 * pad
    if layer is None:
        layer = _borzoi_layer(length, positions, channels, bed)
    if layer.channels != channels:
        raise FormatError(f"{rows[0].file}: {channels} channels, layer has {layer.channels}")
    windows = table.select(
        pl.int_range(pl.len()).alias("window"),
        "chrom",
        pl.col("start") - pad,
        pl.col("end") + pad,
        pl.lit("train").alias("split"),
    )
    return FileActivations(rows, layer, windows)


def _read_borzoi_bed(bed: Path) -> pl.DataFrame:
    """Read chrom, start, end, chunk_ind, inner_ind and line, sorted by place."""
    try:
        table = pl.read_csv(bed, separator="\t")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{bed}: {error}") from error
    table = table.rename({"0": "chrom", "1": "start", "2": "end"}, strict=False)
    needed = ["chrom", "start", "end", "chunk_ind", "inner_ind"]
    lacking = [name for name in needed if name not in table.columns]
    if lacking or table.is_empty():
        raise FormatError(f"{bed}: lacks {', '.join(lacking) or 'rows'}, has {table.columns}")
    numbers = pl.col(needed[1:]).cast(pl.Int64)
    try:
        table = table.select("chrom", numbers).with_row_index("line", offset=2)
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{bed}: {error}") from error
    return table.sort("chrom", "start", "end", "line")


def _borzoi_rows(folder: Path, table: pl.DataFrame, bed: Path) -> list[Row]:
    """Find the file and row of each line, and check that it is there."""
    known: dict[int, tuple[Path, str, tuple[int, int, int]]] = {}
    rows = []
    for line in table.iter_rows(named=True):
        chunk = line["chunk_ind"]
        if chunk not in known:
            file = folder / f"activations_{chunk}.h5"
            if not file.is_file():
                raise FormatError(f"{bed}: line {line['line']}: no file {file}")
            with open_file(file) as opened:
                dataset = _dataset(opened, None)
                known[chunk] = (file, dataset.name, dataset.shape)
        file, name, shape = known[chunk]
        first = next(iter(known.values()))
        if shape[1:] != first[2][1:]:
            raise FormatError(f"{file}: shape {shape}, but {first[0]} has {first[2]}")
        if not 0 <= line["inner_ind"] < shape[0]:
            raise FormatError(
                f"{bed}: line {line['line']}: inner_ind {line['inner_ind']} lies outside "
                f"{file} ({shape[0]} rows)"
            )
        rows.append(Row(file, name, line["inner_ind"]))
    return rows


def _borzoi_layer(length: int, positions: int, channels: int, bed: Path) -> LayerInfo:
    """Know one of Borzoi's convolutions by its stride and channels."""
    stride, rest = divmod(length, positions)
    expected, lo, hi = _BORZOI_LAYERS.get(stride, (0, 0, 0))
    if rest or channels != expected:
        raise FormatError(
            f"{bed}: {positions} positions and {channels} channels over {length} bp are none of "
            "Borzoi's conv1d_1..5; give the layer (and pad)"
        )
    return LayerInfo(f"conv1d_{stride.bit_length() - 1}", channels, stride, lo, hi)


def _open_cache(path: Path) -> FileActivations:
    """Open a finished cache of saers."""
    with open_file(path) as file:
        layer, windows = read_header(file)
        done = int(file[DONE][0]) if DONE in file else -1
    if done != windows.height:
        raise FormatError(f"{path}: unfinished, {done} of {windows.height} windows are written")
    rows = [Row(path, DATASET, row) for row in range(windows.height)]
    return FileActivations(rows, layer, windows)


class _Files:
    """Files that stay open while their rows are read."""

    def __init__(self) -> None:
        self._open: dict[tuple[Path, str], tuple[h5py.File, Rows]] = {}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for file, _rows in self._open.values():
            file.close()

    def read(self, place: Row, out: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_] | None:
        """Fill ``out`` (positions, channels) with a window; return its mask where there is one."""
        key = (place.file, place.dataset)
        if key not in self._open:
            file = open_file(place.file)
            self._open[key] = file, Rows(_dataset(file, place.dataset))
        file, rows = self._open[key]
        rows.read(place.row, 0, len(out), out)
        try:
            return file[MASK][place.row].astype(bool) if MASK in file else None
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{place.file}: row {place.row} of {MASK} cannot be read: {error}"
            ) from error


def _dataset(file: h5py.File, name: str | None) -> h5py.Dataset:
    """Find a dataset of activations by name, or the first of the file, and check its rank."""
    if name is None:
        name = next((key for key in file if isinstance(file[key], h5py.Dataset)), DATASET)
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise FormatError(f"{file.filename}: no dataset {name!r}, has {sorted(file)}")
    if found.ndim != 3 or found.dtype.kind != "f" or 0 in found.shape:
        raise FormatError(
            f"{file.filename}: dataset {name!r} must be floats of (windows, positions, "
            f"channels), got {found.dtype} of {found.shape}"
        )
    return found


def _shape(row: Row) -> tuple[int, int, int]:
    """Shape of the dataset in which a row lies."""
    with open_file(row.file) as file:
        windows, positions, channels = _dataset(file, row.dataset).shape
        return windows, positions, channels

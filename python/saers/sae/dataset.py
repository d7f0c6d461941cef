"""HDF5 files as sources: those that describe themselves, and bare datasets."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, hdf5, schema
from saers.activations import LAYER_ATTRIBUTES, open_activations
from saers.checks import did_you_mean
from saers.layer import ActivationBlock, ActivationSource, LayerInfo, check_windows

_ROWS_A_WINDOW = 4096  # a dataset without windows is read in stretches of this length
_BLOCK_BYTES = 64 * 2**20


def open_file(path: str | Path, layer: str | None = None) -> ActivationSource:
    """Open an activation file or folder; a file that tells no layer is read as bare numbers.

    Parameters
    ----------
    path
        The file or folder.
    layer
        Which layer: a dataset of the file, or of a folder the file that tells this layer.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    FormatError
        If it is no HDF5 file, or the dataset is not activations.
    ValueError
        If there is no such layer.
    """
    found = Path(path)
    if found.is_dir():
        return open_activations(found if layer is None else _file_of(found, layer))
    with hdf5.open_file(found) as file:
        told = all(name in file.attrs for name in LAYER_ATTRIBUTES)
        if told and layer in (None, str(file.attrs["layer"])):
            return open_activations(found)
        return DatasetBlocks(found, _activations(hdf5.find_dataset(file, layer)))


def _file_of(folder: Path, layer: str) -> Path:
    """Find the file of a folder that tells this layer."""
    layers = {}
    for path in sorted(folder.glob("*.h5")):
        with hdf5.open_file(path) as file:
            layers[str(file.attrs.get("layer", ""))] = path
    if layer not in layers:
        hint = did_you_mean(layer, layers)
        raise ValueError(f"{folder}: no file of layer {layer!r}, has {', '.join(layers)}{hint}")
    return layers[layer]


class DatasetBlocks:
    """A dataset of (rows, channels) or (windows, positions, channels) without coordinates.

    A dataset ``mask`` beside it, of all its dimensions but the last, tells the usable positions.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        self._path = path
        self._name = str(dataset.name)
        self._flat = dataset.ndim == 2
        self._rows = int(dataset.shape[0])
        self._mask = _mask(dataset)
        self.layer = LayerInfo(self._name.lstrip("/"), int(dataset.shape[-1]), 1, 0, 0)
        self.n_positions = min(_ROWS_A_WINDOW, self._rows) if self._flat else dataset.shape[1]
        count = -(-self._rows // self.n_positions) if self._flat else self._rows
        windows = pl.DataFrame({"window": np.arange(count)}).with_columns(
            chrom=pl.lit(""),
            start=pl.lit(0),
            end=pl.lit(self.n_positions),
            split=pl.lit("train"),
        )
        self.windows = schema.conform(windows, schema.WINDOWS, table="windows")

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order."""
        chosen = check_windows(windows, self.windows.height)
        step = max(1, _BLOCK_BYTES // (4 * self.n_positions * self.layer.channels))
        with hdf5.open_file(self._path) as file:
            rows = hdf5.Rows(file[self._name])
            parts = (chosen[first : first + step] for first in range(0, len(chosen), step))
            yield from hdf5.read_ahead(partial(self._block, rows), parts)

    def _block(self, rows: hdf5.Rows, windows: npt.NDArray[np.int64]) -> ActivationBlock:
        values = np.zeros((len(windows), self.n_positions, self.layer.channels), np.float32)
        mask = np.zeros(values.shape[:2], np.bool_)
        for i, window in enumerate(windows.tolist()):
            if self._flat:
                first = window * self.n_positions
                last = min(first + self.n_positions, self._rows)
                rows.read(0, first, last, values[i, : last - first])
                mask[i, : last - first] = True if self._mask is None else self._mask[first:last]
            else:
                rows.read(window, 0, self.n_positions, values[i])
                mask[i] = True if self._mask is None else self._mask[window]
        return ActivationBlock(windows, values, mask)


def _mask(dataset: h5py.Dataset) -> npt.NDArray[np.bool_] | None:
    """Read which positions may be used, None for all."""
    found = dataset.parent.get(hdf5.MASK)
    if not isinstance(found, h5py.Dataset):
        return None
    if found.shape != dataset.shape[:-1]:
        raise FormatError(
            f"{dataset.file.filename}: dataset {found.name!r} must be of {dataset.shape[:-1]}, "
            f"as {dataset.name!r} is of {dataset.shape}; got {found.shape}"
        )
    mask: npt.NDArray[np.bool_] = found[()].astype(np.bool_)
    return mask


def _activations(item: h5py.Dataset) -> h5py.Dataset:
    """Require floats of rank 2 or 3."""
    if item.ndim not in (2, 3) or item.dtype.kind != "f" or 0 in item.shape:
        raise FormatError(
            f"{item.file.filename}: dataset {item.name!r} must be floats of (rows, channels) "
            f"or (windows, positions, channels), got {item.dtype} of {item.shape}"
        )
    return item

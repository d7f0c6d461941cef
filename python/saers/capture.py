"""Activations straight from a model, and the cache that keeps them.

`ModelActivations` runs the model while it is read and keeps nothing, so that a stage may read
it as often as it likes. `write_cache` keeps any source in one HDF5 file, window after window;
an interrupted file is taken up where it ended.
"""

import copy
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.activations import DATASET, DONE, LAYER_ATTRIBUTES, WINDOW_TABLE, read_header
from saers.checks import in_range, one_of
from saers.genome import Genome
from saers.hdf5 import MASK
from saers.layer import (
    ActivationBlock,
    ActivationSource,
    LayerInfo,
    check_finite,
    check_windows,
)
from saers.models.base import SequenceModel
from saers.progress import SILENT, Progress
from saers.windows import covered_bases, merged_runs

_CHUNK_BYTES = 2**20
_MOST_WINDOWS, _BATCH_BYTES = 16, 2**28
_FAR = 2**40


class ModelActivations:
    """The activations of a model's layer, computed while they are read; an `ActivationSource`.

    A position may be used unless what it has seen touches an N, the blacklist, or a place
    closer than ``edge`` bp to an end of the window. (A model that pads its input with zeros
    sees at the ends of a window what stands nowhere in the genome.)

    Parameters
    ----------
    model
        The model.
    layer
        Name of the layer.
    genome
        The genome.
    windows
        Table of windows (`schema.WINDOWS`).
    batch_size
        Windows in one forward pass; None: at most 16, and no more than 256 MB of the layer.
    device
        Where sequences are put before the model sees them; None leaves that to the model.
    blacklist
        Regions (chrom, start, end) whose positions are not used.
    edge
        Base pairs at both ends of a window that a usable position must not have seen.
    """

    def __init__(
        self,
        model: SequenceModel,
        layer: str,
        genome: Genome,
        windows: pl.DataFrame,
        *,
        batch_size: int | None = None,
        device: str | None = None,
        blacklist: pl.DataFrame | None = None,
        edge: int = 0,
    ) -> None:
        in_range("edge", edge, 0, 2**31)
        self.windows = schema.conform(windows, schema.WINDOWS, table="windows")
        self.layer: LayerInfo = model.layers[layer]
        self._model, self._genome = model, genome
        self._device = device
        self._length = _common_length(self.windows, model.input_length)
        # In the order in which the network reads it: no transposed copy has to be made.
        self._channels_first = bool(getattr(model, "channels_first", False))
        self.n_positions = self._count_positions()
        window = 4 * self.n_positions * self.layer.channels
        self.batch_size = batch_size or min(_MOST_WINDOWS, max(1, _BATCH_BYTES // window))
        in_range("batch_size", self.batch_size, 1, 2**20)
        where = self.layer.interval(np.arange(self.n_positions), 0)
        self._starts, self._ends = where[:, 0], where[:, 1]
        self._inside = (self._starts >= edge) & (self._ends <= self._length - edge)
        if not self._inside.any():
            raise ValueError(
                f"edge must leave usable positions: with {edge} bp, none of {self.n_positions} "
                f"positions sees only the inside of a window of {self._length} bp"
            )
        self._black = {} if blacklist is None else merged_runs(blacklist, genome)
        self._turned = False

    def reverse(self) -> "ModelActivations":
        """Read the reverse complement of every window instead; masks are turned accordingly."""
        other = copy.copy(self)
        other._turned = not self._turned
        # What position i saw, counted from the other end, in rising order again.
        other._starts = (self._length - self._ends)[::-1]
        other._ends = (self._length - self._starts)[::-1]
        other._inside = self._inside[::-1]
        return other

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order.

        Raises
        ------
        FormatError
            If the model gives NaN or infinite activations.
        """
        chosen = check_windows(windows, self.windows.height)
        most = min(len(chosen), self.batch_size)
        shape = (most, 4, self._length) if self._channels_first else (most, self._length, 4)
        batch = np.empty(shape, np.float32)
        for first in range(0, len(chosen), self.batch_size):
            numbers = chosen[first : first + self.batch_size]
            rows = self.windows[numbers]
            values = self._capture(self._sequences(rows, batch[: len(numbers)]))
            if np.may_share_memory(values, batch):  # a layer may hand its input on
                values = values.copy()
            check_finite(values, numbers, where=f"model, layer {self.layer.name!r}")
            mask = [self._usable(chrom, start) for chrom, start in rows["chrom", "start"].rows()]
            yield ActivationBlock(numbers, values, np.stack(mask))

    def _sequences(
        self, rows: pl.DataFrame, batch: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Fill a batch with the windows' sequences, and give it as (b, length, 4)."""
        self._genome.onehot(
            rows.select("chrom", "start", "end"),
            pad=True,
            channels_first=self._channels_first,
            out=batch,
        )
        if self._turned:  # the complement of A C G T is T G C A
            batch = np.ascontiguousarray(batch[:, ::-1, ::-1])
        return batch.swapaxes(1, 2) if self._channels_first else batch

    def _capture(self, onehot: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the model up to the layer."""
        import torch

        batch = torch.from_numpy(onehot)
        batch = batch if self._device is None else batch.to(self._device)
        return np.ascontiguousarray(self._model.capture(batch, self.layer.name).cpu().numpy())

    def _count_positions(self) -> int:
        """Ask the model, or run it where it cannot tell."""
        told = getattr(self._model, "n_positions", None)
        if told is not None:
            return int(told(self.layer.name, self._length))
        return int(self._capture(np.zeros((1, self._length, 4), np.float32)).shape[1])

    def _usable(self, chrom: str, start: int) -> npt.NDArray[np.bool_]:
        """Tell which positions of a window may be used."""
        size = self._genome.chromosomes[chrom]
        outside = np.array([[-_FAR, 0], [size, _FAR]])
        starts, ends = self._starts + start, self._ends + start
        usable = self._inside.copy()
        for runs in (outside, self._genome.n_runs(chrom), self._black.get(chrom, outside)):
            if covered_bases(runs, starts[:1], ends[-1:]).any():  # most windows are clean
                usable &= covered_bases(runs, starts, ends) == 0
        return usable[::-1] if self._turned else usable


def write_cache(
    source: ActivationSource,
    path: str | Path,
    *,
    dtype: Literal["float16", "float32"] = "float16",
    model: str = "",
    resume: bool = True,
    progress: Progress | None = None,
) -> None:
    """Write the activations of every window to an HDF5 file.

    Work goes on in ``PATH.part``, which takes its name when it is complete. An interrupted
    file, also one of a killed process, is continued after the last block that is whole, so
    that blocks, and therefore the numbers, are those of a run without interruption.

    Parameters
    ----------
    source
        The activations.
    path
        The file to write.
    dtype
        Type of the numbers in it.
    model
        Name of the model, kept in the file; a file of another model is not continued.
    resume
        Continue an interrupted file, and leave a complete one of the same layer, model and
        windows as it is. Otherwise begin anew.
    progress
        Is told of every window.

    Raises
    ------
    ValueError
        If an interrupted file was begun for something else, or float16 cannot hold a value.
    OSError
        If the disk is full; what is written is kept for the next attempt.
    """
    one_of("dtype", dtype, ("float16", "float32"))
    target, part = Path(path), Path(f"{path}.part")
    progress = progress or SILENT
    header = _header(source, dtype, model)
    if resume and target.is_file() and _difference(target, header, source) == "":
        return
    with _naming(part):
        if not (resume and part.is_file() and _can_continue(part, header, source, progress)):
            part.parent.mkdir(parents=True, exist_ok=True)
            _begin(part, header, source)
        _fill(part, source, progress)
        part.replace(target)


def _common_length(windows: pl.DataFrame, input_length: int | None) -> int:
    """Require windows of one length, the one that the model reads."""
    lengths = (windows["end"] - windows["start"]).unique().sort().to_list()
    if len(lengths) != 1:
        raise ValueError(f"windows must have one length, got {lengths[:4] or 'no windows'}")
    if input_length not in (None, lengths[0]):
        raise ValueError(
            f"windows must be {input_length} bp long, as the model's input, got {lengths[0]}"
        )
    return int(lengths[0])


def _header(source: ActivationSource, dtype: str, model: str) -> dict[str, str | int]:
    """List what a cache says about itself."""
    layer = source.layer
    values = (layer.name, layer.stride, layer.window_lo, layer.window_hi)
    return {**dict(zip(LAYER_ATTRIBUTES, values, strict=True)), "model": model, "dtype": dtype}


def _begin(part: Path, header: dict[str, str | int], source: ActivationSource) -> None:
    """Lay out a file in full, so that later writes change numbers only, never its structure."""
    shape = (source.windows.height, source.n_positions, source.layer.channels)
    dtype = np.dtype(str(header["dtype"]))
    needed, free = int(np.prod(shape)) * dtype.itemsize, shutil.disk_usage(part.parent).free
    if needed > free:
        raise OSError(
            errno.ENOSPC, f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        )
    rows = min(shape[1], max(1, _CHUNK_BYTES // (shape[2] * dtype.itemsize)))
    with h5py.File(part, "w") as file:
        file.attrs.update(header)
        _allocate(file, DATASET, shape, dtype, (1, rows, shape[2]))
        _allocate(file, MASK, shape[:2], np.dtype(bool), (1, shape[1]))
        table = file.create_group(WINDOW_TABLE)
        for name in ("chrom", "split"):
            table[name] = np.array(source.windows[name].to_list(), dtype=h5py.string_dtype())
        for name in ("start", "end"):
            table[name] = source.windows[name].to_numpy()
        file[DONE] = np.zeros(1, np.int64)


def _allocate(
    file: h5py.File,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    chunks: tuple[int, ...],
) -> None:
    """Make a chunked dataset whose chunks have their places from the start."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk(chunks)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # equal runs, equal files
    kind = h5py.h5t.py_create(dtype, logical=True)
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), layout)


def _fill(part: Path, source: ActivationSource, progress: Progress) -> None:
    """Write the windows that are not yet there, and count them once they are written.

    The bytes of a chunk go straight to their place: HDF5 itself does not survive a full disk.
    """
    total = source.windows.height
    with h5py.File(part, "r") as layout, part.open("r+b", buffering=0) as file:
        done = int(layout[DONE][0])
        progress.start("capture", total)
        progress.advance(done)
        for block in source.blocks(windows=range(done, total)):
            numbers = _cast(block, layout[DATASET].dtype)
            for row in range(len(numbers)):
                _put(file, layout[DATASET], done + row, numbers[row])
                _put(file, layout[MASK], done + row, block.mask[row])
            done += len(numbers)
            _write(file, layout[DONE].id.get_offset(), np.array([done], np.int64).tobytes())
            progress.advance(len(numbers))
        os.fsync(file.fileno())


def _put(file: BinaryIO, dataset: h5py.Dataset, row: int, values: npt.NDArray[Any]) -> None:
    """Write one row of a dataset, chunk by chunk."""
    step = dataset.chunks[1]
    chunk = np.zeros(dataset.chunks[1:], dataset.dtype)
    for first in range(0, len(values), step):
        part = values[first : first + step]
        chunk[: len(part)] = part
        place = (row, first) + (0,) * (dataset.ndim - 2)
        _write(file, dataset.id.get_chunk_info_by_coord(place).byte_offset, chunk.tobytes())


def _write(file: BinaryIO, offset: int, content: bytes) -> None:
    """Write all of the bytes at a place of a file."""
    view = memoryview(content)
    file.seek(offset)
    while view:
        view = view[file.write(view) :]


def _cast(block: ActivationBlock, dtype: np.dtype[Any]) -> npt.NDArray[np.floating[Any]]:
    """Bring activations into the type of the file, which must be able to hold them."""
    with np.errstate(over="ignore"):  # looked for below, by name
        numbers = block.values.astype(dtype)
    if dtype == np.float16 and not np.isfinite(numbers.max() - numbers.min()):
        _refuse_overflow(block, numbers)
    return numbers


def _refuse_overflow(block: ActivationBlock, numbers: npt.NDArray[np.floating[Any]]) -> None:
    """Name the first value that float16 cannot hold."""
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        row, position, channel = bad[0].tolist()
        raise ValueError(
            f"dtype must be float32: activation {block.values[row, position, channel]:g} in "
            f"window {block.windows[row]}, channel {channel} is too large for float16"
        )


def _difference(path: Path, header: dict[str, str | int], source: ActivationSource) -> str:
    """Say in what a cache differs from what would be written; empty where in nothing."""
    with h5py.File(path, "r") as file:
        for key, value in header.items():
            found = file.attrs.get(key)
            if found != value:
                return f"{key} {found}, not {value}"
        layer, windows = read_header(file)
        positions = file[DATASET].shape[1]
    if (layer, positions) != (source.layer, source.n_positions):
        return f"{layer.channels} channels at {positions} positions"
    return "" if windows.equals(source.windows) else "other windows"


def _can_continue(
    part: Path, header: dict[str, str | int], source: ActivationSource, progress: Progress
) -> bool:
    """Tell whether an interrupted file can be continued; one that cannot be read is not."""
    try:
        difference = _difference(part, header, source)
    except (OSError, KeyError, ValueError) as error:
        progress.say(f"{part} cannot be continued and is begun anew: {error}")
        return False
    if difference:
        raise ValueError(
            f"{part} was begun for something else ({difference}); delete it, or begin anew "
            "with resume=False"
        )
    return True


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name and the cause into errors of writing."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        full = "No space left" in str(error) or error.errno == errno.ENOSPC
        number = errno.ENOSPC if full else (error.errno or errno.EIO)
        reason = f"{os.strerror(number)} ({error})" if error.args else os.strerror(number)
        raise OSError(number, reason, str(path)) from error

"""The cache of activations: any source in one HDF5 file a layer, which no interruption spoils.

Activations are written as they come, in pieces of windows; a file that was interrupted, also by
the death of its process, is taken up after the last window that is whole.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from saers.activations import DATASET, DONE, LAYER_ATTRIBUTES, WINDOW_TABLE, read_header
from saers.capture import ModelActivations
from saers.checks import one_of
from saers.hdf5 import MASK
from saers.layer import ActivationSource, LayersSource, Tile, tiles_of
from saers.progress import SILENT, Progress

_CHUNK_BYTES = 2**20


Format = Literal["float16", "float32"]


def write_cache(
    source: ActivationSource,
    path: str | Path,
    *,
    dtype: Format = "float16",
    model: str = "",
    resume: bool = True,
    progress: Progress | None = None,
) -> None:
    """Write the activations of every window to an HDF5 file.

    Work goes on in ``PATH.part``, which takes its name when it is complete. An interrupted
    file, also one of a killed process, is continued after the last window that is whole. What
    the source gives piece by piece is written so: no window is held.

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
    name = source.layer.name
    options = _Options(dtype, model, resume, progress or SILENT)

    def tiles(windows: range, _: list[str]) -> Iterator[tuple[str, Tile]]:
        return ((name, tile) for tile in tiles_of(source, windows))

    _write_files({name: source}, {name: Path(path)}, tiles, options)


def write_caches(
    layers: LayersSource,
    folder: str | Path,
    *,
    dtype: Format = "float16",
    model: str = "",
    resume: bool = True,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Write several layers in one pass, each to ``FOLDER/LAYER.h5``.

    Each file is what `write_cache` writes of its layer. Those that are complete are left as
    they are; the others go on together, from the first window that one of them lacks.

    Parameters
    ----------
    layers
        The layers.
    folder
        Where the files shall lie.
    dtype, model, resume, progress
        As for `write_cache`.

    Returns
    -------
    dict
        Layer -> file.
    """
    paths = {name: Path(folder) / f"{name.replace('/', '_')}.h5" for name in layers.sources}
    options = _Options(dtype, model, resume, progress or SILENT)

    def tiles(windows: range, wanted: list[str]) -> Iterator[tuple[str, Tile]]:
        return layers.tiles(windows=windows, layers=wanted)

    _write_files(layers.sources, paths, tiles, options)
    return paths


class _Options(NamedTuple):
    dtype: Format
    model: str
    resume: bool
    progress: Progress


def _write_files(
    sources: Mapping[str, ActivationSource],
    paths: Mapping[str, Path],
    tiles: Callable[[range, list[str]], Iterator[tuple[str, Tile]]],
    options: _Options,
) -> None:
    """Bring files to their end in one pass."""
    one_of("dtype", options.dtype, ("float16", "float32"))
    with ExitStack() as stack:
        files: dict[str, _File] = {}
        for name, source in sources.items():
            header = _header(source, options.dtype, options.model)
            target, part = paths[name], Path(f"{paths[name]}.part")
            if options.resume and target.is_file() and not _difference(target, header, source):
                continue
            stack.enter_context(_naming(part))
            _prepare(part, header, source, options)
            files[name] = stack.enter_context(closing(_File(part, source)))
        if files:
            total = next(iter(sources.values())).windows.height
            done = min(file.done for file in files.values())
            options.progress.start("capture", total)
            options.progress.advance(done)
            for name, tile in tiles(range(done, total), list(files)):
                files[name].put(tile)
                reached = min(file.done for file in files.values())
                options.progress.advance(max(0, reached - done))
                done = max(done, reached)
            for name, file in files.items():
                file.finish(paths[name])


def _prepare(
    part: Path, header: dict[str, str | int], source: ActivationSource, options: _Options
) -> None:
    """Begin an interrupted file anew unless it can be continued."""
    if options.resume and part.is_file() and _can_continue(part, header, source, options.progress):
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    _begin(part, header, source)


class _File:
    """A file whose windows are written one after the other, and counted when they are whole.

    Bytes go straight to their place: HDF5 itself does not survive a full disk.
    """

    def __init__(self, part: Path, source: ActivationSource) -> None:
        self._part, self._n_positions = part, source.n_positions
        self._layout = h5py.File(part, "r")
        self._bytes = part.open("r+b", buffering=0)
        self.done = int(self._layout[DONE][0])

    def put(self, tile: Tile) -> None:
        """Write a tile; windows that are there already keep their numbers."""
        values = _cast(tile, self._layout[DATASET].dtype)
        mask = np.ones(values.shape[:2], np.bool_) if tile.mask is None else tile.mask
        for row, window in enumerate(tile.windows.tolist()):
            self._put(self._layout[DATASET], window, tile.first_position, values[row])
            self._put(self._layout[MASK], window, tile.first_position, mask[row])
        if tile.first_position + values.shape[1] == self._n_positions:
            self.done = max(self.done, int(tile.windows[-1]) + 1)
            count = np.array([self.done], np.int64)
            _write(self._bytes, self._layout[DONE].id.get_offset(), count)

    def _put(
        self, dataset: h5py.Dataset, window: int, first: int, values: npt.NDArray[Any]
    ) -> None:
        """Write consecutive positions of a window, which may begin and end within chunks."""
        step, size = dataset.chunks[1], values[:1].nbytes
        last = first + len(values)
        for chunk in range(first // step * step, last, step):
            low, high = max(first, chunk), min(last, chunk + step)
            place = (window, chunk) + (0,) * (dataset.ndim - 2)
            offset = dataset.id.get_chunk_info_by_coord(place).byte_offset + (low - chunk) * size
            _write(self._bytes, offset, values[low - first : high - first])

    def finish(self, target: Path) -> None:
        """Give the file its name."""
        os.fsync(self._bytes.fileno())
        self.close()
        self._part.replace(target)

    def close(self) -> None:
        """Close the file; more of it can be written another time."""
        self._layout.close()
        self._bytes.close()


def _header(source: ActivationSource, dtype: str, model: str) -> dict[str, str | int]:
    """List what a cache says about itself."""
    layer = source.layer
    values = (layer.name, layer.stride, layer.window_lo, layer.window_hi)
    precision = source.precision if isinstance(source, ModelActivations) else "float32"
    own = {"model": model, "dtype": dtype, "precision": precision}
    return {**dict(zip(LAYER_ATTRIBUTES, values, strict=True)), **own}


def _accuracy(source: ActivationSource) -> dict[str, float]:
    """Tell how far a computation in half precision lies from float32, for the file."""
    if not isinstance(source, ModelActivations) or source.precision == "float32":
        return {}
    return {f"error_{name}": value for name, value in source.precision_error().items()}


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
        file.attrs.update(header | _accuracy(source))
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


def _write(file: BinaryIO, offset: int, content: npt.NDArray[Any]) -> None:
    """Write all bytes of an array at a place of a file."""
    view = np.ascontiguousarray(content).data.cast("B")
    file.seek(offset)
    while view:
        view = view[file.write(view) :]


def _cast(tile: Tile, dtype: np.dtype[Any]) -> npt.NDArray[np.floating[Any]]:
    """Bring activations into the type of the file, which must be able to hold them."""
    with np.errstate(over="ignore"):  # looked for below, by name
        numbers = tile.values.astype(dtype)
    if dtype == np.float16 and not np.isfinite(numbers.max() - numbers.min()):
        _refuse_overflow(tile, numbers)
    return numbers


def _refuse_overflow(tile: Tile, numbers: npt.NDArray[np.floating[Any]]) -> None:
    """Name the first value that float16 cannot hold."""
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        row, position, channel = bad[0].tolist()
        raise ValueError(
            f"dtype must be float32: activation {tile.values[row, position, channel]:g} in "
            f"window {tile.windows[row]}, channel {channel} is too large for float16"
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

"""Activations straight from a model, computed while they are read.

`ModelActivations` is one layer, `ModelLayers` several of them from one pass. Neither keeps
anything, so that a stage may read it as often as it likes; a model that gives its layers piece by
piece (`models.base.PiecewiseModel`) is never asked for a whole window at once.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.checks import in_range, one_of
from saers.genome import Genome
from saers.layer import (
    ActivationBlock,
    LayerInfo,
    StreamedSource,
    Tile,
    check_finite,
    check_windows,
)
from saers.meters import Throughput, difference
from saers.models.base import Piece, PiecewiseModel, SequenceModel
from saers.windows import common_length, covered_bases, in_parts, merged_runs

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS = ("float32", "bfloat16", "float16")

_MOST_WINDOWS, _BATCH_BYTES = 16, 2**28
_FAR = 2**40


class ModelActivations:
    """The activations of a model's layer, computed while they are read; a `StreamedSource`.

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
        Table of windows that the model sees (`schema.WINDOWS`).
    batch_size
        Windows in one forward pass; None: at most 16, and no more than 256 MB of the layer.
    device
        Where sequences are put before the model sees them; None leaves that to the model.
    blacklist
        Regions (chrom, start, end) whose positions are not used.
    edge
        Base pairs at both ends of a window that a usable position must not have seen.
    crop
        Base pairs at both ends of a window whose positions are not read.
    parts
        Parts into which the positions of a window are divided. Each part is a window of the
        source: the attribute ``windows`` tells where it lies, and a model that can
        (`PiecewiseModel`) computes no more than is read of it.
    precision
        Of the computation; activations come in float32 all the same. See `precision_error`.

    Attributes
    ----------
    windows
        Table of the windows, or parts of windows, that are read.
    throughput
        What was read so far.
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
        crop: int = 0,
        parts: int = 1,
        precision: Precision = "float32",
    ) -> None:
        in_range("edge", edge, 0, 2**31)
        one_of("precision", precision, PRECISIONS)
        self._inputs = schema.conform(windows, schema.WINDOWS, table="windows")
        self._model, self._genome, self._device = model, genome, device
        self._length = common_length(self._inputs)
        if model.input_length not in (None, self._length):
            raise ValueError(
                f"windows must be {model.input_length} bp long, as the model's input, "
                f"got {self._length}"
            )
        self.windows = in_parts(self._inputs, crop=crop, parts=parts)
        self._edge, self._crop, self._parts = edge, crop, parts
        self._part = common_length(self.windows)
        # In the order in which the network reads it: no transposed copy has to be made.
        self._channels_first = bool(getattr(model, "channels_first", False))
        self._wanted_batch = batch_size
        self._black = {} if blacklist is None else merged_runs(blacklist, genome)
        self._turned = False
        self.precision: Precision = precision
        self.throughput = Throughput()
        self._error: dict[str, float] | None = None
        self._lay_out(layer)

    def at(self, layer: str) -> "ModelActivations":
        """Read another layer over the same windows."""
        other = copy.copy(self)
        other._lay_out(layer)
        return other

    def reverse(self) -> "ModelActivations":
        """Read the reverse complement of every window instead; masks are turned accordingly."""
        other = copy.copy(self)
        other._turned = not self._turned
        return other

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order.

        Raises
        ------
        FormatError
            If the model gives NaN or infinite activations.
        """
        block: ActivationBlock | None = None
        for numbers, first, values, mask in self.tiles(windows=windows):
            last = first + values.shape[1]
            usable = np.ones(values.shape[:2], np.bool_) if mask is None else mask
            if values.shape[1] == self.n_positions:
                yield ActivationBlock(numbers, values, usable)
                continue
            if block is None:
                shape = (len(numbers), self.n_positions)
                whole = np.empty((*shape, self.layer.channels), np.float32)
                block = ActivationBlock(numbers, whole, np.empty(shape, np.bool_))
            block.values[:, first:last], block.mask[:, first:last] = values, usable
            if last == self.n_positions:
                yield block
                block = None

    def tiles(self, *, windows: Sequence[int] | None = None) -> Iterator[Tile]:
        """Yield what `blocks` yields as the model makes it, and hold nothing else.

        Raises
        ------
        FormatError
            If the model gives NaN or infinite activations.
        """
        for _, tile in _read({self.layer.name: self}, windows):
            yield tile

    def mask(self, window: int) -> npt.NDArray[np.bool_]:
        """Tell which positions of a window may be used, (positions,)."""
        number, _, cut = self._place(window)
        chrom, first = self._inputs["chrom", "start"].row(number)
        starts, ends, usable = self._starts[cut], self._ends[cut], self._inside[cut].copy()
        if self._turned:  # what a position saw, counted from the other end
            starts, ends = self._length - ends, self._length - starts
        starts, ends = starts + first, ends + first
        outside = np.array([[-_FAR, 0], [self._genome.chromosomes[chrom], _FAR]])
        around = np.array([starts.min()]), np.array([ends.max()])
        for runs in (outside, self._genome.n_runs(chrom), self._black.get(chrom, outside)):
            if covered_bases(runs, *around).any():  # most windows are clean
                usable &= covered_bases(runs, starts, ends) == 0
        return usable

    def precision_error(self) -> dict[str, float]:
        """Compare the first window with what float32 gives (`saers.meters.difference`)."""
        if self._error is None:
            here, exact = copy.copy(self), copy.copy(self)
            exact.precision = "float32"
            here.throughput = exact.throughput = Throughput()
            self._error = difference(here.tiles(windows=[0]), exact.tiles(windows=[0]))
        return self._error

    def _lay_out(self, layer: str) -> None:
        """Find out where the positions of a layer lie in a window."""
        self.layer: LayerInfo = self._model.layers[layer]
        self._error = None
        whole = self._count_positions()
        self._first, self.n_positions = 0, whole
        if (self._crop, self._parts) != (0, 1):
            stride = self.layer.stride
            if whole * stride != self._length or self._crop % stride or self._part % stride:
                raise ValueError(
                    f"crop and parts must cut layer {layer!r} between positions, {stride} bp "
                    f"from each other and {whole} in {self._length} bp; got crop = {self._crop}, "
                    f"parts = {self._parts}, which makes parts of {self._part} bp"
                )
            self._first, self.n_positions = self._crop // stride, self._part // stride
        window = 4 * self.n_positions * self.layer.channels
        fitting = min(_MOST_WINDOWS, max(1, _BATCH_BYTES // window))
        self.batch_size = self._wanted_batch or fitting
        in_range("batch_size", self.batch_size, 1, 2**20)
        where = self.layer.interval(np.arange(whole), 0)
        self._starts, self._ends = where[:, 0], where[:, 1]
        self._inside = (self._starts >= self._edge) & (self._ends <= self._length - self._edge)
        read = self._inside[self._first : self._first + self._parts * self.n_positions]
        if not read.any():
            raise ValueError(
                f"edge must leave usable positions: with {self._edge} bp, none of {len(read)} "
                f"positions sees only the inside of a window of {self._length} bp"
            )

    def _count_positions(self) -> int:
        """Ask the model, or run it where it cannot tell."""
        told = getattr(self._model, "n_positions", None)
        if told is not None:
            return int(told(self.layer.name, self._length))
        empty = self._put(np.zeros((1, self._length, 4), np.float32))
        return int(self._model.capture(empty, self.layer.name).shape[1])

    def _place(self, row: int) -> tuple[int, int, slice]:
        """Find the window of a row, its part as the model reads it, and that part's positions."""
        number, part = divmod(row, self._parts)
        part = self._parts - 1 - part if self._turned else part
        first = self._first + part * self.n_positions
        return number, part, slice(first, first + self.n_positions)

    def _tile(
        self, piece: Piece, rows: npt.NDArray[np.int64], masks: Mapping[int, npt.NDArray[np.bool_]]
    ) -> Tile:
        """Give a piece its numbers and its mask."""
        part, first = divmod(piece.first - self._first, self.n_positions)
        if self._parts > 1:
            part = self._parts - 1 - part if self._turned else part
            rows = rows[:1] // self._parts * self._parts + part
        values = np.ascontiguousarray(piece.values.cpu().numpy())
        where = f"model, layer {self.layer.name!r}"
        check_finite(values, rows, where=where, first_position=first)
        last = first + values.shape[1]
        mask = np.stack([masks[row][first:last] for row in rows.tolist()])
        return Tile(rows, first, values, mask)

    def _sequences(
        self, rows: npt.NDArray[np.int64], batch: npt.NDArray[np.float32]
    ) -> "torch.Tensor":
        """Fill a batch with the windows' sequences, and give it as (b, length, 4)."""
        numbers = np.unique(rows // self._parts) if self._parts > 1 else rows
        batch = batch[: len(numbers)]
        self._genome.onehot(
            self._inputs[numbers].select("chrom", "start", "end"),
            pad=True,
            channels_first=self._channels_first,
            out=batch,
        )
        if self._turned:  # the complement of A C G T is T G C A
            batch = np.ascontiguousarray(batch[:, ::-1, ::-1])
        return self._put(batch.swapaxes(1, 2) if self._channels_first else batch)

    def _put(self, onehot: npt.NDArray[np.float32]) -> "torch.Tensor":
        import torch

        batch = torch.from_numpy(onehot)
        return batch if self._device is None else batch.to(self._device)

    def _passes(
        self, chosen: npt.NDArray[np.int64], batch_size: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Group rows into those of one forward pass: several windows, or parts of one."""
        if self._parts > 1:
            changes = np.flatnonzero(np.diff(chosen // self._parts)) + 1
            yield from np.split(chosen, changes) if len(chosen) else []
            return
        for first in range(0, len(chosen), batch_size):
            yield chosen[first : first + batch_size]

    def _autocast(self) -> AbstractContextManager[object]:
        """Compute in the precision that is wanted."""
        import torch

        if self.precision == "float32":
            return nullcontext()
        module = getattr(self._model, "module", None)
        example = None if module is None else next(module.parameters(), None)
        device = torch.device(self._device or "cpu") if example is None else example.device
        return torch.autocast(device.type, getattr(torch, self.precision))


class ModelLayers:
    r"""Several layers of one model over the same windows; a `LayersSource`.

    Parameters
    ----------
    source
        One of the layers, or any other of the model: windows and all options are taken from it.
    layers
        The layers.

    Examples
    --------
    >>> import torch
    >>> from saers.models.module import ModuleModel
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGTACGT\n")
    >>> model = ModuleModel(torch.nn.Sequential(torch.nn.Conv1d(4, 3, 1), torch.nn.ReLU()))
    >>> windows = pl.DataFrame(
    ...     {"window": [0], "chrom": ["chr1"], "start": [0], "end": [8], "split": ["train"]}
    ... )
    >>> both = ModelLayers(ModelActivations(model, "0", Genome(path), windows), ["0", "1"])
    >>> [(layer, tile.values.shape) for layer, tile in both.tiles()]
    [('0', (1, 8, 3)), ('1', (1, 8, 3))]
    """

    def __init__(self, source: ModelActivations, layers: Sequence[str]) -> None:
        made = [source.at(layer) for layer in layers]
        self._sources = {one.layer.name: one for one in made}
        if not made or len(self._sources) < len(made):
            raise ValueError(f"layers must be one or more, each once, got {', '.join(layers)}")

    @property
    def sources(self) -> Mapping[str, StreamedSource]:
        """Each layer by itself, by its name."""
        return self._sources

    @property
    def throughput(self) -> Throughput:
        """What was read so far."""
        return next(iter(self._sources.values())).throughput

    def tiles(
        self, *, windows: Sequence[int] | None = None, layers: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Tile]]:
        """Yield (layer, tile), of each layer what its own source yields, in that order."""
        chosen = list(self._sources) if layers is None else layers
        return _read({layer: self._sources[layer] for layer in chosen}, windows)


def _read(
    sources: Mapping[str, ModelActivations], windows: Sequence[int] | None
) -> Iterator[tuple[str, Tile]]:
    """Run the model over windows, and yield the tiles of its layers."""
    head = next(iter(sources.values()))
    chosen = check_windows(windows, head.windows.height)
    batch_size = min(source.batch_size for source in sources.values())
    most = min(len(chosen), batch_size) if head._parts == 1 else 1
    shape = (most, 4, head._length) if head._channels_first else (most, head._length, 4)
    batch = np.empty(shape, np.float32)
    for rows in head._passes(chosen, batch_size):
        with head.throughput.timed():
            onehot = head._sequences(rows, batch)
            masks = {
                name: {row: source.mask(row) for row in rows.tolist()}
                for name, source in sources.items()
            }
        pieces = _pieces(sources, onehot, rows)
        while True:
            with head.throughput.timed(), head._autocast():
                piece = next(pieces, None)
            if piece is None:
                break
            tile = sources[piece.layer]._tile(piece, rows, masks[piece.layer])
            if np.may_share_memory(tile.values, batch):  # a layer may hand its input on
                tile = tile._replace(values=tile.values.copy())
            head.throughput.count(tile.values)
            yield piece.layer, tile
        head.throughput.bases += len(rows) * head._part


def _pieces(
    sources: Mapping[str, ModelActivations], onehot: "torch.Tensor", rows: npt.NDArray[np.int64]
) -> Iterator[Piece]:
    """Compute layers in one pass where the model can, else one after the other."""
    head = next(iter(sources.values()))
    parts = [head._place(row)[1] for row in rows.tolist()] if head._parts > 1 else [0]
    if isinstance(head._model, PiecewiseModel):
        starts = [head._crop + part * head._part for part in parts]
        spans = [(start, start + head._part) for start in starts]
        yield from head._model.pieces(onehot, list(sources), spans)
        return
    together = getattr(head._model, "capture_layers", None)
    found = together(onehot, list(sources)) if together and len(sources) > 1 else {}
    for layer, source in sources.items():
        values = found[layer] if found else head._model.capture(onehot, layer)
        for part in parts:
            first = source._first + part * source.n_positions
            yield Piece(layer, first, values[:, first : first + source.n_positions])

"""Activations of a language model's tokens, which lie at other places in every window.

Everywhere else a position's place follows from its number; a token's follows from the letters
before it. The model's ``places`` tells it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.checks import in_range
from saers.genome import Genome
from saers.layer import ActivationBlock, LayerInfo, check_finite, check_windows
from saers.models.base import SequenceModel
from saers.windows import common_length, covered_bases, merged_runs

if TYPE_CHECKING:
    import torch

_MOST_BASES = 2**14  # of one forward pass


class TokenActivations:
    """The activations of a layer of tokens, computed while they are read.

    An `ActivationSource`. A position may be used if it is a token of its window that holds no N
    and nothing of the blacklist, and lies ``edge`` bp from both ends.

    Parameters
    ----------
    model
        A model with ``places``.
    layer
        Name of the layer.
    genome
        The genome.
    windows
        Table of windows (`schema.WINDOWS`), of one length.
    batch_size
        Windows in one forward pass; None: of 16,384 bp together.
    blacklist
        Regions (chrom, start, end) whose positions are not used.
    edge
        Base pairs at both ends of a window without usable positions.
    """

    def __init__(
        self,
        model: SequenceModel,
        layer: str,
        genome: Genome,
        windows: pl.DataFrame,
        *,
        batch_size: int | None = None,
        blacklist: pl.DataFrame | None = None,
        edge: int = 0,
    ) -> None:
        in_range("edge", edge, 0, 2**31)
        self.windows = schema.conform(windows, schema.WINDOWS, table="windows")
        self.layer: LayerInfo = model.layers[layer]
        self._model = cast(Any, model)  # of the protocol's models only some have places
        self._genome, self._length, self._edge = genome, common_length(self.windows), edge
        self.n_positions = int(self._model.n_positions(layer, self._length))
        self._batch_size = batch_size or max(1, _MOST_BASES // self._length)
        self._black = {} if blacklist is None else merged_runs(blacklist, genome)

    def blocks(self, *, windows: Sequence[int] | None = None) -> Iterator[ActivationBlock]:
        """Yield every window once, or those numbered ``windows``, in that order.

        Raises
        ------
        FormatError
            If the model gives NaN or infinite activations.
        """
        chosen = check_windows(windows, self.windows.height)
        for first in range(0, len(chosen), self._batch_size):
            numbers = chosen[first : first + self._batch_size]
            rows = self.windows[numbers]
            onehot = _onehot(self._genome, rows)
            values = self._model.capture(onehot, self.layer.name).cpu().numpy()
            check_finite(values, numbers, where=f"model, layer {self.layer.name!r}")
            places = self._model.places(onehot)
            found = zip(rows["chrom"], rows["start"], places, strict=True)
            mask = [self._usable(chrom, start, one) for chrom, start, one in found]
            yield ActivationBlock(numbers, values, np.stack(mask))

    def _usable(
        self, chrom: str, start: int, places: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Tell which positions of a window may be used."""
        first, last = places.T
        usable: npt.NDArray[np.bool_] = (
            (first >= self._edge) & (last <= self._length - self._edge) & (last > first)
        )
        outside = np.array([[self._genome.chromosomes[chrom], 2**40]])
        for runs in (outside, self._genome.n_runs(chrom), self._black.get(chrom)):
            if runs is not None:
                usable[usable] = covered_bases(runs, *(start + places[usable].T)) == 0
        return usable


def places_of(
    model: SequenceModel, genome: Genome, windows: pl.DataFrame, top: pl.DataFrame
) -> pl.DataFrame:
    """Look up the bases of the tokens that seqlets stand at.

    Parameters
    ----------
    model
        A model with ``places``.
    genome
        The genome.
    windows
        Table of windows (`schema.WINDOWS`).
    top
        Columns ``window`` and ``position`` (`schema.TOP_SEQLETS`).

    Returns
    -------
    polars.DataFrame
        Columns window, position, and start and end of the token, from the start of the window.
    """
    wanted = top.select("window", "position").unique().sort("window", "position")
    told = cast(Any, model)  # of the protocol's models only some have places
    parts = [pl.DataFrame(schema=dict.fromkeys(_PLACE, pl.Int64))]
    for (window,), group in wanted.partition_by("window", as_dict=True).items():
        row = windows.filter(pl.col("window") == window)
        places = told.places(_onehot(genome, row))[0]
        found = places[group["position"].to_numpy()]
        parts.append(group.with_columns(start=pl.Series(found[:, 0]), end=pl.Series(found[:, 1])))
    return pl.concat(parts)


_PLACE = ("window", "position", "start", "end")


def _onehot(genome: Genome, rows: pl.DataFrame) -> "torch.Tensor":
    import torch

    return torch.from_numpy(
        genome.onehot(rows.select("chrom", "start", "end"), np.float32, pad=True)
    )

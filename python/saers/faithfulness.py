"""Does a reconstruction carry what the model needs? Put it in the layer's place and look.

The model runs up to the layer once for each batch; from there it goes on with its own activations,
with the autoencoder's reconstruction, and with what ablation leaves: nothing, or the layer's mean
everywhere. What a reconstruction loses is measured in the outputs, track by track.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.checks import in_range
from saers.progress import SILENT, Progress
from saers.splicing import Splice, outputs_of
from saers.tracks import label

if TYPE_CHECKING:
    import torch

    from saers.sae.module import SAE

_TRACKS_AT_A_TIME = 256  # in double precision
_INTERVAL = (2.5, 97.5)
_MEASURES = [name for name, kind in schema.FAITHFULNESS.items() if kind == pl.Float64]

Sums = npt.NDArray[np.float64]


def measure(
    splice: Splice,
    sequences: Iterable["torch.Tensor"],
    *,
    zero: bool = True,
    mean: npt.ArrayLike | None = None,
    tracks: pl.DataFrame | None = None,
    targets: Iterable[npt.NDArray[np.floating[Any]]] | None = None,
    keep_error: bool = False,
    n_bootstrap: int = 200,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Compare a model's outputs with those that it gives from reconstructed activations.

    Parameters
    ----------
    splice
        The model, the autoencoder and its layer.
    sequences
        Batches (b, length, 4), one-hot. They should be held out from training.
    zero
        Whether zero-ablation is measured too.
    mean
        (channels,) the layer's mean, for mean-ablation; None: it is not measured.
    tracks
        Columns ``name`` and ``assay``, a row for each track; None: tracks are numbered.
    targets
        Measured tracks, an array (b, tracks, bins) for each batch of ``sequences``.
    keep_error
        Add back what the reconstruction misses: x̂ + (x - x̂). The outputs must then be the
        model's own but for rounding: a check of everything but the autoencoder.
    n_bootstrap
        Resamplings of the windows behind the intervals.
    seed
        Seed of the resampling.
    progress
        Hears of every window.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.FAITHFULNESS`, a row for each track. ``pearson`` and ``r_squared``
        compare the spliced outputs with the original ones over all bins of all windows;
        ``loss_recovered_zero`` is 1 - MSE(spliced) / MSE(zero-ablated), and so with the mean.
        Intervals are those of a Poisson bootstrap over windows.

    Raises
    ------
    ValueError
        If sizes do not fit.
    """
    import torch

    sae = splice.sae
    in_range("n_bootstrap", n_bootstrap, 0, 10_000)
    ablated = {"zero": torch.zeros(sae.channels)} if zero else {}
    if mean is not None:
        ablated["mean"] = _mean(mean, sae.channels)
    tally = _Tally(n_bootstrap, seed)
    measured = iter(targets) if targets is not None else None
    for onehot in sequences:
        with torch.no_grad():
            half = splice.halves(onehot)
            original = outputs_of(half.outputs(half.activations))
            tally.begin(original)
            spliced = half.outputs(_reconstructed(sae, half.activations, keep_error=keep_error))
            tally.add("spliced", original, spliced)
            for name, values in ablated.items():
                replaced = values.to(half.activations).expand_as(half.activations)
                tally.add(name, original, half.outputs(replaced))
            if measured is not None:
                target = _target(measured, original)
                tally.add("original_target", target, original)
                tally.add("spliced_target", target, spliced)
        progress.advance(len(onehot))
    return _table(tally, tracks)


def by_assay(table: pl.DataFrame) -> pl.DataFrame:
    """Summarise a table of tracks by assay: medians, and the lowest tenth.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.FAITHFULNESS_BY_ASSAY`, the assay with the most tracks first.

    Examples
    --------
    >>> rows = {name: [0.5, 0.9] for name in schema.FAITHFULNESS}
    >>> rows |= {"track": [0, 1], "name": ["a", "b"], "assay": ["CAGE", "CAGE"], "n": [9, 9]}
    >>> table = pl.DataFrame(rows)
    >>> by_assay(table).select("assay", "tracks", "pearson").row(0)
    ('CAGE', 2, 0.7)
    """
    medians = [name for name in schema.FAITHFULNESS_BY_ASSAY if name in _MEASURES]
    found = (
        table.group_by("assay")
        .agg(
            pl.len().alias("tracks"),
            pl.col(medians).median(),
            pl.col("pearson", "r_squared").quantile(0.1, "linear").name.suffix("_lowest_tenth"),
        )
        .sort("tracks", "assay", descending=[True, False])
    )
    return schema.conform(found, schema.FAITHFULNESS_BY_ASSAY, table="faithfulness by assay")


class _Tally:
    """Sums over the bins of pairs of outputs, for all windows and for resamplings of them."""

    def __init__(self, n_bootstrap: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._n_bootstrap = n_bootstrap
        self._shift: Any = None
        self._weights = np.empty((0, 0))
        self.n_bins = 0
        self.sums: dict[str, Sums] = {}

    def begin(self, original: "torch.Tensor") -> None:
        """Draw how often each window of a batch counts: row 0 is once, others as they fall."""
        if self._shift is None:  # sums of squares around it keep their digits
            self._shift = original.double().mean(dim=(0, 2))
        drawn = self._rng.poisson(1.0, (self._n_bootstrap, len(original)))
        self._weights = np.concatenate([np.ones((1, len(original))), drawn])
        self.n_bins += original.shape[0] * original.shape[2]

    def add(self, name: str, first: "torch.Tensor", second: "torch.Tensor") -> None:
        """Add up n, x, y, x², y², xy of each track: (resamplings, tracks, 6)."""
        if second.shape != first.shape:
            raise ValueError(
                f"outputs must have the shape {tuple(first.shape)}, got {tuple(second.shape)}"
            )
        parts = [self._add_up(*pair) for pair in _in_pieces(first, second, self._shift)]
        windows = np.concatenate(parts, axis=1)
        found = np.einsum("rw,wts->rts", self._weights, windows)
        self.sums[name] = self.sums[name] + found if name in self.sums else found

    @staticmethod
    def _add_up(x: "torch.Tensor", y: "torch.Tensor") -> Sums:
        import torch

        ones = torch.ones_like(x)
        columns = (ones, x, y, x * x, y * y, x * y)
        sums: Sums = torch.stack([column.sum(dim=2) for column in columns], dim=2).cpu().numpy()
        return sums


def _in_pieces(
    first: "torch.Tensor", second: "torch.Tensor", shift: "torch.Tensor"
) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    for start in range(0, first.shape[1], _TRACKS_AT_A_TIME):
        tracks = slice(start, start + _TRACKS_AT_A_TIME)
        around = shift[tracks, None]
        yield first[:, tracks].double() - around, second[:, tracks].double() - around


class _Agreement(NamedTuple):
    """(resamplings, tracks) each."""

    pearson: Sums
    r_squared: Sums
    squared_error: Sums


def _agreement(sums: Sums) -> _Agreement:
    """Turn sums into Pearson's r, R² around the first of the two, and the mean squared error."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        error = np.maximum(xx - 2 * xy + yy, 0.0)
        pearson = (xy - x * y / n) / np.sqrt(spread_x * spread_y)
        return _Agreement(np.clip(pearson, -1, 1), 1 - error / spread_x, error / n)


def _table(tally: _Tally, tracks: pl.DataFrame | None) -> pl.DataFrame:
    """Lay out one row a track."""
    if not tally.sums:
        raise ValueError("sequences must hold at least one batch, got none")
    found = {name: _agreement(sums) for name, sums in tally.sums.items()}
    spliced = found["spliced"]
    n_tracks = spliced.pearson.shape[1]
    columns: dict[str, Any] = {"track": np.arange(n_tracks), **label(tracks, n_tracks)}
    columns["n"] = np.full(n_tracks, tally.n_bins)
    columns |= _with_interval("pearson", spliced.pearson) | {"r_squared": spliced.r_squared[0]}
    for name in ("zero", "mean"):
        column = f"loss_recovered_{name}"
        if name in found:
            with np.errstate(divide="ignore", invalid="ignore"):
                recovered = 1 - spliced.squared_error / found[name].squared_error
            columns |= _with_interval(column, recovered)
        else:
            columns |= _with_interval(column, np.full((1, n_tracks), np.nan))
    for name in ("original", "spliced"):
        pair = found.get(f"{name}_target")
        missing = np.full(n_tracks, np.nan)
        columns[f"pearson_target_{name}"] = missing if pair is None else pair.pearson[0]
    table = pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))
    return schema.conform(table, schema.FAITHFULNESS, table="faithfulness")


def _with_interval(name: str, values: Sums) -> dict[str, Sums]:
    """Name a value and the interval of its resamplings."""
    missing = np.full(values.shape[1], np.nan)
    low, high = missing, missing
    if len(values) > 1:
        with np.errstate(invalid="ignore"):
            low, high = np.percentile(values[1:], _INTERVAL, axis=0)
    return {name: values[0], f"{name}_low": low, f"{name}_high": high}


def _reconstructed(sae: "SAE", activations: "torch.Tensor", *, keep_error: bool) -> "torch.Tensor":
    import torch

    out = torch.empty_like(activations)
    for window, values in zip(out, activations, strict=True):
        for start in range(0, len(values), _ROWS):
            rows = values[start : start + _ROWS].to(sae.W_dec)
            found = sae(rows)
            window[start : start + _ROWS] = found + (rows - found) if keep_error else found
    return out


_ROWS = 16_384  # positions reconstructed at a time


def _mean(mean: npt.ArrayLike, channels: int) -> "torch.Tensor":
    import torch

    found = torch.as_tensor(np.asarray(mean, np.float32))
    if found.shape != (channels,):
        raise ValueError(f"mean must be ({channels},), got {tuple(found.shape)}")
    return found


def _target(
    measured: Iterator[npt.NDArray[np.floating[Any]]], original: "torch.Tensor"
) -> "torch.Tensor":
    import torch

    target = next(measured, None)
    if target is None:
        raise ValueError("targets must hold an array for every batch of sequences, got fewer")
    return torch.as_tensor(np.asarray(target)).to(original)

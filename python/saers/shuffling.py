"""What a feature's seqlets do to the outputs: shuffle their middle, as SAE-Borzoi does."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.checks import in_range
from saers.models.base import SequenceModel
from saers.perturbation import interval_of_mean
from saers.progress import SILENT, Progress
from saers.splicing import outputs_of
from saers.tracks import label

if TYPE_CHECKING:
    import torch


def shuffle_effects(
    model: SequenceModel,
    features: Sequence[int],
    sequences: Iterable["torch.Tensor"],
    *,
    width: int = 3,
    n_samples: int = 3,
    tracks: pl.DataFrame | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Measure by how much each track moves when the middle of a feature's seqlets is shuffled.

    Parameters
    ----------
    model
        The whole model.
    features
        The feature of each sequence; sequences of one feature stand together.
    sequences
        Windows (1, length, 4) with a seqlet in the middle, one-hot.
    width
        Bases that are shuffled among themselves.
    n_samples
        Shuffles of each window.
    tracks
        Columns ``name`` and ``assay``, a row for each track; None: tracks are numbered.
    n_bootstrap
        Resamplings of the seqlets behind the intervals.
    seed
        Seed of shuffles and resamplings.
    progress
        Hears of every window.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.SHUFFLED`, by feature and track. ``log_d2``, which cannot be negative,
        is the Euclidean length over bins of log2(shuffled + 1) - log2(original + 1), mean over
        shuffles and seqlets.

    Raises
    ------
    ValueError
        If there are no sequences, or widths and numbers are out of range.
    """
    in_range("n_samples", n_samples, 1, 10_000)
    parts = []
    distances = _distances(model, sequences, width, n_samples, seed, progress)
    for feature, group in groupby(zip(features, distances, strict=True), key=lambda pair: pair[0]):
        moved = np.stack([distance for _, distance in group])
        low, high = interval_of_mean(moved, n_bootstrap, seed)
        columns = {
            "track": np.arange(moved.shape[1]),
            **label(tracks, moved.shape[1]),
            "log_d2": moved.mean(axis=0),
            "log_d2_low": low,
            "log_d2_high": high,
        }
        counted = {"feature": pl.lit(int(feature)), "n_seqlets": pl.lit(len(moved))}
        parts.append(pl.DataFrame(columns).with_columns(**counted))
    if not parts:
        raise ValueError("sequences must hold at least one window, got none")
    table = pl.concat(parts).with_columns(pl.selectors.float().fill_nan(None))
    return schema.conform(table, schema.SHUFFLED, table="shuffled").sort("feature", "track")


def _distances(
    model: SequenceModel,
    sequences: Iterable["torch.Tensor"],
    width: int,
    n_samples: int,
    seed: int,
    progress: Progress,
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield logD2 of each window, (tracks,)."""
    import torch

    rng = np.random.default_rng(seed)
    for onehot in sequences:
        in_range("width", width, 1, onehot.shape[1])
        first = (onehot.shape[1] - width) // 2
        middle = slice(first, first + width)
        with torch.no_grad():
            original = torch.log2(outputs_of(model(onehot)).double() + 1)
            moved = original.new_zeros(original.shape[1])
            for _ in range(n_samples):
                changed = onehot.clone()
                changed[:, middle] = changed[:, middle][:, rng.permutation(width)]
                distance = torch.log2(outputs_of(model(changed)).double() + 1) - original
                moved += distance.square().sum(dim=2).sqrt()[0]
        progress.advance()
        yield (moved / n_samples).cpu().numpy()

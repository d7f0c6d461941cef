"""Sparse codes: what they are, and the best seqlets among them."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import _core, schema

_PLACES = 8192  # whose features are compared with each other at a time


class Codes(NamedTuple):
    """Active features and their activations: tensors in a model, arrays in a file.

    Entries with an activation of 0 are padding, whatever their index.
    """

    indices: Any
    """Features, (n, k) or (windows, positions, k)."""
    values: Any
    """Activations, of the same shape."""


def combined(one: Codes, other: Codes, how: Literal["mean", "max"]) -> Codes:
    """Combine two codes of the same places, as of two strands, feature by feature.

    Parameters
    ----------
    one, other
        Arrays of (..., k), each feature at most once at a place.
    how
        "mean" of the two activations or the greater, "max"; a feature that one lacks is 0 there.

    Returns
    -------
    Codes
        (..., 2 k).

    Examples
    --------
    >>> one = Codes(np.array([[3, 7]]), np.array([[1.0, 4.0]], np.float32))
    >>> other = Codes(np.array([[7, 5]]), np.array([[2.0, 8.0]], np.float32))
    >>> combined(one, other, "mean")
    Codes(indices=array([[3, 7, 7, 5]]), values=array([[0.5, 3. , 0. , 4. ]], dtype=float32))
    """
    share = np.float32(0.5 if how == "mean" else 1)
    indices = np.concatenate([one.indices, other.indices], axis=-1)
    values = np.concatenate([one.values, other.values], axis=-1) * share
    k = one.values.shape[-1]
    flat = values.reshape(math.prod(values.shape[:-1]), values.shape[-1])
    names = indices.reshape(flat.shape)
    for first in range(0, len(flat), _PLACES):
        ours, theirs = np.split(flat[first : first + _PLACES], [k], axis=1)
        mine, its = np.split(names[first : first + _PLACES], [k], axis=1)
        same = (mine[:, :, None] == its[:, None, :]) & (ours > 0)[:, :, None]
        partner = np.where(same, theirs[:, None, :], np.float32(0)).max(axis=2, initial=0)
        ours[:] = ours + partner if how == "mean" else np.maximum(ours, partner)
        theirs[same.any(axis=1)] = 0  # ours has it
    return Codes(indices, values)


class TopSeqlets:
    """The best seqlets of every feature, kept while codes stream by.

    Within a window a feature's activations are taken greedily, the highest first and of equals
    the lowest position, each at least ``min_distance`` positions from those taken before. Of
    all windows together the ``per_feature`` highest are kept; equals by window, then position.
    Only activations above 0 count. Neither the order of the windows nor the way in which
    accumulators are merged changes the result, and memory does not grow with the genome.

    Parameters
    ----------
    n_features
        Number of features.
    per_window
        Most seqlets of a feature in one window.
    per_feature
        Most seqlets of a feature in all.
    min_distance
        Smallest distance of two seqlets of a feature in a window, in positions.

    Examples
    --------
    >>> top = TopSeqlets(4, per_window=2, per_feature=10, min_distance=2)
    >>> indices = np.array([[3, 1], [3, 1], [3, 1]])
    >>> values = np.array([[0.5, 1.0], [0.7, 0.0], [0.2, 2.0]], dtype=np.float32)
    >>> top.update(0, indices, values)
    >>> top.finish().select("feature", "rank", "position", "activation").rows()
    [(1, 1, 2, 2.0), (1, 2, 0, 1.0), (3, 1, 1, 0.699999988079071)]
    """

    def __init__(
        self, n_features: int, per_window: int, per_feature: int, min_distance: int
    ) -> None:
        self.n_features = n_features
        self._kernel = _core.TopSeqlets(n_features, per_window, per_feature, min_distance)

    def update(
        self,
        window: int | npt.ArrayLike,
        indices: object,
        values: object,
        *,
        threads: int | None = None,
    ) -> None:
        """Add one whole window, or several; each window once.

        Parameters
        ----------
        window
            Number of the window, or (b,) numbers.
        indices, values
            Codes of its positions in order, arrays or CPU tensors of (positions, k), or of
            (b, positions, k); a feature stands at most once at a position. uint16, uint32 and
            int64 indices and float32 values in C order are used where they lie.
        threads
            Number of threads, each of which takes whole windows; default: one for each core.
            The result does not depend on it.

        Raises
        ------
        ValueError
            If the shapes do not fit, a window has come before, an index names no feature or an
            activation is NaN or infinite. Nothing is added then.
        """
        windows = np.atleast_1d(np.asarray(window))
        where, what = as_indices(indices), np.ascontiguousarray(as_array(values), dtype=np.float32)
        if np.ndim(window) == 0:
            where, what = where[None], what[None]
        if what.ndim != 3 or what.shape != where.shape or windows.shape != what.shape[:1]:
            raise ValueError(
                "indices and values must be (positions, k) for one window or (b, positions, k) "
                f"for b, got {where.shape} and {what.shape} for {np.shape(window) or 'one'}"
            )
        self._kernel.update(np.ascontiguousarray(windows, dtype=np.int64), where, what, threads)

    def merge(self, other: TopSeqlets) -> None:
        """Add what another accumulator, made with the same arguments, saw of other windows.

        Examples
        --------
        >>> one, two = TopSeqlets(1, 1, 1, 1), TopSeqlets(1, 1, 1, 1)
        >>> one.update(0, np.array([[0]]), np.array([[1.0]]))
        >>> two.update(1, np.array([[0]]), np.array([[2.0]]))
        >>> one.merge(two)
        >>> one.finish()["window"].to_list()
        [1]
        """
        self._kernel.merge(other._kernel)

    @property
    def n_tokens(self) -> int:
        """Positions seen, active or not."""
        return self._kernel.n_tokens

    def feature_stats(self) -> pl.DataFrame:
        """Return totals of every feature over all positions (`schema.FEATURE_TOTALS`)."""
        columns = zip(("n_nonzero", "sum", "max"), self._kernel.totals(), strict=True)
        frame = pl.DataFrame({"feature": np.arange(self.n_features), **dict(columns)})
        return schema.conform(frame, schema.FEATURE_TOTALS, table="feature totals")

    def histogram(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Count the activations of every feature, all of them, by their size.

        Bins are exact: four to an octave, between 2^e times 1, 1.25, 1.5, 1.75 and 2, which is
        about 13 to a decade, from 2^-30 to 2^20; one more holds what lies below, one what lies
        above.

        Returns
        -------
        edges : numpy.ndarray
            (203,) edges, rising from 0 to infinity: a bin holds ``edges[i] <= value <
            edges[i + 1]``.
        counts : numpy.ndarray
            (n_features, 202) activations above 0.

        Examples
        --------
        >>> top = TopSeqlets(2, 1, 1, 1)
        >>> top.update(0, np.array([[1], [1], [1]]), np.array([[1.0], [1.2], [900.0]]))
        >>> edges, counts = top.histogram()
        >>> bins = np.flatnonzero(counts[1])
        >>> edges[bins].tolist(), edges[bins + 1].tolist(), counts[1, bins].tolist()
        ([1.0, 896.0], [1.25, 1024.0], [2, 1])
        """
        return self._kernel.histogram()

    def finish(self) -> pl.DataFrame:
        """Return the best seqlets so far (`schema.TOP_SEQLETS`), by feature and rank."""
        columns = dict(zip(schema.TOP_SEQLETS, self._kernel.finish(), strict=True))
        return schema.conform(pl.DataFrame(columns), schema.TOP_SEQLETS, table="top seqlets")


def as_array(values: object) -> npt.NDArray[Any]:
    """View a tensor or whatever else as an array."""
    detach = getattr(values, "detach", None)
    return np.asarray(values if detach is None else detach().cpu().numpy())


def as_indices(indices: object) -> npt.NDArray[Any]:
    """View indices as one of the integer types that the kernel reads."""
    found = as_array(indices)
    if found.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got {found.dtype}")
    kept = found.dtype in (np.uint16, np.uint32, np.int64)
    return np.ascontiguousarray(found, dtype=found.dtype if kept else np.int64)

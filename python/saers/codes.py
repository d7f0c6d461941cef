"""Sparse codes: what they are, the best seqlets among them, and their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, _core, schema
from saers.checks import existing_file, one_of
from saers.store import atomic_path

_BLOCK_VALUES = 4 * 2**20


class Codes(NamedTuple):
    """Active features and their activations: tensors in a model, arrays in a file.

    Entries with an activation of 0 are padding, whatever their index.
    """

    indices: Any
    """Features, (n, k) or (windows, positions, k)."""
    values: Any
    """Activations, of the same shape."""


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
        where, what = _indices(indices), np.ascontiguousarray(_array(values), dtype=np.float32)
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
        >>> [[float(edges[i]), float(edges[i + 1]), int(counts[1, i])] for i in counts[1].nonzero()[0]]
        [[1.0, 1.25, 2], [896.0, 1024.0, 1]]
        """
        return self._kernel.histogram()

    def finish(self) -> pl.DataFrame:
        """Return the best seqlets so far (`schema.TOP_SEQLETS`), by feature and rank."""
        columns = dict(zip(schema.TOP_SEQLETS, self._kernel.finish(), strict=True))
        return schema.conform(pl.DataFrame(columns), schema.TOP_SEQLETS, table="top seqlets")


class CodesWriter:
    """Writes blocks of codes one after the other; made by :func:`write_codes`."""

    def __init__(self, file: h5py.File, n_features: int) -> None:
        self._file = file
        self._n_features = n_features

    def append(self, windows: npt.ArrayLike, codes: Codes) -> None:
        """Add whole windows.

        Parameters
        ----------
        windows
            (b,) numbers of the windows.
        codes
            Indices and values of (b, positions, k).

        Raises
        ------
        ValueError
            If the shape is not that of the file, an index is out of range, or an activation is
            too large for half precision.
        """
        numbers = np.asarray(windows, dtype=np.int64)
        indices, values = _indices(codes.indices), _array(codes.values)
        stored = self._file["values"]
        if values.shape != (len(numbers), *stored.shape[1:]) or indices.shape != values.shape:
            raise ValueError(
                f"codes must be {(len(numbers), *stored.shape[1:])}, "
                f"got {indices.shape} and {values.shape}"
            )
        if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < self._n_features:
            raise ValueError(
                f"indices must lie in 0..{self._n_features - 1}, "
                f"got {indices.min()}..{indices.max()}"
            )
        with np.errstate(over="ignore"):
            narrow = values.astype(stored.dtype)
        if not np.isfinite(narrow).all():
            raise ValueError(f"values must fit in {stored.dtype}, got up to {np.max(values)}")
        first = len(stored)
        for name, block in (("windows", numbers), ("indices", indices), ("values", narrow)):
            self._file[name].resize(first + len(numbers), axis=0)
            self._file[name][first:] = block


@contextmanager
def write_codes(
    path: str | Path, *, n_features: int, n_positions: int, k: int, dtype: str = "float16"
) -> Iterator[CodesWriter]:
    """Write codes to an HDF5 file, which appears under its name when the block succeeds.

    Datasets: ``windows`` (window,), ``indices`` and ``values`` (window, position, k); the
    attribute ``n_features``. Indices take 16 bits where they fit.

    Parameters
    ----------
    path
        The file; what was there is replaced.
    n_features, n_positions, k
        Features of the SAE, positions of a window, active features of a position.
    dtype
        Type of the values, float16 (about 3 digits, values below 6e-8 become 0) or float32.

    Examples
    --------
    >>> import tempfile
    >>> codes = Codes(np.array([[[0, 2]]]), np.array([[[1.5, 0.25]]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "codes.h5"
    ...     with write_codes(path, n_features=3, n_positions=1, k=2) as writer:
    ...         writer.append([7], codes)
    ...     [(windows.tolist(), read.values.tolist()) for windows, read in read_codes(path)]
    [([7], [[[1.5, 0.25]]])]
    """
    one_of("dtype", dtype, ("float16", "float32"))
    index = "uint16" if n_features <= 2**16 else "uint32"
    shape, chunks = (n_positions, k), (1, max(1, min(n_positions, 4096)), k)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["n_features"] = n_features
        file.create_dataset("windows", (0,), "int64", maxshape=(None,), chunks=(4096,))
        for name, kind in (("indices", index), ("values", dtype)):
            file.create_dataset(
                name,
                (0, *shape),
                kind,
                maxshape=(None, *shape),
                chunks=chunks,
                shuffle=True,
                compression="gzip",
                compression_opts=1,
            )
        yield CodesWriter(file, n_features)


def read_codes(path: str | Path) -> Iterator[tuple[npt.NDArray[np.int64], Codes]]:
    """Read a file of codes, some whole windows at a time.

    Yields
    ------
    windows : numpy.ndarray
        (b,) numbers of the windows.
    codes : Codes
        Arrays of (b, positions, k), the values as float32.

    Raises
    ------
    saers.FormatError
        If the file is damaged or holds no codes.
    """
    found = existing_file(path, what="codes")
    try:
        with h5py.File(found, "r") as file:
            windows, indices, values = (file[name] for name in ("windows", "indices", "values"))
            if values.ndim != 3 or indices.shape != values.shape or len(windows) != len(values):
                raise FormatError(f"{found}: windows, indices and values do not fit together")
            step = max(1, _BLOCK_VALUES // max(1, values.shape[1] * values.shape[2]))
            for first in range(0, len(values), step):
                part = np.s_[first : first + step]
                yield windows[part], Codes(indices[part], values[part].astype(np.float32))
    except (OSError, KeyError) as error:
        raise FormatError(f"{found}: no readable file of codes: {error}") from error


def _array(values: object) -> npt.NDArray[Any]:
    """View a tensor or whatever else as an array."""
    detach = getattr(values, "detach", None)
    return np.asarray(values if detach is None else detach().cpu().numpy())


def _indices(indices: object) -> npt.NDArray[Any]:
    """View indices as one of the integer types that the kernel reads."""
    found = _array(indices)
    if found.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got {found.dtype}")
    kept = found.dtype in (np.uint16, np.uint32, np.int64)
    return np.ascontiguousarray(found, dtype=found.dtype if kept else np.int64)

"""Map of the features: decoder directions in two dimensions, and their clusters.

Features that write similar directions into the layer do similar work. UMAP lays the directions
out by the angle between them; HDBSCAN then finds the dense groups of the map.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers import checks, schema

_METRICS = ("cosine", "correlation", "euclidean", "manhattan")

# UMAP needs a few neighbours to speak of a manifold; fewer points are laid out linearly.
_FEWEST = 5


def embed(
    W_dec: NDArray[Any],
    features: Sequence[int] | pl.Series | NDArray[Any],
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    metric: str = "cosine",
    min_cluster_size: int = 5,
    seed: int = 0,
) -> pl.DataFrame:
    """Place features on a plane by their decoder directions and group them.

    Distances between far clusters of the map mean little: neighbourhoods are what it keeps.

    Parameters
    ----------
    W_dec
        Decoder rows, one per feature, shape (n, d).
    features
        Id of the feature of each row, length n.
    n_neighbors
        Size of the neighbourhoods that UMAP keeps; cut to n - 1 where there are fewer features.
    min_dist
        Least distance of two points on the map, 0 to 1.
    metric
        Distance of two directions: cosine, correlation, euclidean or manhattan.
    min_cluster_size
        Features that make a cluster.
    seed
        Seed of the layout; the same seed gives the same map.

    Returns
    -------
    polars.DataFrame
        Columns of ``schema.EMBEDDING``, sorted by feature. Clusters are numbered by size, the
        largest is 0; -1 means in no cluster.

    Examples
    --------
    >>> embed(np.eye(3), [7, 2, 5]).select("feature", "cluster").rows()
    [(2, -1), (5, -1), (7, -1)]
    """
    directions, ids = _checked(W_dec, features)
    checks.in_range("n_neighbors", n_neighbors, 2, 10_000)
    checks.in_range("min_dist", min_dist, 0, 1)
    checks.in_range("min_cluster_size", min_cluster_size, 2, 1_000_000)
    checks.one_of("metric", metric, _METRICS)
    order = np.argsort(ids, kind="stable")  # the map must not depend on the order of the rows
    directions, ids = directions[order], ids[order]
    if len(ids) < _FEWEST:
        plane = _principal_plane(directions)
    else:
        plane = _umap(directions, n_neighbors, min_dist, metric, seed)
    columns = {
        "feature": ids,
        "x": plane[:, 0],
        "y": plane[:, 1],
        "cluster": _clusters(plane, min_cluster_size),
    }
    return schema.conform(pl.DataFrame(columns), schema.EMBEDDING, table="embedding")


def _checked(
    W_dec: NDArray[Any],
    features: Sequence[int] | pl.Series | NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Refuse directions that cannot be compared, and ids that do not fit them."""
    directions = np.asarray(W_dec, dtype=np.float64)
    ids = np.asarray(features, dtype=np.int64)
    if directions.ndim != 2:
        raise ValueError(f"W_dec must have shape (n, d), got {directions.shape}")
    if ids.shape != (len(directions),):
        raise ValueError(
            f"features must have one id for each of the {len(directions)} rows of W_dec, "
            f"got {ids.size}"
        )
    if len(np.unique(ids)) != len(ids):
        raise ValueError("features must be distinct, got an id twice")
    if not np.isfinite(directions).all():
        bad = int(ids[~np.isfinite(directions).all(axis=1)][0])
        raise ValueError(f"W_dec must be finite, got NaN or infinity in feature {bad}")
    return directions, ids


def _umap(
    directions: NDArray[np.float64],
    n_neighbors: int,
    min_dist: float,
    metric: str,
    seed: int,
) -> NDArray[np.float64]:
    """Run UMAP such that none of its fallbacks, and none of their warnings, come into play."""
    with warnings.catch_warnings():
        # umap looks for an optional part that it does not need here, and reports its absence.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        import umap

    reducer = umap.UMAP(
        n_neighbors=min(n_neighbors, len(directions) - 1),
        min_dist=min_dist,
        metric=metric,
        # Its spectral start fails on small or disconnected graphs; principal axes always exist.
        init=_principal_plane(directions, extent=10.0).astype(np.float32),
        # Opposite directions are as far as can be, yet they belong to the map.
        disconnection_distance=np.inf,
        random_state=seed,
        n_jobs=1,  # a seeded layout is sequential
    )
    return np.asarray(reducer.fit_transform(directions.astype(np.float32)), dtype=np.float64)


def _principal_plane(
    directions: NDArray[np.float64], *, extent: float | None = None
) -> NDArray[np.float64]:
    """Project unit directions on their two principal axes, optionally scaled to an extent."""
    plane = np.zeros((len(directions), 2))
    if directions.size == 0:
        return plane
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    units = directions / np.where(norms > 0, norms, 1.0)
    left, singular, axes = np.linalg.svd(units - units.mean(axis=0), full_matrices=False)
    kept = min(2, len(singular))
    # The sign of an axis is arbitrary; fix it by the component that weighs most.
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])
    plane[:, :kept] = left[:, :kept] * singular[:kept] * signs
    largest = np.abs(plane).max()
    return plane * (extent / largest) if extent is not None and largest > 0 else plane


def _clusters(plane: NDArray[np.float64], min_cluster_size: int) -> NDArray[np.int64]:
    """Cluster the map and number the clusters by size, ties by their first feature."""
    if len(plane) <= min_cluster_size:
        return np.full(len(plane), -1)
    from sklearn.cluster import HDBSCAN

    labels = HDBSCAN(min_cluster_size=min_cluster_size, copy=True).fit_predict(plane)
    members = labels[labels >= 0]
    found, first, sizes = np.unique(members, return_index=True, return_counts=True)
    number = np.full(len(found) + 1, -1)  # the last entry is what label -1 looks up
    number[found[np.lexsort((first, -sizes))]] = np.arange(len(found))
    numbered: NDArray[np.int64] = number[labels]
    return numbered

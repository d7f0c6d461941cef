"""How much of the truth the model has learned, and how much of that was found in it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers.demo.motifs import draw_instances, reverse_complement
from saers.demo.tracks import Occupancy
from saers.matches import is_flat, motifs_of, tomtom
from saers.motif import Motif

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Letters (n, length) to tracks (n, tracks, bins)."""

EVALUE = 0.05
_LEAST_RESPONSE = 0.25  # of the simulation's own
_LENGTH = 256  # bp around an insert


class Recovery(NamedTuple):
    """Which planted motifs were found."""

    found: set[str]  # ids of motifs
    one_motif_share: float  # of the units with a motif: those that match exactly one planted motif


def measure_learning(
    predict: Predict,
    backgrounds: NDArray[np.uint8],
    instances: list[NDArray[np.float64]],
    occupancy: Occupancy,
    weights: NDArray[np.float64],
    *,
    bin: int,
    seed: int,
    n_shuffles: int = 5,
) -> pl.DataFrame:
    """Insert motifs into sequences and compare the model's answer with the simulation's.

    An instance goes into the middle of each sequence, on either strand. The response is the
    projection of the mean change of the model's outputs on the change of the simulated tracks,
    in units of the latter: 1 for a model that has learned the motif perfectly, 0 for one that
    knows nothing of it. Inserts with their letters shuffled, projected on the same change, give
    the null. A motif counts as learned where its response exceeds 0.25 and the null of every
    motif.

    Parameters
    ----------
    predict
        The model.
    backgrounds
        (n, length) letters that motifs are inserted into, at least 256 of them around the middle.
    instances
        The matrices that sites are drawn from.
    occupancy, weights
        What the simulated tracks answer to, and by how much: (tracks, motifs).
    bin
        Of the tracks, in bp.
    seed
        Of the instances and their shuffles.
    n_shuffles
        Shuffles of each insert.

    Returns
    -------
    polars.DataFrame
        motif, response, null (the greatest of its shuffles), learned.

    Examples
    --------
    >>> from saers.demo.tracks import Occupancy
    >>> instances = [np.eye(4)[[0, 1, 2, 3, 0, 0, 1, 1]]]
    >>> occupancy = Occupancy([np.where(instances[0] > 0, 2.0, -9.0)], np.array([12.0]), 1.0)
    >>> weights = np.array([[2.0]])
    >>> def perfect(letters):
    ...     return 2 * occupancy(letters, bin=32)
    >>> backgrounds = np.random.default_rng(0).integers(0, 4, (8, 256), dtype=np.uint8)
    >>> table = measure_learning(
    ...     perfect, backgrounds, instances, occupancy, weights, bin=32, seed=0
    ... )
    >>> table.select(pl.col("response").round(3), "learned").row(0)
    (1.0, True)
    """
    rng = np.random.default_rng((seed, 4))
    middle = backgrounds.shape[1] // 2
    pieces = backgrounds[:, middle - _LENGTH // 2 : middle + _LENGTH // 2]
    before = _answer(predict, occupancy, weights, pieces, bin)
    responses, nulls = [], []
    for matrix in instances:
        inserts = draw_instances(matrix, len(pieces), rng)
        turned = rng.random(len(inserts)) < 0.5
        inserts[turned] = reverse_complement(inserts[turned])
        after = _answer(predict, occupancy, weights, _insert(pieces, inserts), bin)
        model, truth = after[0] - before[0], after[1] - before[1]
        responses.append(_projection(model, truth))
        shuffles = [_insert(pieces, rng.permuted(inserts, axis=1)) for _ in range(n_shuffles)]
        changes = [_tracks(predict(shuffle)) - before[0] for shuffle in shuffles]
        nulls.append(max(_projection(change, truth) for change in changes))
    table = pl.DataFrame({"motif": range(len(instances)), "response": responses, "null": nulls})
    bar = max(_LEAST_RESPONSE, *nulls)
    return table.with_columns(learned=pl.col("response") > bar)


def recovered(matches: pl.DataFrame, planted: list[str]) -> Recovery:
    """Count the planted motifs, not the units, that discovered motifs match.

    Parameters
    ----------
    matches
        Columns of :data:`saers.schema.MATCHES`, against the whole database.
    planted
        Ids of the planted motifs.

    Examples
    --------
    >>> matches = pl.DataFrame(
    ...     {
    ...         "feature": [0, 0, 1, 2, 3],
    ...         "target_id": ["A", "B", "A", "A", "other"],
    ...         "e_value": [0.01, 0.04, 1e-9, 0.9, 1e-9],
    ...     }
    ... )
    >>> recovery = recovered(matches, ["A", "B", "C"])
    >>> sorted(recovery.found), round(recovery.one_motif_share, 3)
    (['A', 'B'], 0.333)
    """
    called = matches.filter(pl.col("e_value") < EVALUE)
    right = called.filter(pl.col("target_id").is_in(planted))
    each = right.group_by("feature").agg(pl.col("target_id").n_unique().alias("n"))
    units = called["feature"].n_unique()
    alone = each.filter(pl.col("n") == 1).height
    return Recovery(set(right["target_id"]), alone / units if units else 0.0)


def recovered_after_shuffle(
    motifs: pl.DataFrame, database: list[Motif], planted: list[str], *, seed: int
) -> Recovery:
    """Shuffle the columns of each discovered motif and count the same way: the control.

    Examples
    --------
    >>> from saers import schema
    >>> recovered_after_shuffle(schema.empty(schema.MOTIFS), [], [], seed=0).found
    set()
    """
    if not motifs.height:
        return Recovery(set(), 0.0)
    shuffled = [
        motif.shuffle_columns(seed + index)
        for index, motif in enumerate(motifs_of(motifs))
        if not is_flat(motif)
    ]
    matches = tomtom(shuffled, database, thresh=EVALUE, evalue=True)
    owner = motifs.select(pl.col("motif_id").alias("query_id"), pl.col("feature"))
    return recovered(matches.drop("feature").join(owner, on="query_id"), planted)


def _answer(
    predict: Predict,
    occupancy: Occupancy,
    weights: NDArray[np.float64],
    letters: NDArray[np.uint8],
    bin: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean tracks, summed over the bins, of the model and of the simulation."""
    return _tracks(predict(letters)), weights @ _tracks(occupancy(letters, bin=bin))


def _tracks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(values.sum(axis=2).mean(axis=0), dtype=np.float64)


def _insert(pieces: NDArray[np.uint8], inserts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write one insert into the middle of each piece."""
    start = (pieces.shape[1] - inserts.shape[1]) // 2
    return np.hstack(
        [pieces[:, :start], inserts, pieces[:, start + inserts.shape[1] :]], dtype=np.uint8
    )


def _projection(change: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """How much of a change lies along the true one, in units of the latter."""
    return float(change @ truth / (truth @ truth))

"""Which motifs are planted, and how instances of them are drawn."""

import numpy as np
from numpy.typing import NDArray

from saers.matches import tomtom
from saers.motif import Motif

_FLOOR = 5e-4  # no letter is impossible, so that every score is finite


def choose_motifs(
    database: list[Motif],
    count: int,
    *,
    seed: int,
    information: tuple[float, float] = (13.0, 22.0),
    width: tuple[int, int] = (8, 18),
    least_evalue: float = 1.0,
) -> list[Motif]:
    """Draw motifs of which none resembles another.

    Parameters
    ----------
    database
        Known motifs.
    count
        How many to draw.
    seed
        Seed of the draw.
    information
        Least and greatest information in bits.
    width
        Least and greatest width.
    least_evalue
        Tomtom's E-value between any two of them, against a database of this size, is at least
        this.

    Raises
    ------
    ValueError
        If there are not so many.

    Examples
    --------
    >>> from saers.motifs.databases import load_database
    >>> database = load_database("JASPAR2024_CORE_vertebrates")[:150]
    >>> [motif.name for motif in choose_motifs(database, 2, seed=1)] == [
    ...     motif.name for motif in choose_motifs(database, 2, seed=1)
    ... ]
    True
    """
    suitable = [
        motif
        for motif in database
        if information[0] <= motif.information.sum() <= information[1]
        and width[0] <= motif.width <= width[1]
    ]
    order = np.random.default_rng(seed).permutation(len(suitable))
    alike = _resembling(suitable, least_evalue / len(database))
    chosen: list[int] = []
    for candidate in map(int, order):
        if len(chosen) < count and not any((candidate, other) in alike for other in chosen):
            chosen.append(candidate)
    if len(chosen) < count:
        raise ValueError(f"count must be at most {len(chosen)} of these motifs, got {count}")
    return [suitable[index] for index in chosen]


def _resembling(motifs: list[Motif], p_value: float) -> set[tuple[int, int]]:
    """Pairs of indices, both ways round, that match with a p-value below the given one."""
    place = {motif.id: index for index, motif in enumerate(motifs)}
    found = tomtom(motifs, motifs, thresh=p_value * len(motifs), evalue=True)
    pairs = {
        (place[query], place[target])
        for query, target in found.select("query_id", "target_id").iter_rows()
    }
    return pairs | {(second, first) for first, second in pairs}


def sharpen(matrix: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Raise probabilities to a power, so that instances come closer to the consensus.

    Examples
    --------
    >>> sharpen(np.array([[0.6, 0.2, 0.1, 0.1]]), 2.0).round(2)
    array([[0.86, 0.1 , 0.02, 0.02]])
    """
    raised = matrix**power
    sharpened: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return sharpened


def draw_instances(
    matrix: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw instances of a motif, (count, width), letters as 0 to 3.

    Examples
    --------
    >>> draw_instances(np.eye(4), 1, np.random.default_rng(0))
    array([[0, 1, 2, 3]], dtype=uint8)
    """
    cumulative = matrix.cumsum(axis=1)[:, :3]
    drawn: NDArray[np.uint8] = (rng.random((count, len(matrix), 1)) >= cumulative).sum(
        axis=2, dtype=np.uint8
    )
    return drawn


def log_odds(matrix: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score of each letter at each position in bits, (width, 4).

    Examples
    --------
    >>> log_odds(np.array([[1.0, 0.0, 0.0, 0.0]]), np.full(4, 0.25)).round(1)
    array([[ 2., -9., -9., -9.]])
    """
    floored = matrix * (1 - 4 * _FLOOR) + _FLOOR
    return np.asarray(np.log2(floored / background))


def half_way_score(
    scores: NDArray[np.float64], instances: NDArray[np.uint8], missed: float
) -> float:
    """Score that the given share of a motif's own instances stay below, in bits.

    Examples
    --------
    >>> half_way_score(np.log2(np.eye(4) + 0.5), np.array([[0, 1, 2, 3]], dtype=np.uint8), 0.1)
    2.339...
    """
    each = np.take_along_axis(scores[None], instances[..., None].astype(np.intp), axis=2)
    return float(np.quantile(each.sum(axis=(1, 2)), missed))


def reverse_complement(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reverse complement of letters 0 to 3 along the last axis; 4 (N) stays.

    Examples
    --------
    >>> reverse_complement(np.array([0, 0, 1, 4], dtype=np.uint8))
    array([4, 2, 3, 3], dtype=uint8)
    """
    return np.array([3, 2, 1, 0, 4], dtype=np.uint8)[letters[..., ::-1]]

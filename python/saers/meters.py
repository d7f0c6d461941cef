"""What is measured of activations while they are computed: how fast, and how exactly."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saers.layer import Tile


@dataclass
class Throughput:
    """What a source computed, and how long it took.

    Examples
    --------
    >>> Throughput(bases=4_000_000, positions=2_000_000, bytes=8_000_000, seconds=2.0).facts()
    {'Mbp/s': 2.0, 'positions/s': 1000000.0, 'GB never on disk': 0.008}
    """

    bases: int = 0
    """Base pairs of the windows that were read."""
    positions: int = 0
    """Positions, of all layers."""
    bytes: int = 0
    """Bytes of their activations in float32."""
    seconds: float = 0.0
    """Seconds in which the model was at work."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    def count(self, values: npt.NDArray[np.float32]) -> None:
        """Count (b, n, channels) activations."""
        self.positions += values.shape[0] * values.shape[1]
        self.bytes += values.nbytes

    def facts(self) -> dict[str, float]:
        """Sum up, for a report; empty where nothing was computed."""
        if not self.seconds:
            return {}
        return {
            "Mbp/s": self.bases / self.seconds / 1e6,
            "positions/s": self.positions / self.seconds,
            "GB never on disk": self.bytes / 1e9,
        }


def difference(tiles: Iterable[Tile], exact: Iterable[Tile]) -> dict[str, float]:
    """Compare activations with more exact ones of the same positions.

    Returns
    -------
    dict
        ``max_abs``, the greatest absolute difference; ``relative``, the root of its summed
        squares over that of the exact activations; ``cosine``, the mean over positions of the
        cosine between the two.

    Examples
    --------
    >>> rough = Tile(np.array([0]), 0, np.array([[[3.0, 4.5]]], np.float32), None)
    >>> exact = rough._replace(values=np.array([[[3.0, 4.0]]], np.float32))
    >>> {name: round(value, 3) for name, value in difference([rough], [exact]).items()}
    {'max_abs': 0.5, 'relative': 0.1, 'cosine': 0.998}
    """
    greatest, squared, total, cosines, count = 0.0, 0.0, 0.0, 0.0, 0
    for one, other in zip(tiles, exact, strict=True):
        ours, theirs = one.values.astype(np.float64), other.values.astype(np.float64)
        apart = ours - theirs
        greatest = max(greatest, float(np.abs(apart).max()))
        squared += float((apart**2).sum())
        total += float((theirs**2).sum())
        product = (ours * theirs).sum(axis=-1)
        lengths = np.sqrt((ours**2).sum(axis=-1) * (theirs**2).sum(axis=-1))
        # Two positions without any activation agree.
        agree = np.divide(product, lengths, out=np.ones_like(product), where=lengths > 0)
        cosines += float(agree.sum())
        count += agree.size
    relative = np.sqrt(squared / total) if total else float(squared > 0)
    return {"max_abs": greatest, "relative": float(relative), "cosine": cosines / count}

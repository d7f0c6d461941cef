"""Tracks as a function of the sequence: what the motifs' occupancy drives."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from saers.demo.motifs import draw_instances, half_way_score, log_odds
from saers.demo.simulate import BACKGROUND, Simulation

_INSTANCES = 4000  # drawn to find the half-way score of a motif
_WINDOWS = 32  # scored at once


@dataclass(frozen=True)
class Occupancy:
    """How strongly each motif occupies a sequence, planted or not.

    At each position and on each strand a motif is bound by the logistic function of its
    log-odds score; a bin holds the sum of that.

    Examples
    --------
    >>> scores = [np.where(np.eye(4) > 0, 2.0, -9.0)]  # the motif ACGT, its own reverse
    >>> site = np.array([[0, 1, 2, 3, 4, 4, 4, 4]], dtype=np.uint8)
    >>> Occupancy(scores, np.array([4.0]), softness=1.0)(site, bin=4).round(2)
    array([[[1.96, 0.14]]], dtype=float32)
    """

    scores: list[NDArray[np.float64]]
    """Log-odds of each motif in bits, (width, 4)."""

    half_way: NDArray[np.float64]
    """Score in bits at which a motif is bound half of the time."""

    softness: float
    """Bits over which the odds of being bound rise by a factor of e."""

    @classmethod
    def of(cls, truth: Simulation) -> "Occupancy":
        """Take the motifs of a simulation, each half bound at the score of its weaker sites."""
        rng = np.random.default_rng((truth.config.seed, 2))
        scores = [log_odds(motif.matrix, BACKGROUND) for motif in truth.motifs]
        half_way = [
            half_way_score(score, draw_instances(matrix, _INSTANCES, rng), truth.config.missed)
            for score, matrix in zip(scores, truth.instances, strict=True)
        ]
        return cls(scores, np.array(half_way), truth.config.softness)

    def __call__(self, letters: NDArray[np.uint8], *, bin: int) -> NDArray[np.float32]:
        """Compute the occupancy of sequences (n, length), (n, motifs, length / bin).

        A site belongs to the bin in which it starts; sites that pass the end do not count.
        """
        kernel = self._kernel()
        width = kernel.shape[-1]
        count = len(self.scores)
        parts = []
        for first in range(0, len(letters), _WINDOWS):
            padded = F.pad(onehot(letters[first : first + _WINDOWS]), (0, width - 1))
            bits = F.conv2d(padded[:, :, None], kernel)[:, :, 0]
            both = torch.sigmoid((bits - self._half_way()) / self.softness)
            bound = both[:, :count] + both[:, count:]
            parts.append(bound.reshape(len(bound), count, -1, bin).sum(dim=3))
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    def _kernel(self) -> torch.Tensor:
        """Motifs on both strands as one convolution, (2 motifs, 4, 1, width)."""
        kernel = np.zeros((2 * len(self.scores), 4, 1, max(map(len, self.scores))), np.float32)
        for motif, score in enumerate(self.scores):
            kernel[motif, :, 0, : len(score)] = score.T
            kernel[motif + len(self.scores), :, 0, : len(score)] = score[::-1, ::-1].T
        # Channels last: several times faster on a CPU where there are only four of them.
        return torch.from_numpy(kernel).contiguous(memory_format=torch.channels_last)

    def _half_way(self) -> torch.Tensor:
        return torch.from_numpy(np.tile(self.half_way, 2)).float()[:, None]


@dataclass(frozen=True)
class Tracks:
    """Windows of the genome, and the tracks over them."""

    chromosomes: list[str]
    """Chromosome of each window."""

    letters: NDArray[np.uint8]
    """(windows, length)."""

    values: NDArray[np.float32]
    """(windows, tracks, bins); each track has mean 0 and standard deviation 1, plus noise."""

    weights: NDArray[np.float64]
    """(tracks, motifs): by how much a track rises where a motif is bound, standardised."""


def make_tracks(truth: Simulation, occupancy: Occupancy) -> Tracks:
    """Tile the genome into windows and compute the tracks over them.

    Parameters
    ----------
    truth
        The simulated genome.
    occupancy
        Of its motifs.

    Examples
    --------
    >>> from saers.demo.config import SimulationConfig
    >>> from saers.demo.simulate import simulate
    >>> from saers.motifs.databases import load_database
    >>> database = load_database("JASPAR2024_CORE_vertebrates")[:200]
    >>> config = SimulationConfig(chromosomes=(20_000,), n_motifs=4, n_pairs=1, n_tracks=5)
    >>> truth = simulate(config, database)
    >>> make_tracks(truth, Occupancy.of(truth)).values.shape
    (9, 5, 64)
    """
    config = truth.config
    rng = np.random.default_rng((config.seed, 3))
    names, windows = [], []
    for name, letters in truth.chromosomes.items():
        tiles = letters[: len(letters) // config.window * config.window]
        windows.append(tiles.reshape(-1, config.window))
        names += [name] * len(windows[-1])
    letters = np.concatenate(windows)
    weights = draw_weights(config.n_tracks, config.n_motifs, config.tracks_per_motif, rng)
    driven = np.einsum(
        "tm,wmb->wtb", weights.astype(np.float32), occupancy(letters, bin=config.bin), optimize=True
    )
    spread = driven.std(axis=(0, 2))
    values = (driven - driven.mean(axis=(0, 2))[:, None]) / spread[:, None]
    values += config.noise * rng.standard_normal(values.shape, dtype=np.float32)
    return Tracks(names, letters, values, weights / spread[:, None])


def draw_weights(
    tracks: int, motifs: int, tracks_per_motif: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw which tracks a motif drives and how strongly, (tracks, motifs).

    Tracks are dealt out in rounds, so that all of them have about as many motifs.

    Examples
    --------
    >>> drawn = draw_weights(6, 9, 2, np.random.default_rng(0))
    >>> (drawn > 0).sum(axis=0).tolist(), (drawn > 0).sum(axis=1).tolist()
    ([2, 2, 2, 2, 2, 2, 2, 2, 2], [3, 3, 3, 3, 3, 3])
    """
    weights = np.zeros((tracks, motifs))
    dealt: list[int] = []
    for motif in range(motifs):
        hand: list[int] = []
        while len(hand) < tracks_per_motif:
            fresh = [track for track in dealt if track not in hand]
            if not fresh:
                dealt += map(int, rng.permutation(tracks))
                continue
            hand.append(fresh[0])
            dealt.remove(fresh[0])
        weights[hand, motif] = np.exp(rng.normal(0, 0.3, tracks_per_motif))
    return weights


def onehot(letters: NDArray[np.uint8]) -> torch.Tensor:
    """Code letters (n, length) as float32 (n, 4, length), N as zeros, channels last in memory.

    Examples
    --------
    >>> onehot(np.array([[1, 4]], dtype=np.uint8)).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]
    """
    table = torch.eye(5)[:, :4]
    return table[torch.from_numpy(letters).long()].transpose(1, 2)

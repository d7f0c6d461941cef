"""Sets of seqlets with known motifs, cut from human sequence, each made again from its seed.

Seqlets are windows of the soft-masked pieces of chr2 (hg38) and chr20 (hg19), no two of them
overlapping; in half of the sets they may lie in repeats, in the others no letter is masked.
Instances of JASPAR motifs are drawn from their probabilities and written over the sequence, on
either strand. Nothing here is known to the engines, whose seeds are their own.
"""

import gzip
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from saers import Motif, _core, read_motifs

GENOME = ("hg38.chr2_1-2333275.fa.gz", "hg19.chr20.unittest.fa.gz")
JASPAR = "JASPAR2024_CORE_vertebrates_nr.meme.gz"
WIDTHS = (24, 42, 78, 150)
# Shares of seqlets with the motif; those of two motifs never meet in a seqlet.
SHARES = {
    "single": [(0.2,), (0.4,), (0.6,), (0.8,)],
    "double": [(0.5, 0.3), (0.3, 0.2), (0.6, 0.2)],
    "hard": [(0.03,), (0.05,), (0.075,), (0.1,)],
    "aligned": [(0.03,), (0.05,), (0.075,), (0.1,)],
    "null": [()],
}
# 200 planted sets and 200 nulls; "aligned" are like "hard", with sites near the middle.
SIZES = {"single": 64, "double": 56, "hard": 80, "aligned": 80, "null": 200}
LEAST_BITS = 8.0
MIDDLE_SD = 4.0


@dataclass(frozen=True)
class Planted:
    """A set: seqlets, and what was planted in them."""

    kind: str
    index: int
    repeats: bool
    sequences: list[str]
    truth: list[Motif]
    """The motifs, cut to the seqlet where they are wider; the ids are those of JASPAR."""
    shares: tuple[float, ...]

    @property
    def width(self) -> int:
        return len(self.sequences[0])

    @property
    def letters(self) -> int:
        return self.width * len(self.sequences)


def places(kinds: list[str], limit: int | None = None) -> Iterator[tuple[str, int]]:
    """List the sets, the kinds in turn, so that a run that is cut short holds some of each."""
    columns = ([(kind, i) for i in range(SIZES[kind])][:limit] for kind in kinds)
    rows = itertools.zip_longest(*columns)
    return (place for place in itertools.chain.from_iterable(rows) if place is not None)


def make(data: Path, seed: int, kind: str, index: int) -> Planted:
    """Make one set."""
    rng = np.random.default_rng([seed, list(SIZES).index(kind), index])
    width = WIDTHS[index % 4]
    repeats = index // 4 % 2 == 0
    shares = SHARES[kind][index // 8 % len(SHARES[kind])]
    most = 2000 if kind == "null" else 5000
    count = round(math.exp(rng.uniform(math.log(200), math.log(most))))
    letters = windows(data, rng, count, width, repeats)
    motifs = [motif for motif in jaspar(data) if bits(motif.matrix) >= LEAST_BITS]
    chosen = rng.choice(len(motifs), len(shares), replace=False)
    truth = [cut(motifs[i], width, rng) for i in chosen]
    first = 0
    for motif, share in zip(truth, shares, strict=True):
        last = first + round(share * len(letters))
        for row in letters[first:last]:
            plant(row, motif.matrix, rng, middle=kind == "aligned")
        first = last
    sequences = ["".join(row) for row in np.array(list("ACGT"))[rng.permutation(letters)]]
    if kind == "null":
        draws = rng.integers(0, 2**62, len(sequences))
        pairs = zip(sequences, draws, strict=True)
        sequences = [_core.shuffle_dinucleotides(s, int(draw)) for s, draw in pairs]
    return Planted(kind, index, repeats, sequences, truth, shares)


def plant(row: np.ndarray, matrix: np.ndarray, rng: np.random.Generator, *, middle: bool) -> None:
    """Write an instance over a part of a seqlet, anywhere or near its middle."""
    room = len(row) - len(matrix)
    place = rng.integers(0, room + 1)
    if middle:
        place = round(np.clip(rng.normal(room / 2, MIDDLE_SD), 0, room))
    smooth = matrix + 1e-3
    steps = np.cumsum(smooth / smooth.sum(axis=1, keepdims=True), axis=1)
    instance = (rng.random(len(matrix))[:, None] > steps[:, :3]).sum(axis=1)
    if rng.integers(0, 2):
        instance = 3 - instance[::-1]
    row[place : place + len(matrix)] = instance


def windows(
    data: Path, rng: np.random.Generator, count: int, width: int, repeats: bool
) -> np.ndarray:
    """Draw windows that do not overlap: codes 0 to 3, (count, width)."""
    codes = genome(data)
    phase = rng.integers(0, width)
    fits = (len(codes) - phase) // width
    table = codes[phase : phase + fits * width].reshape(fits, width)
    allowed = (table < (8 if repeats else 4)).all(axis=1)
    chosen = rng.choice(np.flatnonzero(allowed), count, replace=False)
    return table[chosen] & 3


@cache
def genome(data: Path) -> np.ndarray:
    """Codes of the letters: 0 to 3, 4 more where soft-masked, 8 for others."""
    table = np.full(256, 8, np.uint8)
    table[np.frombuffer(b"ACGTacgt", np.uint8)] = np.arange(8)
    pieces = []
    for name in GENOME:
        with gzip.open(data / "genome" / name) as file:
            next(file)
            letters = np.frombuffer(file.read().replace(b"\n", b""), np.uint8)
            codes = table[letters]
            known = np.flatnonzero(codes < 8)
            pieces.append(codes[known[0] : known[-1] + 1])
    return np.concatenate(pieces)


@cache
def jaspar(data: Path) -> list[Motif]:
    """Read the motifs that are planted."""
    return read_motifs(data / "motifdb" / JASPAR)


def bits(matrix: np.ndarray) -> float:
    """Information content of a matrix."""
    smooth = matrix + 1e-9
    return float((2 + (smooth * np.log2(smooth)).sum(axis=1)).sum())


def cut(motif: Motif, width: int, rng: np.random.Generator) -> Motif:
    """Cut a motif that is wider than the seqlets."""
    if motif.width <= width:
        return motif
    first = rng.integers(0, motif.width - width + 1)
    return Motif(motif.id, motif.name, motif.matrix[first : first + width], motif.n_sites)

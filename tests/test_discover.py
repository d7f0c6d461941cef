"""Golden sets of the built-in engine: planted JASPAR motifs, judged by Tomtom."""

import csv
import gzip
from itertools import pairwise

import numpy as np
import pytest

from saers import _core
from saers.matches import tomtom
from saers.motif import read_motifs
from saers.motifs.engines import discover_motifs

TRANSITIONS = np.array(
    [
        [0.327, 0.172, 0.238, 0.263],
        [0.349, 0.252, 0.049, 0.350],
        [0.287, 0.209, 0.253, 0.251],
        [0.219, 0.203, 0.251, 0.327],
    ]
)


def read_fasta(path):
    return ["".join(r.splitlines()[1:]) for r in path.read_text().split(">")[1:]]


def background(seed, n=1000, length=34):
    """Sequences of the Markov chain of the planted sets."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(TRANSITIONS / TRANSITIONS.sum(axis=1, keepdims=True), axis=1)
    letters = np.empty((n, length), dtype=int)
    letters[:, 0] = rng.integers(0, 4, n)
    for i in range(1, length):
        past = rng.random(n)[:, None] > steps[letters[:, i - 1]]
        letters[:, i] = past.sum(axis=1).clip(0, 3)
    return ["".join(row) for row in np.array(list("ACGT"))[letters]]


@pytest.fixture(scope="module")
def jaspar(data):
    return read_motifs(data / "motifdb" / "JASPAR2024_CORE_vertebrates_nr.meme.gz")


@pytest.fixture(scope="module")
def recovered(data, jaspar):
    """Tell the ranks (from 1, 0: none) at which the planted motifs of a set are found."""
    truth = {}
    for name in ("truth.tsv", "truth_hard.tsv"):
        with (data / "planted" / name).open() as file:
            for row in csv.DictReader(file, delimiter="\t"):
                truth.setdefault(row["set"], []).append(row["motif_id"])

    def ranks(name):
        found = discover_motifs(read_fasta(data / "planted" / f"{name}.fa"))
        if not found:
            return [0] * len(truth[name])
        matches = tomtom(found, jaspar, thresh=0.05, evalue=True)
        pairs = set(matches.select("query_id", "target_id").iter_rows())
        return [
            next((i for i, m in enumerate(found, 1) if (m.id, target) in pairs), 0)
            for target in truth[name]
        ]

    return ranks


@pytest.mark.data
def test_single_motifs_come_first(recovered):
    assert [recovered(f"single_{i:02d}") for i in range(20)] == [[1]] * 20


@pytest.mark.data
def test_both_motifs_of_a_pair_are_found(recovered):
    assert all(0 not in recovered(f"double_{i:02d}") for i in range(10))


@pytest.mark.data
@pytest.mark.slow
def test_most_rare_motifs_come_first(recovered):
    found = [recovered(f"hard_{i:02d}") for i in range(20)]
    assert found.count([1]) >= 16


@pytest.mark.data
def test_background_holds_no_motif(data):
    for i in range(5):
        assert discover_motifs(read_fasta(data / "planted" / f"null_{i:02d}.fa")) == []


@pytest.mark.slow
def test_false_calls_are_as_rare_as_promised():
    calls = [bool(discover_motifs(background(seed, n=300, length=30))) for seed in range(60)]
    # 3 are expected at E < 0.05; 8 or more would come once in 100 such tests.
    assert sum(calls) < 8


@pytest.mark.data
def test_shuffled_human_sequence_holds_no_motif(data):
    with gzip.open(data / "genome" / "hg38.chr2_1-2333275.fa.gz", "rt") as file:
        next(file)
        genome = file.read().replace("\n", "").upper()
    rng = np.random.default_rng(0)
    starts = rng.integers(100_000, len(genome) - 34, 500)
    windows = [genome[s : s + 34] for s in starts if "N" not in genome[s : s + 34]]
    shuffled = [_core.shuffle_dinucleotides(s, seed) for seed, s in enumerate(windows)]
    assert discover_motifs(shuffled) == []


def test_a_shuffle_keeps_dinucleotides_and_unknown_letters():
    sequence = "ACGTTGCANNACGGGATCCATTACGNTTAGGC"
    shuffled = _core.shuffle_dinucleotides(sequence, 3)
    pairs = [sorted(pairwise(s)) for s in (sequence, shuffled)]
    assert pairs[0] == pairs[1]
    assert shuffled != sequence
    assert [i for i, c in enumerate(shuffled) if c == "N"] == [8, 9, 25]
    assert _core.shuffle_dinucleotides(sequence, 3) == shuffled
    assert _core.shuffle_dinucleotides("", 0) == ""

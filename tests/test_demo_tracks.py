"""Tracks are a function of the sequence alone, and the function is the one that is told."""

import numpy as np
import pytest

from saers.demo.config import SimulationConfig
from saers.demo.motifs import half_way_score, log_odds
from saers.demo.simulate import simulate
from saers.demo.tracks import Occupancy, draw_weights, make_tracks, onehot
from saers.motifs.databases import load_database

CONFIG = SimulationConfig(
    seed=5, chromosomes=(30_000, 20_000), n_motifs=5, n_pairs=1, n_tracks=7, tracks_per_motif=3
)


@pytest.fixture(scope="module")
def truth():
    return simulate(CONFIG, load_database("JASPAR2024_CORE_vertebrates")[:300])


def occupancy_by_hand(scores, half_way, softness, letters, bin):
    """The definition, letter by letter."""
    length = len(letters)
    bound = np.zeros((len(scores), length // bin))
    for motif, score in enumerate(scores):
        for strand in (score, score[::-1, ::-1]):
            for start in range(length):
                bits = sum(
                    strand[offset, letters[start + offset]]
                    for offset in range(len(strand))
                    if start + offset < length and letters[start + offset] < 4
                )
                odds = (bits - half_way[motif]) / softness
                bound[motif, start // bin] += 1 / (1 + np.exp(-odds))
    return bound


def test_occupancy_is_the_logistic_of_the_score_at_every_position_and_strand():
    rng = np.random.default_rng(0)
    scores = [rng.normal(0, 1.5, (width, 4)) for width in (3, 6)]
    letters = rng.integers(0, 5, (3, 24), dtype=np.uint8)
    occupancy = Occupancy(scores, np.array([2.0, 4.0]), 0.7)
    expected = [occupancy_by_hand(scores, [2.0, 4.0], 0.7, one, 8) for one in letters]
    assert np.allclose(occupancy(letters, bin=8), expected, atol=1e-4)


def test_occupancy_does_not_depend_on_how_windows_are_batched(truth):
    occupancy = Occupancy.of(truth)
    letters = np.random.default_rng(0).integers(0, 4, (70, 64), dtype=np.uint8)
    whole = occupancy(letters, bin=32)
    each = np.concatenate([occupancy(letters[i : i + 1], bin=32) for i in range(70)])
    assert np.allclose(whole, each, atol=1e-5)


def test_sites_are_occupied_and_the_background_is_not(truth):
    occupancy = Occupancy.of(truth)
    letters = truth.chromosomes["chr1"][None, : 30_000 // 32 * 32]
    bound = occupancy(letters, bin=32)[0]
    sites = truth.sites.filter(
        (truth.sites["chrom"] == "chr1") & (truth.sites["origin"] == "single")
    )
    at_sites = [
        bound[motif, start // 32]
        for motif, start in sites.select("motif", "start").iter_rows()
        if start // 32 < bound.shape[1]
    ]
    assert np.mean(np.array(at_sites) > 0.5) > 0.75
    assert np.mean(bound > 0.5) < 0.1


def test_the_half_way_score_leaves_the_share_that_is_asked_for_below():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(9, 4))
    instances = rng.integers(0, 4, (500, 9), dtype=np.uint8)
    totals = np.array([sum(scores[i, x] for i, x in enumerate(one)) for one in instances])
    assert (totals < half_way_score(scores, instances, 0.2)).mean() == pytest.approx(0.2, abs=0.01)


def test_log_odds_are_finite_for_letters_that_never_occur():
    assert np.isfinite(log_odds(np.eye(4), np.full(4, 0.25))).all()


def test_tracks_are_standardised(truth):
    tracks = make_tracks(truth, Occupancy.of(truth))
    assert np.abs(tracks.values.mean(axis=(0, 2))).max() < 0.02
    assert tracks.values.std(axis=(0, 2)) == pytest.approx(np.full(7, np.sqrt(1.01)), abs=0.02)


def test_tracks_are_weights_times_occupancy_but_for_the_noise(truth):
    occupancy = Occupancy.of(truth)
    tracks = make_tracks(truth, occupancy)
    driven = np.einsum("tm,wmb->wtb", tracks.weights, occupancy(tracks.letters, bin=32))
    driven -= driven.mean(axis=(0, 2))[:, None]
    rest = tracks.values - driven
    assert rest.std() == pytest.approx(CONFIG.noise, rel=0.05)


def test_windows_tile_the_chromosomes(truth):
    tracks = make_tracks(truth, Occupancy.of(truth))
    assert tracks.chromosomes == ["chr1"] * 14 + ["chr2"] * 9
    assert np.array_equal(tracks.letters[14], truth.chromosomes["chr2"][:2048])


def test_every_motif_drives_as_many_tracks_and_loads_are_even():
    weights = draw_weights(10, 30, 4, np.random.default_rng(2))
    assert ((weights > 0).sum(axis=0) == 4).all()
    assert set((weights > 0).sum(axis=1)) <= {11, 12, 13}


def test_n_is_coded_as_zeros():
    coded = onehot(np.array([[0, 3, 4]], dtype=np.uint8))
    assert coded[0].T.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]

"""Counting: motifs rather than units, the whole database, and a null for what is learned."""

import numpy as np
import polars as pl
import pytest

from saers import schema
from saers.demo.files import channels_as_sae
from saers.demo.score import measure_learning, recovered, recovered_after_shuffle
from saers.demo.tracks import Occupancy
from saers.matches import match_motifs
from saers.motifs.databases import load_database

BACKGROUNDS = np.random.default_rng(0).integers(0, 4, (32, 300), dtype=np.uint8)


def consensus(letters):
    return np.eye(4)[["ACGT".index(letter) for letter in letters]]


INSTANCES = [consensus("TGACTCAGCA"), consensus("CCATATTAGG"), consensus("GGGACTTTCC")]
OCCUPANCY = Occupancy(
    [np.where(matrix > 0, 2.0, -9.0) for matrix in INSTANCES], np.full(3, 16.0), 1.0
)
WEIGHTS = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])


def learned(known, scale=1.0):
    """Measure a model that knows some of the motifs."""
    weights = WEIGHTS * np.array(known) * scale

    def predict(letters):
        bound = OCCUPANCY(letters, bin=32)
        return np.einsum("tm,wmb->wtb", weights, bound).astype(np.float32) + 5

    return measure_learning(predict, BACKGROUNDS, INSTANCES, OCCUPANCY, WEIGHTS, bin=32, seed=0)


def test_a_model_that_knows_all_motifs_has_learned_them():
    table = learned([1, 1, 1])
    assert table["learned"].all()
    assert table["response"].to_numpy() == pytest.approx(np.ones(3), abs=0.02)


def test_a_motif_that_the_model_does_not_know_is_not_learned():
    assert learned([1, 0, 1])["learned"].to_list() == [True, False, True]


def test_a_faint_answer_does_not_count():
    assert not learned([1, 1, 1], scale=0.2)["learned"].any()


def test_shuffled_inserts_give_a_null_near_zero():
    assert learned([1, 1, 1])["null"].max() < 0.1


def test_an_answer_in_the_wrong_tracks_does_not_count():
    def predict(letters):
        bound = OCCUPANCY(letters, bin=32)
        swapped = np.einsum("tm,wmb->wtb", WEIGHTS[::-1] * [0, 0, 1], bound)
        return swapped.astype(np.float32)

    table = measure_learning(predict, BACKGROUNDS, INSTANCES, OCCUPANCY, WEIGHTS, bin=32, seed=0)
    assert not table["learned"][2]


def test_measuring_twice_gives_the_same():
    assert learned([1, 1, 0]).equals(learned([1, 1, 0]))


def matches(*rows):
    return pl.DataFrame(rows, schema=["feature", "target_id", "e_value"], orient="row")


def test_motifs_are_counted_not_units():
    table = matches((0, "A", 1e-9), (1, "A", 1e-5), (2, "A", 1e-3))
    assert recovered(table, ["A", "B"]).found == {"A"}


def test_matches_above_the_evalue_do_not_count():
    assert recovered(matches((0, "A", 0.051)), ["A"]).found == set()


def test_matches_to_motifs_that_were_not_planted_do_not_count():
    recovery = recovered(matches((0, "other", 1e-9), (1, "A", 1e-9)), ["A"])
    assert recovery.found == {"A"}
    assert recovery.one_motif_share == 0.5


def test_a_unit_of_two_planted_motifs_is_not_of_one():
    table = matches((0, "A", 1e-9), (0, "B", 1e-9), (1, "B", 1e-9), (1, "B", 1e-4))
    assert recovered(table, ["A", "B"]).one_motif_share == 0.5


def test_nothing_found_is_nothing_recovered():
    recovery = recovered(matches((0, "other", 0.9)), ["A"])
    assert (recovery.found, recovery.one_motif_share) == (set(), 0.0)


@pytest.fixture(scope="module")
def database():
    return load_database("JASPAR2024_CORE_vertebrates")


@pytest.fixture(scope="module")
def discovered(database):
    """Thirty motifs of the database, as if each were found by one feature."""
    rows = [
        (f"{i}.1", i, 1, m.width, 100, -9.0, "builtin", m.consensus, m.matrix.tolist())
        for i, m in enumerate(database[::30])
    ]
    return pl.DataFrame(rows, schema=dict(schema.MOTIFS), orient="row")


def test_the_control_counts_the_same_way_and_finds_next_to_nothing(discovered, database):
    planted = [motif.id for motif in database[::30]]
    whole = match_motifs(discovered, database, thresh=0.05, evalue=True)
    assert len(recovered(whole, planted).found) == len(planted)
    assert len(recovered_after_shuffle(discovered, database, planted, seed=0).found) <= 3


def test_either_side_of_a_channel_is_a_unit():
    import torch

    sae = channels_as_sae([1.0, -2.0, 0.0])
    x = torch.tensor([[4.0, -2.5, 0.0]])
    codes = sae.encode(x)
    dense = torch.zeros(6)
    dense[torch.as_tensor(codes.indices[0]).long()] = codes.values[0]
    assert dense.tolist() == [3.0, 0.0, 0.0, 0.0, 0.5, 0.0]
    assert torch.allclose(sae.decode(codes), x)

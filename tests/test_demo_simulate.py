"""The simulated genome: what is planted is where the truth says, and nothing else is known."""

import numpy as np
import polars as pl
import pytest

from saers.demo.config import SimulationConfig
from saers.demo.motifs import choose_motifs, draw_instances, reverse_complement, sharpen
from saers.demo.simulate import (
    BACKGROUND,
    DINUCLEOTIDES,
    ENHANCER_CLASSES,
    background,
    letters_of,
    simulate,
)
from saers.matches import tomtom
from saers.motifs.databases import load_database

CONFIG = SimulationConfig(
    seed=3,
    chromosomes=(120_000, 60_000),
    n_motifs=8,
    n_pairs=2,
    bp_per_gap=40_000,
    bp_per_repeat=4000,
)


@pytest.fixture(scope="module")
def database():
    return load_database("JASPAR2024_CORE_vertebrates")[:300]


@pytest.fixture(scope="module")
def truth(database):
    return simulate(CONFIG, database)


def letters_at(truth, row):
    letters = truth.chromosomes[row["chrom"]][row["start"] : row["end"]]
    return reverse_complement(letters) if row["strand"] == "-" else letters


def test_the_same_seed_gives_the_same_genome(truth, database):
    again = simulate(CONFIG, database)
    for name, letters in truth.chromosomes.items():
        assert np.array_equal(letters, again.chromosomes[name])
    assert truth.sites.equals(again.sites)


def test_another_seed_gives_another_genome_and_other_motifs(truth, database):
    other = simulate(
        SimulationConfig(seed=4, chromosomes=(60_000,), n_motifs=8, n_pairs=2), database
    )
    assert {motif.id for motif in other.motifs} != {motif.id for motif in truth.motifs}
    assert not np.array_equal(other.chromosomes["chr1"], truth.chromosomes["chr1"][:60_000])


def test_planted_sites_carry_instances_of_their_motif_on_their_strand(truth):
    planted = truth.sites.filter(pl.col("origin") != "repeat")
    for row in planted.iter_rows(named=True):
        matrix = truth.instances[row["motif"]]
        chance = matrix[np.arange(len(matrix)), letters_at(truth, row)]
        assert (chance > 0).all()
    assert set(planted["strand"]) == {"+", "-"}


def test_sites_follow_their_matrix_and_not_its_reverse(truth):
    for motif, matrix in enumerate(truth.instances):
        rows = truth.sites.filter(
            (pl.col("motif") == motif) & (pl.col("origin") != "repeat")
        ).iter_rows(named=True)
        letters = np.array([letters_at(truth, row) for row in rows])
        counts = np.stack([(letters == base).mean(axis=0) for base in range(4)], axis=1)
        assert np.abs(counts - matrix).max() < 0.35, "far beyond sampling error"
        assert np.abs(counts - matrix).mean() < 0.05


def test_no_site_lies_over_another_or_over_n(truth):
    for name, letters in truth.chromosomes.items():
        sites = truth.sites.filter(pl.col("chrom") == name).sort("start")
        starts, ends = sites["start"].to_numpy(), sites["end"].to_numpy()
        assert (starts[1:] >= ends[:-1]).all()
        covered = np.zeros(len(letters), dtype=bool)
        for start, end in zip(starts, ends, strict=True):
            covered[start:end] = True
        assert not (letters[covered] == 4).any()


def test_runs_of_n_lie_at_both_ends_and_inside(truth):
    for letters in truth.chromosomes.values():
        assert (letters[:1000] == 4).all()
        assert (letters[-1000:] == 4).all()
        assert (letters[1000:-1000] == 4).any()


def test_pairs_stand_in_their_order_at_their_distance(truth):
    paired = truth.sites.filter(pl.col("origin") == "pair").sort("chrom", "start")
    assert paired.height >= 4
    gaps = {(a, b): gap for a, b, gap in truth.pairs.iter_rows()}
    rows = list(paired.iter_rows(named=True))
    for left, right in zip(rows[::2], rows[1::2], strict=True):
        assert left["strand"] == right["strand"]
        order = (left, right) if left["strand"] == "+" else (right, left)
        assert right["start"] - left["end"] == gaps[order[0]["motif"], order[1]["motif"]]


def test_each_enhancer_class_is_rich_in_motifs_of_its_own(truth):
    planted = truth.sites.filter(pl.col("origin") == "enhancer")
    found = {name: set() for name in ENHANCER_CLASSES}
    for row in planted.iter_rows(named=True):
        over = truth.enhancers.filter(
            (pl.col("chrom") == row["chrom"])
            & (pl.col("start") <= row["start"])
            & (pl.col("end") >= row["end"])
        )
        assert over.height
        for name in set(over["class"]):
            found[name].add(row["motif"])
    assert len(set.union(*found.values())) > 4


def test_repeats_alone_are_in_lower_case(truth):
    for name in truth.chromosomes:
        text = letters_of(truth, name)
        repeats = truth.repeats.filter(pl.col("chrom") == name)
        assert repeats.height
        lower = np.array([letter.islower() for letter in text])
        expected = np.zeros(len(text), dtype=bool)
        for start, end in repeats.select("start", "end").iter_rows():
            expected[start:end] = True
        assert np.array_equal(lower, expected)


def test_copies_of_a_repeat_resemble_each_other(truth):
    family = truth.repeats.filter((pl.col("class") == "family1") & (pl.col("chrom") == "chr1"))
    copies = [
        truth.chromosomes["chr1"][start:end]
        for start, end in family.select("start", "end").iter_rows()
    ]
    first = copies[0]
    for copy in copies[1:]:
        same = max((copy == first).mean(), (reverse_complement(copy) == first).mean())
        assert same > 0.4, "unrelated sequences agree at a quarter of the letters"


def test_the_background_has_human_dinucleotides():
    letters = background(400_000, np.random.default_rng(0))
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (letters[:-1], letters[1:]), 1)
    rows = pairs / pairs.sum(axis=1, keepdims=True)
    expected = DINUCLEOTIDES / DINUCLEOTIDES.sum(axis=1, keepdims=True)
    assert np.abs(rows - expected).max() < 0.006
    assert np.abs(np.bincount(letters) / len(letters) - BACKGROUND).max() < 0.01


def test_blocks_of_the_background_join_as_the_chain_does():
    rng = np.random.default_rng(5)
    joins = np.zeros((4, 4))
    letters = background(1024 * 3000, rng)
    np.add.at(joins, (letters[1023:-1:1024], letters[1024::1024]), 1)
    rows = joins / joins.sum(axis=1, keepdims=True)
    expected = DINUCLEOTIDES / DINUCLEOTIDES.sum(axis=1, keepdims=True)
    assert np.abs(rows - expected).max() < 0.09


def test_no_chosen_motif_resembles_another(database):
    chosen = choose_motifs(database, 20, seed=1)
    found = tomtom(chosen, chosen, thresh=20.0, evalue=True)
    others = found.filter(pl.col("query_id") != pl.col("target_id"))
    assert (others["p_value"] * len(database)).min() >= 1.0
    assert all(13 <= motif.information.sum() <= 22 for motif in chosen)
    assert all(8 <= motif.width <= 18 for motif in chosen)


def test_too_many_motifs_are_refused(database):
    with pytest.raises(ValueError, match="count must be at most"):
        choose_motifs(database, 300, seed=1)


def test_instances_follow_the_probabilities():
    matrix = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 1.0]])
    drawn = draw_instances(matrix, 4000, np.random.default_rng(0))
    assert abs((drawn[:, 0] == 0).mean() - 0.7) < 0.03
    assert (drawn[:, 1] == 3).all()


def test_sharpening_keeps_the_consensus_and_adds_information():
    matrix = np.array([[0.4, 0.3, 0.2, 0.1]])
    sharp = sharpen(matrix, 2.5)
    assert sharp.sum() == pytest.approx(1)
    assert sharp[0, 0] > matrix[0, 0]
    assert np.array_equal(np.argsort(sharp), np.argsort(matrix))


@pytest.mark.parametrize("wrong", [{"n_motifs": 0}, {"tracks_per_motif": 99}, {"n_pairs": 30}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulationConfig(**wrong)

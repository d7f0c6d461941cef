"""saers.clusters: groups around leaders, archetypes in their frame, the same for any order."""

import numpy as np
import polars as pl
import pytest

from saers import Motif, cluster_motifs, read_motifs, schema
from saers.motif import write_motifs

CENTRES = ["TGACTCAT", "GGGCGGGGC", "CACGTGACC", "TTTCCGGAAG", "AAGATAAGC"]


def variants(seed, count=12):
    """Noisy, shifted and turned copies of five motifs."""
    random = np.random.default_rng(seed)
    motifs = []
    for family, word in enumerate(CENTRES):
        core = np.eye(4)[["ACGT".index(letter) for letter in word]]
        for copy in range(count):
            counts = np.array([random.multinomial(200, 0.92 * row + 0.02) for row in core])
            flanks = [random.multinomial(200, [0.25] * 4, n) for n in random.integers(0, 3, 2)]
            matrix = np.vstack([flanks[0], counts, flanks[1]]) / 200
            if copy % 2:
                matrix = matrix[::-1, ::-1]
            sites = float(random.integers(50, 500))
            motifs.append(Motif(f"f{family}.{copy}", "", matrix, sites))
    return motifs


def test_families_are_found_and_archetypes_look_like_their_centres():
    found = cluster_motifs(variants(0), max_pvalue=1e-3)
    assert found.members.schema == schema.MEMBERS
    families = found.members.with_columns(pl.col("motif_id").str.slice(0, 2).alias("family"))
    assert families.group_by("archetype").agg(pl.col("family").n_unique())["family"].max() == 1
    assert len(found.archetypes) == len(CENTRES)
    for archetype in found.archetypes:
        both = {archetype.consensus, archetype.reverse_complement().consensus}
        assert any(word in spelled for word in CENTRES for spelled in both)


def test_every_motif_belongs_to_one_group_and_leaders_come_first():
    motifs = variants(1)
    found = cluster_motifs(motifs, max_pvalue=1e-4)
    assert sorted(found.members["motif_id"]) == sorted(motif.id for motif in motifs)
    leaders = found.members.group_by("archetype", maintain_order=True).first()
    assert leaders["motif_id"].to_list() == [motif.name for motif in found.archetypes]
    assert leaders["log10_p"].is_null().all()
    assert (found.members.drop_nulls()["log10_p"] <= -4).all()
    sites = {motif.id: motif.n_sites for motif in motifs}
    totals = found.members.group_by("archetype", maintain_order=True).agg("motif_id")
    for archetype, ids in zip(found.archetypes, totals["motif_id"], strict=True):
        assert archetype.n_sites == sum(sites[id] for id in ids)


def test_neither_order_nor_threads_nor_chunks_change_the_groups(monkeypatch):
    motifs = variants(2)
    found = cluster_motifs(motifs, threads=1)
    again = cluster_motifs(motifs[::-1], threads=2)
    assert found.members.equals(again.members)
    for ours, theirs in zip(found.archetypes, again.archetypes, strict=True):
        np.testing.assert_array_equal(ours.matrix, theirs.matrix)


def test_an_archetype_is_the_mean_of_its_members_weighted_by_sites():
    one = np.full((8, 4), 0.02) + 0.92 * np.eye(4)[[2, 0, 2, 1, 3, 3, 0, 1]]
    other = np.full((8, 4), 0.05) + 0.80 * np.eye(4)[[2, 0, 2, 1, 3, 3, 0, 1]]
    motifs = [Motif("a", "", one, 300), Motif("b", "", other[::-1, ::-1], 100)]
    found = cluster_motifs(motifs, max_pvalue=0.05)
    [archetype] = found.archetypes
    np.testing.assert_allclose(archetype.matrix, 0.75 * one + 0.25 * other, atol=1e-12)


def test_a_strict_limit_leaves_every_motif_alone():
    motifs = variants(3, count=2)
    found = cluster_motifs(motifs, max_pvalue=0.0)
    assert len(found.archetypes) == len(motifs)
    assert found.members["offset"].to_list() == [0] * len(motifs)


def test_archetypes_are_a_database_of_their_own(tmp_path):
    write_motifs(variants(4), tmp_path / "m.meme")
    found = cluster_motifs(tmp_path / "m.meme", max_pvalue=1e-3)
    write_motifs(found.archetypes, tmp_path / "archetypes.meme")
    again = read_motifs(tmp_path / "archetypes.meme")
    assert [(m.id, m.name, m.n_sites) for m in again] == [
        (m.id, m.name, m.n_sites) for m in found.archetypes
    ]


def test_ids_must_differ_and_limits_be_probabilities():
    twice = [Motif("m", "", np.eye(4)), Motif("m", "", np.eye(4))]
    with pytest.raises(ValueError, match="'m' occurs twice"):
        cluster_motifs(twice)
    with pytest.raises(ValueError, match=r"max_pvalue must lie in 0\.\.1, got 2"):
        cluster_motifs(twice[:1], max_pvalue=2)


def test_nothing_makes_no_archetypes():
    found = cluster_motifs([])
    assert found.archetypes == []
    assert found.members.schema == schema.MEMBERS

"""Matches of the motifs of features: the table of a run."""

import polars as pl
import pytest

from saers import schema
from saers.matches import match_motifs, motifs_of, tomtom
from tests.test_matches import FLAT, A, C, G, T, spell


def motifs_frame(*motifs):
    return pl.DataFrame(
        {
            "motif_id": [id for id, _, _ in motifs],
            "feature": [feature for _, feature, _ in motifs],
            "index": [1 for _ in motifs],
            "width": [len(rows) for *_, rows in motifs],
            "n_sites": [20 for _ in motifs],
            "log10_evalue": [-3.0 for _ in motifs],
            "engine": ["meme" for _ in motifs],
            "consensus": ["" for _ in motifs],
            "pfm": [[[float(x) for x in row] for row in rows] for *_, rows in motifs],
        }
    )


def test_features_come_with_the_matches_of_their_motifs():
    motifs = motifs_frame(("1_n5.1", 5, [A, C, G, T]), ("2_n3.1", 3, [G, A, T, T]))
    known = [spell("t1", "ACGTT"), spell("t2", "CGATTC")]
    found = match_motifs(motifs, known, thresh=1.0)
    assert found.schema == schema.MATCHES
    assert found.group_by("query_id", maintain_order=True).first()["feature"].to_list() == [5, 3]
    assert found.drop("feature").equals(
        tomtom(motifs_of(motifs), known, thresh=1.0).drop("feature")
    )


def test_flat_motifs_of_features_are_left_out_with_a_warning():
    motifs = motifs_frame(("flat", 1, [FLAT, FLAT]), ("1_n5.1", 5, [A, C, G, T]))
    with pytest.warns(UserWarning, match="not matched, without information: flat"):
        found = match_motifs(motifs, [spell("t1", "ACGTT")], thresh=1.0)
    assert found["query_id"].to_list() == ["1_n5.1"]
    with pytest.warns(UserWarning, match="not matched"):
        assert match_motifs(motifs[:1], [spell("t1", "ACGTT")]).is_empty()

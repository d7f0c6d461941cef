"""saers.matches: agreement with Tomtom 5.4.1, its tie rules, and its edges."""

import gzip

import polars as pl
import pytest

from saers import schema
from saers.matches import match_motifs, tomtom, write_tomtom_tsv
from saers.motif import Motif

A, C, G, T = [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]
FLAT = [0.25] * 4
LETTERS = {"A": A, "C": C, "G": G, "T": T, "N": FLAT}


def spell(id, word, **fields):
    return Motif(id, "", [LETTERS[letter] for letter in word], **fields)


def rows(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [row.split("\t") for row in text.splitlines() if row and not row.startswith("#")]


RECORDED = [
    ("queries30", "JASPAR2024", "tomtom541_queries30_vs_JASPAR2024vert.tsv.gz", {"thresh": 1}),
    (
        "queries5",
        "JASPAR2024",
        "tomtom541_pearson_mo5_queries5_vs_JASPAR2024vert.tsv.gz",
        {"thresh": 1, "dist": "pearson", "min_overlap": 5},
    ),
    ("explainn_filters", "JASPAR2020", "explainn_MAX_JUND_FOXA1_tomtom.tsv", {}),
]


@pytest.mark.data
@pytest.mark.parametrize("queries, database, recorded, options", RECORDED)
def test_every_printed_field_and_the_order_are_those_of_tomtom(
    data, tmp_path, queries, database, recorded, options
):
    found = tomtom(
        data / "golden" / f"{queries}.meme",
        data / "motifdb" / f"{database}_CORE_vertebrates_nr.meme.gz",
        q="compat",
        **options,
    )
    write_tomtom_tsv(found, tmp_path / "tomtom.tsv")
    assert rows(tmp_path / "tomtom.tsv") == rows(data / "golden" / recorded)


@pytest.mark.data
@pytest.mark.parametrize("queries, database, recorded, options", RECORDED[:2])
def test_without_the_bootstrap_only_q_values_differ(
    data, tmp_path, queries, database, recorded, options
):
    found = tomtom(
        data / "golden" / f"{queries}.meme",
        data / "motifdb" / f"{database}_CORE_vertebrates_nr.meme.gz",
        **options,
    )
    write_tomtom_tsv(found, tmp_path / "tomtom.tsv")

    def drop_q(table):
        return [row[:5] + row[6:] for row in table]

    assert drop_q(rows(tmp_path / "tomtom.tsv")) == drop_q(rows(data / "golden" / recorded))


def test_features_come_with_the_matches_of_their_motifs():
    motifs = pl.DataFrame(
        {
            "motif_id": ["1_n5.1", "2_n3.1"],
            "feature": [5, 3],
            "index": [1, 1],
            "width": [4, 4],
            "n_sites": [20, 20],
            "log10_evalue": [-3.0, -2.0],
            "engine": ["meme", "meme"],
            "consensus": ["ACGT", "GATT"],
            "pfm": [[A, C, G, T], [G, A, T, T]],
        }
    )
    known = [spell("t1", "ACGTT"), spell("t2", "CGATTC")]
    found = match_motifs(motifs, known, thresh=1.0)
    assert found.schema == schema.MATCHES
    assert found.group_by("query_id", maintain_order=True).first()["feature"].to_list() == [5, 3]

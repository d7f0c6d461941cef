"""saers match, scan, cluster and databases on small files: what is written, said and refused."""

import json
import warnings

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from saers import Motif, cli, read_motifs, schema
from saers.cli import app
from saers.motif import write_motifs
from saers.sites import scan

WORDS = {"M1": "TGACTCA", "M2": "CACGTGAC", "M3": "GGGCGGGG"}


def saers(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def spelled(id, word, strength=0.91):
    rows = np.eye(4)[["ACGT".index(letter) for letter in word]]
    return Motif(id, f"name_{id}", strength * rows + (1 - strength) / 4, 50)


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "known.meme"
    write_motifs([spelled(id, word) for id, word in WORDS.items()], path)
    return path


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SAERS_DATABASES", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "sites.fa"
    path.write_text(">one\nTTTTTGACTCATTTTT\n>two\nAAAAGTCACGTGAAAA\n>nothing\nNNNNNNNNNNNN\n")
    return path


def one_line_of_failure(result, *words):
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize(
    "verb", [["match"], ["scan"], ["cluster"], ["databases"], ["databases", "add"]]
)
def test_help_has_examples_that_name_the_command(verb):
    result = saers(*verb, "--help")
    assert result.exit_code == 0
    examples = result.output.split("Examples")[1]
    assert f"saers {' '.join(verb)}" in examples


def test_match_keeps_names_and_families_beside_tomtom_s_table(known, kept, tmp_path):
    (tmp_path / "families.tsv").write_text("M1\tbZIP factors\n")
    added = saers("databases", "add", known, "--name", "k", "--families", tmp_path / "families.tsv")
    assert added.exit_code == 0
    write_motifs([spelled("q", "TGACTCAT")], tmp_path / "q.meme")
    table = tmp_path / "out" / "tomtom.tsv"
    table.parent.mkdir()
    done = saers("match", tmp_path / "q.meme", "k", "--tsv", table, "--thresh", 1, "--json")
    said = json.loads(done.stdout)
    assert said == {
        "matches": 3,
        "tsv": str(table),
        "parquet": str(table.with_name("matches.parquet")),
    }
    frame = pl.read_parquet(said["parquet"])
    assert frame.columns == [*schema.MATCHES, "family"]
    best = frame.row(0, named=True)
    assert (best["target_id"], best["target_name"]) == ("M1", "name_M1")
    assert frame["family"].to_list() == ["bZIP factors", None, None]
    assert table.read_text().splitlines()[1].split("\t")[:3] == ["q", "M1", "0"]


def test_match_refuses_what_it_cannot_do(known, kept, tmp_path):
    one_line_of_failure(saers("match", known, "JASPAR2024_CORE_vertebrate"), "did you mean")
    one_line_of_failure(saers("match", tmp_path / "no.meme", known), "no.meme")
    one_line_of_failure(saers("match", known, known, "--dist", "blic5"), "dist must be one of")
    broken = tmp_path / "broken.meme"
    broken.write_text("MEME version 4\n\nMOTIF a\nletter-probability matrix: w= 1\n0.5 0.1 0 0\n")
    one_line_of_failure(saers("match", broken, known), "broken.meme", "line 4")
    assert saers("match", known).exit_code == 2
    assert not list(tmp_path.glob("*.tsv"))


def test_scan_writes_the_sites_that_the_function_finds(known, fasta, tmp_path):
    out, parquet = tmp_path / "fimo.tsv", tmp_path / "sites.parquet"
    done = saers("scan", known, fasta, "--tsv", out, "--parquet", parquet, "--json")
    expected = scan(read_motifs(known), fasta)
    assert json.loads(done.stdout) == {"sites": expected.height, "tsv": str(out)}
    assert pl.read_parquet(parquet).equals(expected)
    rows = [line.split("\t") for line in out.read_text().splitlines()[1:] if line[:1] == "M"]
    # Palindromes but for their ends are found on both strands.
    assert {(row[0], row[2], row[3]) for row in rows if row[5] == "+"} >= {("M1", "one", "5")}
    assert any(row[0] == "M2" and row[2] == "two" and row[5] == "-" for row in rows)
    given = saers("scan", known, fasta, "--tsv", out, "--norc", "--thresh", "1e-3")
    assert given.exit_code == 0
    strands = [line.split("\t")[5] for line in out.read_text().splitlines()[1:] if line[:1] == "M"]
    assert set(strands) == {"+"}


def test_scan_of_regions_says_where_in_the_genome(known, fasta, tmp_path):
    (tmp_path / "peaks.bed").write_text("one\t3\t14\n")
    out = tmp_path / "fimo.tsv"
    done = saers("scan", known, fasta, "--bed", tmp_path / "peaks.bed", "--tsv", out)
    assert done.exit_code == 0
    rows = [line.split("\t") for line in out.read_text().splitlines()[1:] if line[:1] == "M"]
    assert {row[2] for row in rows} == {"one"}
    assert "5" in {row[3] for row in rows}


def test_scan_refuses_what_it_cannot_read(known, fasta, tmp_path):
    one_line_of_failure(saers("scan", known, tmp_path / "no.fa"), "no.fa")
    one_line_of_failure(saers("scan", tmp_path / "no.meme", fasta), "no.meme")
    protein = tmp_path / "protein.fa"
    protein.write_text(">p\nMKLVVE\n")
    one_line_of_failure(
        saers("scan", known, protein), "protein.fa: sequence p", "'L' at position 2"
    )
    one_line_of_failure(saers("scan", known, fasta, "--q", "storey"), "q must be one of bh, compat")
    (tmp_path / "far.bed").write_text("one\t3\t1400\n")
    one_line_of_failure(saers("scan", known, fasta, "--bed", tmp_path / "far.bed"), "1400")
    assert saers("scan", known, fasta, "--thresh", 2).exit_code == 2


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["no sequences"]),
        ("ACGT\n", ["line 1", "no '>' header before 'ACGT'"]),
        (">p\nACGT\n>q\nMKLV\n", ["sequence 2 holds 'L' at position 3", "protein"]),
    ],
)
def test_motifs_names_the_file_that_it_cannot_read(tmp_path, text, words):
    path = tmp_path / "bad.fa"
    path.write_text(text)
    one_line_of_failure(saers("motifs", path, "-o", tmp_path / "m.meme"), "bad.fa: ", *words)
    assert not (tmp_path / "m.meme").exists()


@pytest.mark.parametrize("letters", ["ACG", "N" * 40])
def test_motifs_that_are_not_found_are_no_failure(tmp_path, letters):
    path = tmp_path / "s.fa"
    path.write_text("".join(f">twice\n{letters}\n" for _ in range(30)))
    done = saers("motifs", path, "-o", tmp_path / "m.meme")
    assert done.exit_code == 0
    assert "0 motifs found" in done.stderr
    assert not (tmp_path / "m.meme").exists()


@pytest.mark.parametrize("letters", ["ACG", "N" * 40])
def test_scan_finds_no_site_where_none_fits(known, tmp_path, letters):
    path = tmp_path / "s.fa"
    path.write_text(f">s\n{letters}\n")
    done = saers("scan", known, path, "--tsv", tmp_path / "f.tsv", "--q", "compat")
    assert (done.exit_code, done.stderr.split()[0]) == (0, "0")


def test_warnings_come_without_lines_of_code():
    with cli._clear_warnings():
        said = warnings.formatwarning(UserWarning("left\nout"), UserWarning, "a.py", 1)
        other = warnings.formatwarning(DeprecationWarning("old"), DeprecationWarning, "a.py", 1)
    assert said == "saers: left out\n"
    assert "a.py:1: DeprecationWarning: old" in other


def test_cluster_writes_archetypes_and_their_members(tmp_path):
    motifs = [spelled(id, word) for id, word in WORDS.items()]
    turned = [m.reverse_complement() for m in motifs]
    copies = [Motif(f"{m.id}rc", "", m.matrix, 20) for m in turned]
    write_motifs([*motifs, *copies], tmp_path / "all.meme")
    out = tmp_path / "archetypes.meme"
    done = saers("cluster", tmp_path / "all.meme", "-o", out, "--max-pvalue", "0.01", "--json")
    table = tmp_path / "archetypes.members.tsv"
    said = {"motifs": 6, "archetypes": 3, "out": str(out), "members": str(table)}
    assert json.loads(done.stdout) == said
    assert sorted(motif.name for motif in read_motifs(out)) == sorted(WORDS)
    members = pl.read_csv(table, separator="\t")
    assert members.columns == list(schema.MEMBERS)
    assert members.filter(motif_id="M3rc")["orientation"].to_list() == ["-"]


def test_cluster_refuses_what_it_cannot_read(tmp_path):
    one_line_of_failure(saers("cluster", tmp_path / "no.meme"), "no.meme")
    empty = tmp_path / "empty.meme"
    empty.write_text("")
    one_line_of_failure(saers("cluster", empty), "empty.meme")
    assert saers("cluster", empty, "--max-pvalue", -1).exit_code == 2


def test_databases_lists_what_was_added(known, kept):
    done = saers("databases", "add", known, "--name", "mine", "--json")
    entry = json.loads(done.stdout)
    assert (entry["name"], entry["motifs"], entry["source"]) == ("mine", 3, str(known))
    listed = json.loads(saers("databases", "--json").stdout)
    assert listed["added"] == [entry]
    assert listed["folder"] == str(kept)
    assert "JASPAR2024_CORE_vertebrates" in listed["jaspar"]
    shown = saers("databases").output
    assert "mine" in shown
    assert "JASPAR2024_CORE" in shown


def test_databases_add_refuses_what_is_no_database(known, kept, tmp_path):
    one_line_of_failure(saers("databases", "add", tmp_path / "no", "--name", "mine"), "no")
    one_line_of_failure(saers("databases", "add", known, "--name", "a/b"), "name must be letters")
    wrong = saers("databases", "add", known, "--name", "mine", "--sha256", "0" * 64)
    one_line_of_failure(wrong, "expected sha256", "found")
    page = tmp_path / "page.html"
    page.write_text("<html>not found</html>\n")
    one_line_of_failure(saers("databases", "add", page, "--name", "mine"), "not a motif file")
    assert saers("databases", "add", known).exit_code == 2
    assert json.loads(saers("databases", "--json").stdout)["added"] == []

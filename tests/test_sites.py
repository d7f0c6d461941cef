"""saers.sites: agreement with FIMO 5.4.1, pieces, regions, q-values, and odd input."""

import hashlib
import subprocess
from itertools import groupby

import numpy as np
import polars as pl
import pytest

from saers import FormatError, Genome, Motif, schema
from saers import scan as public_scan
from saers.motif import read_background, write_motifs
from saers.motifs.databases import load_database
from saers.sites import NONREDUNDANT, scan, write_fimo_tsv

LETTERS = dict(zip("ACGTN", [*np.eye(4), np.full(4, 0.25)], strict=True))


def spell(id, word, **fields):
    return Motif(id, fields.pop("name", ""), [LETTERS[letter] for letter in word], **fields)


def random_sequences(seed, count, length, letters="ACGTacgtN", weights=(*[0.12] * 8, 0.04)):
    random = np.random.default_rng(seed)
    return {
        f"s{i}": "".join(random.choice(list(letters), size=length, p=weights)) for i in range(count)
    }


def write_fasta(sequences, path):
    path.write_text("".join(f">{name} note\n{letters}\n" for name, letters in sequences.items()))
    return path


def rows(text):
    """Fields of each row but the q-value, which FIMO leaves out of its text."""
    lines = [line.split("\t") for line in text.splitlines()[1:] if line and line[0] != "#"]
    return [fields[:8] + fields[9:] for fields in lines]


FIMO_OPTIONS = [
    ([], {}),
    (["--norc"], {"reverse_complement": False}),
    (["--motif-pseudo", "2"], {"pseudocount": 2.0}),
    (["--bfile", "--uniform--"], {"background": (0.25,) * 4}),
    (["--bfile", "FILE"], {"background": (0.4, 0.3, 0.2, 0.1)}),
    (
        ["--bfile", "FILE", "--norc"],
        {"background": (0.4, 0.3, 0.2, 0.1), "reverse_complement": False},
    ),
]


@pytest.mark.meme
@pytest.mark.parametrize("flags, options", FIMO_OPTIONS)
def test_the_program_itself_prints_the_same(tmp_path, flags, options):
    motifs = [
        spell("w1", "A", name="one"),
        spell("flat", "NNNN", n_sites=3),
        spell("box", "CACGTG", n_sites=0.0),
        *load_database("JASPAR2024_CORE_vertebrates")[::97],
    ]
    write_motifs(motifs, tmp_path / "m.meme")
    fasta = write_fasta(random_sequences(1, 6, 400), tmp_path / "s.fa")
    (tmp_path / "FILE").write_text("A 0.4\nC 0.3\nG 0.2\nT 0.1\n")
    flags = [str(tmp_path / flag) if flag == "FILE" else flag for flag in flags]
    command = ["fimo", "--text", "--verbosity", "1", "--thresh", "0.05", *flags]
    printed = subprocess.run(
        [*command, tmp_path / "m.meme", fasta], capture_output=True, text=True, check=True
    ).stdout
    write_fimo_tsv(scan(tmp_path / "m.meme", fasta, thresh=0.05, **options), tmp_path / "own.tsv")
    assert len(rows(printed)) > 400
    assert rows((tmp_path / "own.tsv").read_text()) == rows(printed)


def inputs_of_fimo(folder):
    """Motifs and 7,500 letters: of the p-values of some motifs samples are drawn."""
    known = ["CACGTG", "TGACTCA", "GGGNNTTTCC", "A"]
    motifs = [spell(f"m{i}", word, n_sites=9) for i, word in enumerate(known)]
    write_motifs(motifs, folder / "m.meme")
    sequences = random_sequences(7, 3, 2500) | {"few": "ACGTTGCA" * 5}
    return folder / "m.meme", write_fasta(sequences, folder / "s.fa")


def with_q(text):
    """Rows with their q-value, but for the order of equal ones."""
    return sorted(line for line in text.splitlines()[1:] if line and line[0] != "#")


@pytest.mark.meme
@pytest.mark.parametrize("thresh", [1.0, 0.3, 0.01])
def test_q_values_of_the_program_itself_are_the_same(tmp_path, thresh):
    motifs, fasta = inputs_of_fimo(tmp_path)
    command = ["fimo", "--oc", tmp_path / "out", "--verbosity", "1", "--thresh", str(thresh)]
    subprocess.run([*command, motifs, fasta], capture_output=True, check=True)
    write_fimo_tsv(scan(motifs, fasta, thresh=thresh, q="compat"), tmp_path / "own.tsv")
    printed = with_q((tmp_path / "out" / "fimo.tsv").read_text())
    assert len(printed) > 200
    assert with_q((tmp_path / "own.tsv").read_text()) == printed


# Digests of what FIMO 5.4.1 prints of those, motif by motif.
FIMO_DIGESTS = {
    1.0: ["372ee466c935", "4d60e1110dfe", "653e2f46eac3", "7475973b5fd4"],
    0.3: ["0eca6823a2b0", "77a7e8d2638c", "4edfb71ed91b", "f3beca5bb5b4"],
    0.01: ["8047057dabf4", "01f3eb5b9bde", "298a882585cc"],
}


@pytest.mark.parametrize("thresh", FIMO_DIGESTS)
def test_q_values_are_those_of_the_recorded_runs(tmp_path, thresh):
    write_fimo_tsv(scan(*inputs_of_fimo(tmp_path), thresh=thresh, q="compat"), tmp_path / "own.tsv")
    found = groupby(with_q((tmp_path / "own.tsv").read_text()), key=lambda row: row.split("\t")[0])
    digests = [hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12] for _, rows in found]
    assert digests == FIMO_DIGESTS[thresh]


def test_q_values_of_fimo_do_not_depend_on_how_sequences_are_cut(tmp_path, monkeypatch):
    motifs, fasta = inputs_of_fimo(tmp_path)
    whole = scan(motifs, fasta, thresh=0.01, q="compat")
    assert not whole.equals(scan(motifs, fasta, thresh=0.01))
    monkeypatch.setattr("saers.sites.BATCH", 999)
    assert scan(motifs, fasta, thresh=0.01, q="compat", threads=3).equals(whole)


# FIMO 5.4.1, `--text --thresh 0.01`, with its default background.
RECORDED = """\
box	MAX	s	2	7	+	12.2857	0.000195		CACGTG
box	MAX	s	2	7	-	12.2857	0.000195		CACGTG
box	MAX	s	9	14	+	2.77551	0.00122		CGCGTG
box	MAX	s	9	14	-	2.77551	0.00122		CACGCG
"""


def test_scores_and_p_values_are_those_of_the_recorded_run(tmp_path):
    sites = scan([spell("box", "CACGTG", name="MAX")], {"s": "ACACGTGACGCGTGtt"}, thresh=0.01)
    write_fimo_tsv(sites, tmp_path / "own.tsv")
    assert rows((tmp_path / "own.tsv").read_text()) == rows("head\n" + RECORDED)


def test_long_sequences_are_cut_into_pieces_without_a_trace(tmp_path, monkeypatch):
    motifs = [spell("a", "ACG"), spell("b", "TTNNNCA"), spell("c", "G")]
    sequences = random_sequences(2, 5, 300) | {"empty": "", "short": "AC"}
    fasta = write_fasta(sequences, tmp_path / "s.fa")
    whole = scan(motifs, sequences, thresh=0.5)
    assert whole.height > 100
    genome = Genome(write_fasta({k: v for k, v in sequences.items() if v}, tmp_path / "g.fa"))
    for batch in (7, 50, 299, 300):
        monkeypatch.setattr("saers.sites.BATCH", batch)
        assert scan(motifs, sequences, thresh=0.5).equals(whole)
        assert scan(motifs, fasta, thresh=0.5).equals(whole)
        assert scan(motifs, genome, thresh=0.5).equals(whole)


def test_regions_of_a_genome_keep_their_coordinates(tmp_path):
    genome = Genome(write_fasta({"chr1": "TTTTCACGTGTTTTCACGTG"}, tmp_path / "g.fa"))
    frame = pl.DataFrame({"chrom": ["chr1"], "start": [8], "end": [20], "strand": ["-"]})
    found = scan([spell("box", "CACGTG")], genome, regions=frame, thresh=0.001)
    assert found.select("sequence", "start", "end", "strand").rows() == [
        ("chr1", 14, 20, "+"),
        ("chr1", 14, 20, "-"),
    ]
    with pytest.raises(ValueError, match="regions need a genome"):
        scan([spell("box", "CACGTG")], {"s": "ACGT"}, regions=[("chr1", 0, 4)])


def test_q_values_are_those_of_benjamini_and_hochberg_over_all_places():
    sites = scan([spell("a", "ACG")], random_sequences(3, 1, 500), thresh=1.0)
    places = sites.height
    p = np.sort(sites["p_value"].to_numpy())
    naive = [min(1, *(p[j] * places / (j + 1) for j in range(i, places))) for i in range(places)]
    assert np.allclose(np.sort(sites["q_value"].to_numpy()), naive)
    some = scan([spell("a", "ACG")], random_sequences(3, 1, 500), thresh=0.05)
    assert (some["q_value"] >= some["p_value"]).all()


def test_two_motifs_of_one_id_keep_their_own_sites():
    found = scan([spell("m", "ACG"), spell("m", "TTTT")], {"s": "AACGTTTTT"}, thresh=0.02)
    assert set(found["matched"]) == {"ACG", "CGT", "TTTT", "AACG"} & set(found["matched"])
    assert found.filter(pl.col("matched") == "TTTT").height == 2


def test_threads_and_letter_case_change_nothing():
    motifs, sequences = [spell("a", "ACGT"), spell("b", "GGNC")], random_sequences(4, 9, 200)
    one = scan(motifs, sequences, thresh=0.1, threads=1)
    assert one.equals(scan(motifs, sequences, thresh=0.1, threads=3))
    upper = {name: letters.upper() for name, letters in sequences.items()}
    drop = one.drop("matched")
    assert drop.equals(scan(motifs, upper, thresh=0.1).drop("matched"))


@pytest.mark.parametrize("letters", ["", "AC", "NNNNNN", "acgtRYKM--"])
def test_what_holds_no_place_has_no_site(letters):
    found = public_scan([spell("box", "CACGTG")], {"s": letters}, thresh=1.0)
    assert found.is_empty()
    assert found.schema == schema.SITES


@pytest.mark.parametrize(
    "options, message",
    [
        ({"thresh": 2}, "thresh must lie in 0..1, got 2"),
        ({"pseudocount": -1.0}, "pseudocount must be finite and at least 0, got -1"),
        ({"pseudocount": 0.0}, "motif box never has some letter: pseudocount must be above 0"),
        ({"background": (0.5, 0.5, 0.0, 0.0)}, "background must hold 4 frequencies above 0"),
        ({"threads": 0}, "threads must be positive"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        scan([spell("box", "CACGTG")], {"s": "ACGT"}, **options)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "s.fa").write_text("ACGT\n>s\nACGT\n")
    with pytest.raises(FormatError, match=r"s\.fa: line 1: no '>' header before 'ACGT'"):
        scan([spell("a", "A")], tmp_path / "s.fa")
    (tmp_path / "s.fa").write_text("\n")
    with pytest.raises(FormatError, match=r"s\.fa: no sequences"):
        scan([spell("a", "A")], tmp_path / "s.fa")
    with pytest.raises(ValueError, match="motifs must hold at least one motif"):
        scan([], {"s": "ACGT"})


def test_background_files_are_read_and_checked(tmp_path):
    path = tmp_path / "background"
    path.write_text("# order 1\nA 0.3\nc 0.2\nG 0.2\nU 0.3\nAA 0.09\n")
    assert read_background(path) == (0.3, 0.2, 0.2, 0.3)
    for text, message in (
        ("A 0.3\nC x\n", "line 2: expected a letter and its frequency, found 'C x'"),
        ("A 0.3\nC 0.2\n", "expected frequencies of A, C, G and T"),
        ("A 0.9\nC 0.2\nG 0.2\nT 0.2\n", "that sum to 1"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_background(path)


def test_the_default_background_sums_to_one():
    assert sum(NONREDUNDANT) == pytest.approx(1)


def test_protein_is_refused_where_it_is_met():
    with pytest.raises(ValueError, match="sequence p holds 'E' at position 4, which is no nucleot"):
        public_scan([spell("box", "CACGTG")], {"s": "ACGT", "p": "ACGTEFIL"})

"""Motif files: every format, its oddities, and errors that name file and line."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saers import FormatError, Motif, read_motifs, write_motifs

HEADER = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n1 0 0 0\n0 0 0.5 0.5\n"
# The skeleton of MEME's own report: number lines in the logo, a log-odds matrix, names repeated.
MEME_REPORT = """\
********************************************************************************
MEME - Motif discovery tool
********************************************************************************
MEME version 5.4.1 (Release date: Sat Aug 21 19:23:23 2021 -0700)

ALPHABET= ACGT
Letter frequencies in dataset:
A 0.1 C 0.4 G 0.4 T 0.1
Background letter frequencies (from file dataset with add-one prior applied):
A 0.253 C 0.247 G 0.247 T 0.253
Background model order: 0

MOTIF GCSTGG MEME-1	width =   2  sites =  11  llr = 114  E-value = 2.2e-1834
	Motif GCSTGG MEME-1 Description
         bits    2.0   *        *
                 0.2 ************
                 0.0 ------------
log-odds matrix: alength= 4 w= 2 n= 690 bayes= 6.98616 E= 2.2e-1834
    11  -1010    156  -1010
 -1010    188  -1010   -148
	Motif GCSTGG MEME-1 position-specific probability matrix
--------------------------------------------------------------------------------
letter-probability matrix: alength= 4 w= 2 nsites= 11 E= 2.2e-1834
 0.272727  0.000000  0.727273  0.000000
 0.000000  0.909091  0.000000  0.090909
--------------------------------------------------------------------------------
Time  0.15 secs.
"""


@pytest.fixture
def parse(tmp_path):
    def parse(text):
        path = tmp_path / "motifs.txt"
        path.write_text(text)
        return read_motifs(path)

    return parse


def test_minimal_meme_needs_no_more_than_names_and_rows(parse):
    [motif] = parse("MEME version 4\nMOTIF M1\nletter-probability matrix:\n1 0 0 0\n0 1 0 0\n\n")
    assert (motif.id, motif.name, motif.consensus) == ("M1", "", "AC")
    assert (motif.n_sites, motif.log10_evalue, motif.background) == (None, None, (0.25,) * 4)


def test_meme_s_own_report_is_read_by_its_probability_matrices_alone(parse):
    [motif] = parse(MEME_REPORT)
    assert (motif.id, motif.name, motif.width, motif.n_sites) == ("GCSTGG", "MEME-1", 2, 11)
    assert motif.background == (0.253, 0.247, 0.247, 0.253)


def test_an_e_value_below_the_range_of_doubles_keeps_its_logarithm(parse):
    [motif] = parse(MEME_REPORT)
    assert motif.log10_evalue == pytest.approx(np.log10(2.2) - 1834)


@pytest.mark.parametrize(
    "word, log10",
    [("2.9e-009", -8.537602), ("1e+3", 3), ("0.05", -1.30103), ("0", None), ("0.0e+000", None)],
)
def test_e_values_as_the_programs_write_them(parse, word, log10):
    [motif] = parse(HEADER + "MOTIF M1\n" + MATRIX.replace("E= 0", f"E= {word}"))
    assert motif.log10_evalue == (log10 and pytest.approx(log10))


def test_streme_s_header_is_read(parse):
    [motif] = parse(
        "# positives\nMEME version 5.4.1\nALPHABET= ACGT\nBackground letter frequencies\n"
        "A 0.274 C 0.226 G 0.226 T 0.274 \n\nMOTIF 1-GCC STREME-1\n"
        "letter-probability matrix: alength= 4 w= 1 nsites= 159 E= 3.4e-004\n 0.2 0.2 0.5 0.1\n"
    )
    assert (motif.id, motif.name, motif.background[0]) == ("1-GCC", "STREME-1", 0.274)


@pytest.mark.parametrize("keys", ["alength=4 w=2 nsites=9", "w= 2  nsites= 9.0", "nsites= 9"])
def test_keys_of_the_matrix_line_are_optional_and_may_touch_their_values(parse, keys):
    [motif] = parse(f"MEME version 5\nMOTIF M\nletter-probability matrix: {keys}\n1 0 0 0\n0 0 0 1")
    assert (motif.consensus, motif.n_sites) == ("AT", 9)


@pytest.mark.parametrize(
    "body",
    [
        "A  [     4     19 ]\nC  [    16      0 ]\nG  [     0      1  ]\nT  [     0      0 ]\n",
        "A [4 19]\nC [16 0]\nG [0 1]\nT [0 0]",
        "A 4 19\nC 16 0\nG 0 1\nT 0 0",
        "A | 4 19\nC | 16 0\nG | 0 1\nT | 0 0",
        "4 19\n16 0\n0 1\n0 0",
    ],
)
def test_jaspar_with_and_without_letters_and_brackets(parse, body):
    motifs = parse(f">MA1.1\tArnt::Ahr\n{body}\n>MA2.1 two words\n{body}")
    assert [(m.id, m.name, m.n_sites) for m in motifs] == [
        ("MA1.1", "Arnt::Ahr", 20),
        ("MA2.1", "two_words", 20),
    ]
    np.testing.assert_allclose(motifs[0].matrix, [[0.2, 0.8, 0, 0], [0.95, 0, 0.05, 0]])


def test_transfac_takes_accession_and_name(parse):
    [one, two] = parse(
        "VV  TRANSFAC\nXX\n//\nAC  M1\nXX\nID  V$ONE\nXX\nP0      A      C      G      T\n"
        "01      2      0      0      2      W\n02      0      4      0      0      C\nXX\n//\n"
        "ID two\nPO A C G T\n1 0 0 0 8 T\n//\n"
    )
    assert (one.id, one.name, one.n_sites, one.consensus) == ("M1", "V$ONE", 4, "AC")
    assert (two.id, two.name, two.n_sites) == ("two", "two", 8)


def test_hocomoco_counts_and_probabilities(parse):
    [motif] = parse(">AHR.H12\n154.0 300.0 384.0 165.0\n176 340 142 345\n")
    assert (motif.id, motif.width, motif.n_sites) == ("AHR.H12", 2, 1003)
    [motif] = parse(">AHR.H12\n0.15\t0.3\t0.4\t0.15\n1.0\t0\t0\t0\n")
    assert (motif.consensus, motif.n_sites) == ("GA", None)


def test_four_bare_lines_of_four_are_positions_if_they_sum_alike(parse):
    assert parse(">m\n0 0 0 9\n9 0 0 0\n9 0 0 0\n0 0 9 0\n")[0].consensus == "TAAG"
    assert parse(">m\n9 9 9 0\n0 0 0 9\n0 0 0 0\n0 0 0 0\n")[0].consensus == "AAAC"


def test_homer_motifs_go_by_their_name(parse):
    [motif] = parse(">ASTT\tPU.1 (ETS)/ThioMac\t6.1\t-1e4\t0\n0.7 0.1 0.1 0.1\n0.1 0.7 0.1 0.1\n")
    assert (motif.id, motif.name, motif.consensus) == ("PU.1_(ETS)/ThioMac", "ASTT", "AC")


def test_sites_of_jaspar_are_counted_between_their_flanks(parse):
    [motif] = parse(">MA1\tTAP 1\nacCGtt\n>MA1\tTAP 2\ncc\nCTgga\n>MA1\tTAP 3\nNGc\n")
    assert (motif.id, motif.name, motif.n_sites) == ("MA1", "TAP", 2.0)
    assert motif.matrix.tolist() == [[0, 1, 0, 0], [0, 0, 2 / 3, 1 / 3]]


def test_sites_of_one_length_without_flanks_are_counted_whole(parse):
    [motif] = parse(">chr1:5-7(+)\nacg\n>chr2:9-11(-)\nAcT\n")
    assert (motif.id, motif.consensus, motif.n_sites) == ("motifs.txt", "ACG", 2.0)


@pytest.mark.data
def test_sites_of_jaspar_files_are_read(data):
    [motif] = read_motifs(data / "seqs" / "jaspar2018.MA0003.2.sites.fa.gz")
    assert motif.id == "jaspar2018.MA0003.2"
    assert motif.width == 15
    assert motif.n_sites > 100


@pytest.mark.parametrize(
    "text, place, message",
    [
        (">a\nACGT\n>b\nACG\n", "line 3", "expected a site of 4 letters, found 3"),
        (">a\nACGT\n>b\nACGZ\n", "line 4", "expected letters of DNA, found 'Z'"),
        (">a\nACGT\n>b\n", "line 3", "a site without letters"),
        (">a\nNN\n>b\nNA\n", "line 1", "row 1 of the matrix is empty"),
        ("", "content", "holds no motif"),
        ("\n# nothing\n", "content", "holds no motif"),
        (HEADER, "content", "holds no motif"),
        ("chr1\t10\t20\n", "line 1", "not a motif file"),
        (HEADER + "MOTIF M1\n\nMOTIF M2\n" + MATRIX, "line 7", "M1 has no probability matrix"),
        (HEADER + "MOTIF M1\n", "line 7", "M1 has no probability matrix"),
        (HEADER + "MOTIF\n" + MATRIX, "line 7", "MOTIF without an id"),
        (HEADER + MATRIX, "line 7", "without a MOTIF line"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("w= 2", "w= 3"), "line 8", "expected 3 rows"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("w= 2", "w= x"), "line 8", "bad width 'x'"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("= 4", "= 20"), "line 8", "alength= 4"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("1 0 0 0", "1 0 0"), "line 9", "4 numbers"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("1 0 0 0", "1 0 x 0"), "line 9", "found 'x'"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("0.5 0.5", "0.5 0.1"), "line 8", "row 2"),
        (HEADER + "MOTIF M1\n" + MATRIX.replace("E= 0", "E= low"), "line 8", "bad E-value 'low'"),
        (HEADER.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), "line 3", "DNA alphabet"),
        ("MEME version 4\nBackground letter frequencies\nA 0.5 C\n", "line 3", "pairs"),
        ("MEME version 4\nBackground letter frequencies\nA 1 C 1 G 1 T 1\n", "line 3", "sum to 4"),
        ("MEME version 4\nBackground letter frequencies\n", "line 2", "fewer than 4"),
        (">m\nA [1 2]\nC [1 2]\nG [1]\nT [1 2]\n", "line 4", "expected 2 numbers"),
        (">m\nA [1 2]\nC [1 2]\nT [1 2]\nG [1 2]\n", "line 4", "expected the line for G"),
        (">m\nA [1 2]\nC [1 2]\nG [1 2]\n>n\n", "line 1", "before its line for T"),
        (">m\nA [1 -]\nC [1 2]\nG [1 2]\nT [1 1]\n", "line 2", "found '-'"),
        (">m\nA [0 2]\nC [0 2]\nG [0 2]\nT [0 1]\n", "line 1", "row 1 of the matrix is empty"),
        (">m\n0.5 -1.2 0.3 1.1\n1 1 1 1\n", "line 2", "log-odds cannot be compared"),
        (">m\n>n\n1 0 0 0\n", "line 1", "at least one row"),
        ("ID m\nP0 A C G T\n01 1 2 3\n//\n", "line 3", "4 numbers"),
        ("ID m\nP0 A C G T\n01 1 2 3 4\n03 1 1 1 1\n//\n", "line 4", "expected row 2"),
        ("ID m\nP0 A C T G\n01 1 2 3 4\n//\n", "line 2", "expected the letters A C G T"),
        ("XX\nP0 A C G T\n01 1 2 3 4\n//\n", "line 2", "without AC or ID"),
    ],
)
def test_a_broken_file_is_an_error_with_file_and_line(parse, text, place, message):
    with pytest.raises(FormatError, match=rf"motifs\.txt: {place}: .*{message}"):
        parse(text)


def test_a_missing_file_and_a_broken_archive_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.meme"):
        read_motifs(tmp_path / "none.meme")
    path = tmp_path / "cut.meme.gz"
    path.write_bytes(gzip.compress(HEADER.encode() * 50)[:-12])
    with pytest.raises(FormatError, match=r"cut\.meme\.gz"):
        read_motifs(path)


def test_gzip_is_known_by_its_content(tmp_path):
    path = tmp_path / "motifs.meme"
    path.write_bytes(gzip.compress((HEADER + "MOTIF M1\n" + MATRIX).encode()))
    assert read_motifs(path)[0].id == "M1"


counts = st.lists(st.lists(st.integers(1, 500), min_size=4, max_size=4), min_size=1, max_size=9)


@given(counts, st.floats(-2000, 5), st.sampled_from([(0.25,) * 4, (0.3, 0.2, 0.2, 0.3)]))
def test_what_is_written_as_meme_is_read_again(tmp_path_factory, counts, log10_evalue, background):
    matrix = np.array(counts) / np.sum(counts, axis=1, keepdims=True)
    motif = Motif("m", "name", matrix, 50, background, log10_evalue)
    path = tmp_path_factory.mktemp("meme") / "motifs.meme"
    write_motifs([motif, motif], path)
    for again in read_motifs(path):
        np.testing.assert_allclose(again.matrix, matrix, atol=1e-9)
        assert (again.name, again.n_sites, again.background) == ("name", 50, background)
        assert again.log10_evalue == pytest.approx(log10_evalue, abs=0.03)


def test_jaspar_is_written_where_the_suffix_asks_for_it(tmp_path):
    path = tmp_path / "motifs.jaspar"
    write_motifs([Motif("MA1.1", "x", [[0.25, 0.75, 0, 0]], n_sites=8)], path)
    assert path.read_text().startswith(">MA1.1\tx\nA  [      2 ]\nC  [      6 ]")
    [again] = read_motifs(path)
    assert (again.n_sites, again.matrix.tolist()) == (8, [[0.25, 0.75, 0, 0]])


def test_backgrounds_that_differ_are_written_as_equal_letters(tmp_path):
    path = tmp_path / "motifs.meme"
    motifs = [Motif(id, "", [[1, 0, 0, 0]], background=b) for id, b in BACKGROUNDS.items()]
    write_motifs(motifs, path)
    assert read_motifs(path)[0].background == (0.25,) * 4


BACKGROUNDS = {"m1": (0.3, 0.2, 0.2, 0.3), "m2": (0.2, 0.3, 0.3, 0.2)}


def test_nothing_to_write_is_an_error_and_no_file(tmp_path):
    with pytest.raises(ValueError, match="at least one motif"):
        write_motifs([], tmp_path / "none.meme")
    assert not (tmp_path / "none.meme").exists()


@pytest.mark.data
@pytest.mark.parametrize(
    "name, count",
    [
        ("HOCOMOCO_H12CORE", 1443),
        ("HOCOMOCO_H13CORE", 1611),
        ("HOCOMOCOv11_core_HUMAN", 401),
        ("JASPAR2018_CORE_vertebrates_nr", 579),
        ("JASPAR2020_CORE_vertebrates_nr", 746),
        ("JASPAR2024_CORE", 2346),
    ],
)
def test_public_databases_are_read_whole(data, name, count):
    motifs = read_motifs(data / "motifdb" / f"{name}.meme.gz")
    assert len(motifs) == count
    assert all(motif.n_sites > 0 for motif in motifs)

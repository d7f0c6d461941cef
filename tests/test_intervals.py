"""Readers of intervals, names of chromosomes, unions."""

import gzip
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import saers
from saers import intervals
from saers.genome import Genome


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def write(text, name="file.bed"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\nACGT\n>chrM\nACGT\n>2\nACGT\n")
    return Genome(path)


class Listener:
    """A progress that remembers what was said."""

    def __init__(self):
        self.said = []

    def start(self, description, total):
        pass

    def advance(self, steps=1):
        pass

    def say(self, message):
        self.said.append(message)


BED6 = "chr1\t0\t9\ta b\t0\t+\nchr2\t5\t5\tc\t0\t-\n"


@pytest.mark.parametrize("name", ["file.bed", "file.bed.gz"])
def test_a_bed_of_six_columns_keeps_name_and_strand(write, name):
    frame = intervals.read_bed(write(BED6, name))
    assert frame.columns == ["chrom", "start", "end", "name", "strand"]
    assert frame.rows() == [("chr1", 0, 9, "a b", "+"), ("chr2", 5, 5, "c", "-")]


def test_columns_in_another_order_give_no_strand(write):
    frame = intervals.read_bed(write("chr1\t0\t9\t-\tGENE\tx\n"))
    assert frame.columns == ["chrom", "start", "end", "name"]


def test_three_columns_are_enough(write):
    assert intervals.read_bed(write("chr1\t0\t9\n")).columns == ["chrom", "start", "end"]


def test_comments_browser_lines_and_blank_lines_are_passed_over(write):
    text = "\n#a\ntrack name=x\nbrowser position\nchr1\t0\t9\r\n\ntrack1\t1\t2\n"
    assert intervals.read_bed(write(text))["chrom"].to_list() == ["chr1", "track1"]


def test_white_space_separates_only_where_there_are_no_tabs(write):
    assert intervals.read_bed(write("chr1 0   9 x\n"))["name"].to_list() == ["x"]
    with pytest.raises(saers.FormatError, match="line 2"):
        intervals.read_bed(write("chr1\t0\t9\nchr1 1 2\n"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: no intervals"),
        ("# only this\n", "line 1: no intervals"),
        (
            "chr1\t1\t2\n\nchr1\t9\t3\n",
            "line 3: start must not lie after end, found ['chr1', 9, 3]",
        ),
        ("chr1\t-1\t2\n", "line 1: start must not be negative"),
        ("chr1\t1\n", "line 1: start and end must be whole numbers"),
        ("chr1\t1.5\t2\n", "line 1: start and end must be whole numbers"),
        ("chrom\tstart\tend\n", "line 1: start and end must be whole numbers"),
    ],
)
def test_broken_lines_are_named(write, text, message):
    path = write(text)
    with pytest.raises(saers.FormatError, match=re.escape(message.replace("9, 3", "'9', '3'"))):
        intervals.read_bed(path)


def test_a_cut_gzip_file_is_refused(write):
    path = write(BED6 * 100, "file.bed.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(saers.FormatError, match=r"file\.bed\.gz: broken gzip"):
        intervals.read_bed(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"intervals: no file at .*none\.bed"):
        intervals.read_bed(tmp_path / "none.bed")


@pytest.mark.parametrize(
    "name, text, classes",
    [
        ("a.bed", "chr1\t0\t9\tPLS\nchr1\t9\t12\tdELS\n", ["PLS", "dELS"]),
        ("a.bed", "chr1\t0\t9\n", ["any"]),
        ("a.narrowPeak", "chr1\t0\t9\tpeak1\t0\t.\t1\t1\t1\t4\n", ["any"]),
        ("a.bed", "chr1\t0\t9\tEH38D1\tEH38E1\tpELS,CTCF-bound\n", ["pELS,CTCF-bound"]),
    ],
)
def test_the_class_comes_from_the_column_that_holds_classes(write, name, text, classes):
    assert intervals.read_annotation(write(text, name))["class"].to_list() == classes


def test_names_of_single_intervals_are_no_classes(write):
    path = write("".join(f"chr1\t{i}\t{i + 5}\tpeak{i}\n" for i in range(200)))
    assert intervals.read_annotation(path)["class"].unique().to_list() == ["any"]
    assert intervals.read_annotation(path, class_column=4)["class"].n_unique() == 200


def test_the_class_column_can_be_chosen(write):
    path = write("chr1\t0\t9\ta\t7\tb\t8\n")
    assert intervals.read_annotation(path, class_column=7)["class"].to_list() == ["8"]
    assert intervals.read_annotation(path, class_column=None)["class"].to_list() == ["any"]
    with pytest.raises(saers.FormatError, match="line 1: no column 8"):
        intervals.read_annotation(path, class_column=8)


OUT = """   SW   perc perc perc  query     position in query    matching  repeat       position in
score   div. del. ins.  sequence  begin end   (left)   repeat    class/family begin end (left) ID

  463   1.3  0.6  1.7  chr1      10001 10468 (248946) +  (TAACCC)n Simple_repeat   1  471 (0) 1
 3612  11.4 21.5  1.3  chr1      10469 11447 (248944) C  TAR1      Satellite/telo (399) 1712 483 2 *
"""
RMSK = (
    "585\t463\t13\t6\t17\tchr1\t10000\t10468\t-1\t+\t(TAACCC)n\tSimple_repeat\tSimple_repeat\t1\n"
    "585\t3612\t114\t215\t13\tchr1\t10468\t11447\t-1\t-\tTAR1\tSatellite\ttelo\t-399\n"
)


@pytest.mark.parametrize("text", [OUT, RMSK, "#bin\tswScore\n" + RMSK])
@pytest.mark.parametrize(
    "level, classes",
    [
        ("class", ["Simple_repeat", "Satellite"]),
        ("family", ["Simple_repeat", "telo"]),
        ("name", ["(TAACCC)n", "TAR1"]),
    ],
)
def test_both_files_of_repeatmasker_say_the_same(write, text, level, classes):
    frame = intervals.read_repeatmasker(write(text, "rmsk.gz"), level=level)
    assert frame.drop("class").rows() == [("chr1", 10000, 10468), ("chr1", 10468, 11447)]
    assert frame["class"].to_list() == classes


def test_a_broken_repeat_is_named(write):
    with pytest.raises(saers.FormatError, match=r"line 4: start and end must be whole"):
        intervals.read_repeatmasker(write(OUT.replace("10001", "x")))
    with pytest.raises(saers.FormatError, match="line 4: start must be at least 1"):
        intervals.read_repeatmasker(write(OUT.replace("10001", "0")))


def test_an_unknown_level_is_refused(write):
    with pytest.raises(ValueError, match="level must be one of class, family, name"):
        intervals.read_repeatmasker(write(OUT), level="clade")


def test_annotations_come_under_their_names(write):
    found = intervals.named_annotations({"b": write(BED6)}, repeatmasker=write(OUT, "rmsk.out"))
    assert list(found) == ["b", "repeats"]
    with pytest.raises(ValueError, match="'repeats'"):
        intervals.named_annotations({"repeats": write(BED6)}, repeatmasker=write(OUT, "rmsk.out"))


def frame(*chroms):
    return pl.DataFrame(
        {"chrom": chroms, "start": 0, "end": 2}, schema_overrides={"chrom": pl.String}
    )


def test_names_become_those_of_the_genome(genome):
    listener = Listener()
    matched = intervals.match_names(frame("1", "MT", "chr2", "2"), genome, progress=listener)
    assert matched["chrom"].to_list() == ["chr1", "chrM", "2", "2"]
    assert listener.said == ["3 chromosomes renamed as in genome.fa: 1 -> chr1"]


def test_names_of_no_chromosome_are_refused_or_dropped(genome):
    with pytest.raises(ValueError, match="'chrX' is not in"):
        intervals.match_names(frame("chr1", "chrX"), genome)
    listener = Listener()
    kept = intervals.match_names(frame("chr1", "chrX"), genome, missing="drop", progress=listener)
    assert kept["chrom"].to_list() == ["chr1"]
    assert listener.said == ["1 intervals on chromosomes that genome.fa lacks are left out"]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 9)), max_size=30)
)
def test_merging_twice_is_merging_once(rows):
    columns = {"class": pl.String, "start": pl.Int64, "end": pl.Int64}
    rows = [(name, start, start + width) for name, start, width in rows]
    whole = pl.DataFrame(rows, schema=columns, orient="row").with_columns(chrom=pl.lit("chr1"))
    merged = intervals.merge(whole)
    assert intervals.merge(merged).equals(merged)
    for name in "ab":
        covered = {b for own, start, end in rows if own == name for b in range(start, end)}
        own = merged.filter(pl.col("class") == name)
        assert sum(own["end"] - own["start"]) == len(covered)


@pytest.mark.data
def test_names_that_hold_spaces_are_kept_whole(data):
    frame = intervals.read_bed(data / "annot" / "hg38-blacklist.v2.bed")
    assert frame.height == 636
    assert set(frame["name"]) == {"Low Mappability", "High Signal Region"}


@pytest.mark.data
def test_gencode_genes_have_no_strand_in_column_six(data):
    frame = intervals.read_bed(data / "annot" / "hg38.gencode_v28.protein_coding.bed.gz")
    assert frame.height == 19_883
    assert "strand" not in frame.columns


@pytest.mark.data
def test_yeast_fragments_take_the_names_of_the_genome(data, tmp_path):
    path = tmp_path / "yeast.fa"
    path.write_bytes(gzip.decompress((data / "genome" / "sacCer.R64-1-1.fa.gz").read_bytes()))
    genome = Genome(path)
    fragments = intervals.read_bed(data / "annot" / "yeast_ATAC_SRR1822137_500k.bedpe.gz")
    matched = intervals.match_names(fragments, genome)
    assert matched.height == 467_908
    assert set(matched["chrom"]) == set(genome.chromosomes)

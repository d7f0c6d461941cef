"""saers.windows: windows from a BED or by tiling, filtered, drawn and split."""

import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saers import FormatError, schema
from saers.genome import Genome
from saers.windows import WindowRules, covered_bases, from_bed, from_regions, merged_runs, tile

CHR1 = "ACGTACGTAC" * 3 + "N" * 20 + "ACGTACGTAC" * 5
CHR2 = "TTGACCATGA" * 4


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(f">chr1\n{CHR1}\n>chr2\n{CHR2}\n")
    return Genome(path)


@pytest.fixture
def bed(tmp_path):
    def write(text):
        path = tmp_path / "windows.bed"
        path.write_text(text)
        return path

    return write


def places(frame):
    return frame.select("chrom", "start", "end").rows()


def test_tiles_lie_side_by_side_and_none_passes_the_end(genome):
    frame = tile(genome, 15)
    assert dict(frame.schema) == dict(schema.WINDOWS)
    assert frame["window"].to_list() == list(range(frame.height))
    chr2 = [row for row in places(frame) if row[0] == "chr2"]
    assert chr2 == [("chr2", 0, 15), ("chr2", 15, 30)]


def test_tiles_overlap_where_the_step_is_shorter(genome):
    frame = tile(genome, 15, step=10, chromosomes=["chr2"])
    assert frame["start"].to_list() == [0, 10, 20]


def test_windows_with_too_much_n_are_left_out(genome):
    def starts(max_n):
        return tile(genome, 10, chromosomes=["chr1"], rules=WindowRules(max_n=max_n))["start"]

    assert starts(0.0).to_list() == [0, 10, 20, 50, 60, 70, 80, 90]
    assert starts(1.0).to_list() == list(range(0, 100, 10))


def test_n_is_counted_as_in_the_sequence(genome):
    for max_n in (0, 0.2, 0.5, 0.7):
        kept = tile(genome, 7, step=3, chromosomes=["chr1"], rules=WindowRules(max_n=max_n))
        brute = [i for i in range(0, 94, 3) if CHR1[i : i + 7].count("N") / 7 <= max_n]
        assert kept["start"].to_list() == brute


def test_blacklisted_windows_are_left_out_whatever_the_chromosome_is_called(genome):
    black = pl.DataFrame({"chrom": ["2", "chr9"], "start": [14, 0], "end": [16, 5]})
    rules = WindowRules(blacklist=black)
    assert tile(genome, 10, chromosomes=["chr2"], rules=rules)["start"].to_list() == [0, 20, 30]


def test_held_out_chromosomes_are_marked(genome):
    frame = tile(genome, 20, rules=WindowRules(holdout=["chr2"]))
    assert set(frame.filter(pl.col("chrom") == "chr2")["split"]) == {"holdout"}
    assert set(frame.filter(pl.col("chrom") == "chr1")["split"]) == {"train"}


def test_a_draw_is_sorted_and_depends_on_the_seed_alone(genome):
    def draw(seed):
        return tile(genome, 5, rules=WindowRules(limit=6, seed=seed))

    first = draw(1)
    assert first.equals(draw(1))
    assert not first.equals(draw(2))
    assert first["window"].to_list() == list(range(6))
    assert first["start"].is_sorted() or first["chrom"].n_unique() == 2


def test_a_limit_above_the_number_of_windows_changes_nothing(genome):
    assert tile(genome, 20, rules=WindowRules(limit=1000)).equals(tile(genome, 20))


def test_windows_follow_the_genomes_order_of_chromosomes(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">chr10\nACGTAC\n>chr2\nACGTAC\n")
    regions = pl.DataFrame({"chrom": ["chr2", "chr10", "chr10"], "start": [1, 3, 0]})
    frame = from_regions(regions.with_columns(end=pl.col("start") + 3), Genome(path))
    assert places(frame) == [("chr10", 0, 3), ("chr10", 3, 6), ("chr2", 1, 4)]


def test_a_bed_gives_its_windows(genome, bed):
    path = bed("# comment\ntrack name=x\nchr2\t5\t15\tname\t0\n\nchr1\t0\t10\nchr1\t0\t10\n")
    assert places(from_bed(path, genome)) == [("chr1", 0, 10), ("chr2", 5, 15)]


def test_a_compressed_bed_is_read_too(genome, tmp_path):
    path = tmp_path / "windows.bed.gz"
    path.write_bytes(gzip.compress(b"chr1\t0\t10\n"))
    assert from_bed(path, genome).height == 1


@pytest.mark.parametrize(
    "line, message",
    [
        ("chr2\t35\t45", r"windows\.bed: line 3: window chr2:35-45 does not lie inside chr2 \(40"),
        ("chr2\t-5\t5", r"windows\.bed: line 3"),
        ("chr2\t9\t9", "does not lie inside"),
        ("2\t0\t10", "line 3: '2' is not in genome.fa, which has 'chr2'"),
        ("chr7\t0\t10", "line 3: 'chr7' is not in genome.fa"),
        ("chr2\t0\t11", "line 3: window chr2:0-11 is 11 bp long, the first is 10"),
        ("chr2 0 10", r"windows\.bed: line 3"),
        ("chr2\tx\t10", r"windows\.bed: line 3"),
    ],
)
def test_a_bad_line_is_named(genome, bed, line, message):
    with pytest.raises(FormatError, match=message):
        from_bed(bed(f"# comment\nchr1\t0\t10\n{line}\n"), genome)


def test_a_missing_bed_is_named(genome):
    with pytest.raises(FileNotFoundError, match=r"windows: no file at none\.bed"):
        from_bed("none.bed", genome)


def test_a_bad_region_is_named_by_its_row(genome):
    regions = pl.DataFrame({"chrom": ["chr1", "chr1"], "start": [0, 95], "end": [10, 105]})
    with pytest.raises(ValueError, match="window 1: window chr1:95-105 does not lie inside"):
        from_regions(regions, genome)


def test_no_windows_is_an_error_that_says_why(genome, bed):
    with pytest.raises(ValueError, match=r"no windows are left of 1 \(max_n = 0"):
        from_bed(bed("chr1\t25\t45\n"), genome, rules=WindowRules(max_n=0))
    with pytest.raises(ValueError, match="no windows are left of 0"):
        tile(genome, 1000)
    with pytest.raises(FormatError, match=r"windows\.bed: .*no intervals"):
        from_bed(bed("# nothing\n"), genome)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"length": 0}, "length must lie in"),
        ({"length": 5, "step": 0}, "step must lie in"),
        ({"length": 5, "chromosomes": ["1"]}, "'1' is not in genome.fa, which has 'chr1'"),
        ({"length": 5, "rules": WindowRules(holdout=["2"])}, "'2' is not in genome.fa"),
        ({"length": 5, "rules": WindowRules(max_n=2)}, "max_n must lie in"),
        ({"length": 5, "rules": WindowRules(limit=0)}, "limit must lie in"),
    ],
)
def test_bad_options_are_named(genome, options, message):
    with pytest.raises(ValueError, match=message):
        tile(genome, **options)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=8),
    st.integers(0, 60),
    st.integers(0, 20),
)
def test_covered_bases_are_those_counted_one_by_one(raw, start, width):
    regions = {base for first, size in raw for base in range(first, first + size)}
    edges = np.diff(np.array([base in regions for base in range(-1, 71)], int))
    runs = np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
    found = covered_bases(runs, np.array([start]), np.array([start + width]))
    assert found.tolist() == [len(regions & set(range(start, start + width)))]


def test_touching_and_nested_regions_merge(genome):
    rows = [(30, 40), (0, 10), (2, 4), (10, 12), (35, 36)]
    frame = pl.DataFrame(rows, schema=["start", "end"], orient="row")
    runs = merged_runs(frame.with_columns(chrom=pl.lit("chr1")), genome)
    assert runs["chr1"].tolist() == [[0, 12], [30, 40]]

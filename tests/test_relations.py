"""Jaccard of all pairs: equal to counting bases, on small made and on real intervals."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import saers
from saers import schema
from saers.intervals import read_bed

ROWS = st.lists(
    st.tuples(
        st.integers(0, 4).map(lambda feature: 10 * feature),
        st.sampled_from(["chr1", "chr2", "chr10"]),
        st.integers(0, 50),
        st.integers(0, 12),
    ),
    max_size=40,
)
COLUMNS = {"feature": pl.UInt32, "chrom": pl.String, "start": pl.Int64, "end": pl.Int64}


def frame(rows):
    rows = [(feature, chrom, start, start + width) for feature, chrom, start, width in rows]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def bases(intervals, feature):
    return {
        (chrom, base)
        for own, chrom, start, end in intervals.iter_rows()
        if own == feature
        for base in range(start, end)
    }


@given(ROWS)
def test_relations_equal_those_of_sets_of_bases(rows):
    intervals = frame(rows)
    expected = []
    for a, b in itertools.combinations(sorted(intervals["feature"].unique()), 2):
        one, other = bases(intervals, a), bases(intervals, b)
        both, either = len(one & other), len(one | other)
        if both:
            expected.append((a, b, both, either, both / either))
    assert saers.jaccard(intervals).drop("n_overlap").rows() == expected


@given(ROWS, st.randoms(use_true_random=False))
def test_neither_threads_nor_the_order_of_rows_matter(rows, random):
    once = saers.jaccard(frame(rows), threads=1)
    random.shuffle(rows)
    assert once.equals(saers.jaccard(frame(rows), threads=3))


def test_the_table_has_the_columns_of_the_schema():
    assert saers.jaccard(frame([])).schema == dict(schema.RELATIONS)


def test_n_overlap_counts_pairs_of_merged_intervals():
    touching = [(0, "chr1", 0, 5), (0, "chr1", 5, 5), (0, "chr1", 20, 5)]
    other = [(1, "chr1", 3, 4), (1, "chr1", 8, 15)]
    assert saers.jaccard(frame(touching + other))["n_overlap"].to_list() == [3]


@pytest.mark.parametrize(
    "row, message",
    [
        ((0, "chr1", -1, 5), r"intervals\[1\]: start -1 is negative"),
        ((0, "chr1", 7, -2), r"intervals\[1\]: start 7 lies after end 5"),
        ((0, None, 7, 2), "no empty fields"),
    ],
)
def test_bad_intervals_are_named(row, message):
    with pytest.raises(ValueError, match=message):
        saers.jaccard(frame([(0, "chr1", 0, 5), row]))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"missing columns \['chrom'\]"):
        saers.jaccard(frame([(0, "chr1", 0, 5)]).rename({"chrom": "chromosome"}))


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads must be positive, got 0"):
        saers.jaccard(frame([]), threads=0)


@pytest.mark.data
def test_peaks_of_factors_equal_a_coverage_array(data):
    names = ["A549.CTCF", "H1-hESC.CTCF", "GM12878.SPI1"]
    sets = [
        read_bed(data / "annot" / f"hg19.ENCODE-DREAM.{name}.conservative.narrowPeak.gz")
        .filter(pl.col("chrom") == "chr20")
        .select(pl.lit(number, dtype=pl.UInt32).alias("feature"), "chrom", "start", "end")
        for number, name in enumerate(names)
    ]
    covered = np.zeros((3, 63_025_520), bool)
    for number, peaks in enumerate(sets):
        for start, end in peaks.select("start", "end").iter_rows():
            covered[number, start:end] = True
    expected = [
        (a, b, int((covered[a] & covered[b]).sum()), int((covered[a] | covered[b]).sum()))
        for a, b in itertools.combinations(range(3), 2)
    ]
    assert saers.jaccard(pl.concat(sets)).drop("jaccard", "n_overlap").rows() == expected

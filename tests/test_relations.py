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
from saers.relations import best_match_groups, directed_overlap

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


def overlapped(one, other):
    """Distinct places of one that share a base with any of the other."""
    return {
        (chrom, start, end)
        for chrom, start, end in one
        if any(c == chrom and max(s, start) < min(e, end) for c, s, e in other)
    }


@given(ROWS, st.lists(st.tuples(st.integers(0, 4).map(lambda f: 10 * f), st.sampled_from("xy"))))
def test_directed_overlap_equals_counting_regions(rows, members):
    intervals = frame(rows)
    regions = {}
    for feature, *place in intervals.iter_rows():
        regions.setdefault(feature, set()).add(tuple(place))
    expected = []
    for group in "xy":
        own = sorted({f for f, name in members if name == group} & set(regions))
        for a, b in itertools.permutations(own, 2):
            n = len(overlapped(regions[a], regions[b]))
            n_a, n_b = len(regions[a]), len(regions[b])
            expected.append((group, a, b, n, n_a, n_b, n / n_a, n / (n_a + n_b - n)))
    groups = pl.DataFrame(members, schema={"feature": pl.Int64, "group": pl.String}, orient="row")
    found = directed_overlap(intervals, groups, threads=2)
    assert found.rows() == expected
    assert found.schema == dict(schema.DIRECTED)


def test_directed_overlap_has_a_direction_and_counts_a_place_once():
    many = [(0, "chr1", start, 4) for start in (0, 10, 20, 20)]
    found = directed_overlap(
        frame([*many, (1, "chr1", 0, 50)]), pl.DataFrame({"feature": [0, 1], "group": "SPI1"})
    )
    assert found.select("n_overlapped", "n_regions_a", "share").rows() == [(3, 3, 1.0), (1, 1, 1.0)]
    assert found["directed_jaccard"].to_list() == [3 / 1, 1 / 3]


def test_a_feature_joins_the_motif_of_its_smallest_p_value():
    matches = pl.DataFrame(
        {
            "feature": [4, 4, 2, 2],
            "target_id": ["b", "a", "c", "b"],
            "p_value": [0.0, 0.0, 1e-3, 1e-4],
            "log10_p": [-400.0, -350.0, -3.0, -4.0],
        }
    )
    assert best_match_groups(matches).rows() == [(2, "b"), (4, "b")]
    assert best_match_groups(matches.drop("log10_p")).rows() == [(2, "b"), (4, "a")]


def test_groups_without_their_columns_are_refused():
    with pytest.raises(ValueError, match=r"groups: missing columns \['group'\]"):
        directed_overlap(frame([]), pl.DataFrame({"feature": [1]}))
    with pytest.raises(ValueError, match=r"matches: missing columns \['target_id', 'p_value'\]"):
        best_match_groups(pl.DataFrame({"feature": [1]}))


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

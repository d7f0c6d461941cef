"""Overlap with annotations and its comparison with placements at random."""

import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

import saers
from saers import schema
from saers.annotations import annotate, with_q_values
from saers.genome import Genome
from saers.intervals import read_bed

SEQLETS = {"feature": pl.UInt32, "chrom": pl.String, "start": pl.Int64, "end": pl.Int64}
CLASSES = {"class": pl.String, "chrom": pl.String, "start": pl.Int64, "end": pl.Int64}


def rows(tags):
    tag, chrom = st.sampled_from(tags), st.sampled_from(["chr1", "chr2"])
    row = st.tuples(tag, chrom, st.integers(0, 60), st.integers(0, 20))
    return st.lists(row.map(lambda r: (r[0], r[1], r[2], r[2] + r[3])), max_size=25)


def table(rows, columns):
    return pl.DataFrame(rows, schema=columns, orient="row")


def seqlets(*rows):
    return table(rows, SEQLETS)


@pytest.fixture
def genome(tmp_path):
    """Two chromosomes of 400 and 300 bp; the first has N in 100..150 and 390..400."""
    path = tmp_path / "genome.fa"
    first = 100 * "A" + 50 * "N" + 240 * "C" + 10 * "n"
    path.write_text(f">chr1\n{first}\n>chr2\n{300 * 'G'}\n")
    return Genome(path)


@pytest.fixture
def many():
    """Two features with forty intervals each, on both chromosomes."""
    rng = np.random.default_rng(1)
    starts = rng.integers(0, 90, 80)
    return pl.DataFrame(
        {
            "feature": np.repeat([2, 5], 40).astype(np.uint32),
            "chrom": ["chr1", "chr2"] * 40,
            "start": starts,
            "end": starts + 8,
        }
    )


@pytest.fixture
def classes():
    return table(
        [("near", "chr1", 0, 60), ("near", "chr2", 10, 40), ("far", "chr1", 200, 230)], CLASSES
    )


@given(rows([0, 3]), rows(["a", "b", "c"]))
def test_counts_equal_those_of_single_bases(intervals, annotation):
    found = saers.count_overlaps(table(intervals, SEQLETS), table(annotation, CLASSES))
    expected = []
    for feature in sorted({row[0] for row in intervals}):
        for name in sorted({row[0] for row in annotation}):
            covered = {(c, b) for own, c, s, e in annotation if own == name for b in range(s, e)}
            shared = [
                sum((chrom, base) in covered for base in range(start, end))
                for own, chrom, start, end in intervals
                if own == feature
            ]
            expected.append((feature, name, sum(n > 0 for n in shared), sum(shared)))
    assert found.rows() == expected
    assert found.schema == dict(schema.OVERLAP_COUNTS)


def test_an_annotation_without_classes_is_one_class():
    found = saers.count_overlaps(
        seqlets((0, "chr1", 0, 9)), pl.DataFrame({"chrom": ["chr1"], "start": [8], "end": [20]})
    )
    assert found.rows() == [(0, "any", 1, 1)]


def test_two_ways_of_naming_chromosomes_are_refused():
    with pytest.raises(ValueError, match="a chromosome 'chr1', the annotation '1': match_names"):
        saers.count_overlaps(seqlets((0, "chr1", 0, 9)), table([("a", "1", 0, 9)], CLASSES))


def test_a_bad_annotation_is_named():
    with pytest.raises(ValueError, match=r"annotation\[0\]: start 9 lies after end 3"):
        saers.count_overlaps(seqlets((0, "chr1", 0, 9)), table([("a", "chr1", 9, 3)], CLASSES))


def test_one_place_in_ten_touches(genome):
    """250 bp of chr1 hold 100 - 4 and 240 - 4 starts; those from 56 to 69 touch."""
    found = saers.overlap_enrichment(
        seqlets((0, "chr1", 62, 67)), table([("a", "chr1", 60, 70)], CLASSES), genome=genome
    )
    assert found["control_mean"][0] == pytest.approx(14 / (96 + 236))
    assert found["observed"][0] == 1
    assert found["p_value"][0] == pytest.approx(2 * 14 / 332)


def test_equal_chances_give_the_binomial_distribution(genome):
    """On chr2 a single base lies in the class with probability 0.1."""
    intervals = seqlets(*((0, "chr2", place, place + 1) for place in (0, 1, 2, 90, 91, 92, 93)))
    found = saers.overlap_enrichment(
        intervals, table([("a", "chr2", 0, 30)], CLASSES), genome=genome
    )
    null = stats.binom(7, 0.1)
    row = found.row(0, named=True)
    assert row["control_mean"] == pytest.approx(null.mean())
    assert row["control_sd"] == pytest.approx(null.std())
    assert row["p_value"] == pytest.approx(2 * null.sf(2))
    assert row["z"] == pytest.approx((3 - null.mean()) / null.std())


def test_shuffles_approach_the_exact_answer(genome, many, classes):
    exact = saers.overlap_enrichment(many, classes, genome=genome)
    near = saers.overlap_enrichment(many, classes, genome=genome, n_controls=4000, seed=3)
    for column, tolerance in [("control_mean", 0.04), ("control_sd", 0.05), ("fold", 0.04)]:
        np.testing.assert_allclose(near[column], exact[column], rtol=tolerance)
    np.testing.assert_allclose(near["p_value"], exact["p_value"], atol=0.03)
    assert near.select("feature", "class", "observed").equals(
        exact.select("feature", "class", "observed")
    )


def test_neither_threads_nor_the_order_of_rows_matter(genome, many, classes):
    def work(intervals, annotation, threads):
        return saers.overlap_enrichment(
            intervals, annotation, genome=genome, n_controls=50, seed=9, threads=threads
        )

    once = work(many, classes, 1)
    assert once.equals(work(many.reverse(), classes.reverse(), 3))
    assert once.schema == dict(schema.ANNOTATIONS)


def test_another_seed_gives_other_controls(genome, many, classes):
    one, other = (
        saers.overlap_enrichment(many, classes, genome=genome, n_controls=20, seed=seed)
        for seed in (0, 1)
    )
    assert not one["control_mean"].equals(other["control_mean"])


@pytest.mark.parametrize("n_controls", [0, 30])
def test_no_interval_is_put_onto_n(genome, n_controls):
    unknown = table([("n", "chr1", 100, 150), ("n", "chr1", 390, 400)], CLASSES)
    intervals = seqlets(*((0, "chr1", place, place + 7) for place in range(0, 90, 3)))
    found = saers.overlap_enrichment(intervals, unknown, genome=genome, n_controls=n_controls)
    assert found.select("observed", "control_mean", "control_sd").row(0) == (0, 0, 0)
    assert found.select("z", "fold", "p_value").row(0) == (None, None, 1)


@pytest.mark.parametrize("n_controls", [0, 30])
def test_controls_stay_within_the_windows(genome, n_controls):
    windows = pl.DataFrame({"chrom": ["chr2"] * 2, "start": [20, 200], "end": [60, 240]})
    outside = table([("out", "chr2", 60, 200), ("in", "chr2", 20, 240)], CLASSES)
    found = saers.overlap_enrichment(
        seqlets((0, "chr2", 30, 40), (0, "chr2", 210, 220)),
        outside,
        genome=genome,
        within=windows,
        n_controls=n_controls,
    )
    assert dict(found.select("class", "control_mean").iter_rows()) == {"in": 2, "out": 0}


def test_the_tail_of_shuffles_counts_the_observed_placement(genome):
    """All ten intervals touch a class that chance hardly finds: p = 2 (1 + 0) / (n + 1)."""
    intervals = seqlets(*((0, "chr2", 5, 9) for _ in range(10)))
    found = saers.overlap_enrichment(
        intervals, table([("a", "chr2", 0, 10)], CLASSES), genome=genome, n_controls=99
    )
    assert found["p_value"][0] == pytest.approx(0.02)


def gc_share(text):
    return sum(letter in "CG" for letter in text) / sum(letter in "ACGT" for letter in text)


@pytest.fixture
def mixed_genome(tmp_path):
    """A chromosome of 600 bp whose share of G and C rises from end to end, N in 200..220."""
    path = tmp_path / "mixed.fa"
    rng = np.random.default_rng(4)
    letters = np.where(rng.random(600) < np.linspace(0.1, 0.9, 600), "G", "A")
    letters[200:220] = "N"
    path.write_text(">chr1\n" + "".join(letters) + "\n")
    return Genome(path)


@pytest.mark.parametrize("gc_match", [0.0, 0.1])
def test_places_of_like_gc_are_those_that_count(mixed_genome, gc_match):
    """The chance to touch a class is a ratio of numbers of starts of like GC."""
    text = mixed_genome.fetch("chr1", 0, 600)
    annotation = table([("a", "chr1", 300, 420), ("a", "chr1", 50, 90)], CLASSES)
    intervals = seqlets(*((0, "chr1", place, place + 20) for place in (30, 310, 560)))
    starts = [start for start in range(581) if "N" not in text[start : start + 20]]
    mean = 0.0
    for own in (30, 310, 560):
        share = gc_share(text[own : own + 20])
        like = [s for s in starts if abs(gc_share(text[s : s + 20]) - share) <= gc_match + 1e-9]
        mean += sum(280 < s < 420 or 30 < s < 90 for s in like) / len(like)
    found = saers.overlap_enrichment(intervals, annotation, genome=mixed_genome, gc_match=gc_match)
    assert found["control_mean"][0] == pytest.approx(mean, rel=1e-12)
    options = {"genome": mixed_genome, "gc_match": gc_match, "n_controls": 2000}
    near = saers.overlap_enrichment(intervals, annotation, **options, threads=1)
    assert near["control_mean"][0] == pytest.approx(mean, abs=0.08)
    assert near.equals(
        saers.overlap_enrichment(intervals.reverse(), annotation, **options, threads=2)
    )


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


@pytest.mark.parametrize("n_controls, unmatched", [(0, "1 of 2"), (5, "5 of 10")])
def test_places_without_a_like_share_are_counted(tmp_path, n_controls, unmatched):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\nGGGG" + 60 * "A" + "\n")
    windows = pl.DataFrame({"chrom": ["chr1"], "start": [4], "end": [64]})
    intervals = seqlets((0, "chr1", 0, 4), (0, "chr1", 10, 14))
    listener = Listener()
    found = annotate(
        intervals,
        {"all": table([("a", "chr1", 0, 64)], CLASSES)},
        genome=path,
        within=windows,
        n_controls=n_controls,
        gc_match=0.2,
        progress=listener,
    )
    assert found["control_mean"].to_list() == [2]
    (message,) = listener.said
    assert message.startswith(f"all: {unmatched} placements found no share of G and C within 0.2")


@pytest.mark.parametrize(
    "row, options, message",
    [
        ((0, "1", 0, 5), {}, "'1' is not in genome.fa, which has 'chr1'"),
        ((0, "chr1", 0, 300), {}, r"intervals\[0\]: nowhere on its chromosome are 300 bases"),
        ((0, "chr1", 0, 5), {"n_controls": 1}, "n_controls must be 0 .* at least 2, got 1"),
        ((0, "chr1", 0, 5), {"seed": -1}, "seed must lie in"),
        ((0, "chr1", 0, 5), {"gc_match": 1.5}, r"gc_match must lie in 0\.\.1, got 1\.5"),
        ((0, "chr1", -3, 5), {}, r"intervals\[0\]: start -3 is negative"),
    ],
)
def test_what_cannot_be_compared_is_named(genome, classes, row, options, message):
    with pytest.raises(ValueError, match=message):
        saers.overlap_enrichment(seqlets(row), classes, genome=genome, **options)


def test_no_intervals_and_no_annotation_give_no_rows(genome, many, classes):
    for intervals, annotation in [(seqlets(), classes), (many, table([], CLASSES))]:
        found = saers.overlap_enrichment(intervals, annotation, genome=genome)
        assert found.schema == dict(schema.ANNOTATIONS)
        assert found.is_empty()


def test_several_annotations_share_one_correction(genome, many, classes):
    renamed = classes.with_columns(pl.col("chrom").str.replace("chr", ""))
    elsewhere = pl.concat([renamed, table([("x", "chrX", 0, 9)], CLASSES)])
    found = annotate(many, {"b": classes, "a": elsewhere}, genome=genome)
    assert found.select("feature", "annotation", "class").rows() == [
        (feature, annotation, name)
        for feature in (2, 5)
        for annotation in "ab"
        for name in ("far", "near")
    ]
    assert found["q_value"].to_list() == with_q_values(found)["q_value"].to_list()


@given(st.lists(st.floats(1e-300, 1), min_size=1, max_size=30))
def test_q_values_equal_those_of_statsmodels(p_values):
    found = with_q_values(pl.DataFrame({"p_value": p_values}))["q_value"]
    expected = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_controls_of_real_width_agree_with_the_exact_answer(tmp_path):
    """10,000 shuffles: mean, spread and both tails lie within their sampling error."""
    rng = np.random.default_rng(2)
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\n" + 20_000 * "A" + 500 * "N" + 20_000 * "C" + "\n")
    starts = np.r_[rng.integers(0, 19_000, 150), rng.integers(0, 3_000, 30)]
    intervals = pl.DataFrame({"feature": 0, "chrom": "chr1", "start": starts, "end": starts + 34})
    annotation = table([("a", "chr1", s, s + 90) for s in range(0, 4_000, 150)], CLASSES)
    exact = saers.overlap_enrichment(intervals, annotation, genome=path).row(0, named=True)
    options = {"genome": path, "n_controls": 10_000, "seed": 5}
    near = saers.overlap_enrichment(intervals, annotation, **options).row(0, named=True)
    assert near["control_mean"] == pytest.approx(
        exact["control_mean"], abs=4 * exact["control_sd"] / 100
    )
    assert near["control_sd"] == pytest.approx(exact["control_sd"], rel=0.03)
    assert exact["p_value"] < 1e-4
    assert near["p_value"] <= 2 * 3 / 10_001


@pytest.mark.data
@pytest.mark.parametrize(
    "region, counts",
    [
        (("chr20", 9_995_000, 11_095_000), {"A549.CTCF": 32, "H1-hESC.CTCF": 26, "SPI1": 23}),
        (("chr17", 0, 1_000_000), {"A549.CTCF": 20, "H1-hESC.CTCF": 30, "SPI1": 8}),
    ],
)
def test_peaks_on_real_pieces_are_counted(data, region, counts):
    chrom, start, end = region
    piece = table([("piece", chrom, start, end)], CLASSES)
    for name, expected in counts.items():
        (path,) = (data / "annot").glob(f"hg19.*{name}.conservative.narrowPeak.gz")
        peaks = read_bed(path).with_columns(feature=pl.lit(0, dtype=pl.UInt32))
        assert saers.count_overlaps(peaks, piece)["n_intervals"].to_list() == [expected]


@pytest.mark.data
def test_shuffles_approach_the_exact_answer_on_real_sequence(data):
    genome = Genome(data / "genome" / "hg38.chr2_1-2333275.fa.gz")
    repeats = read_bed(data / "annot" / "hg38.chr2_1-2333275.softmask_repeats.bed.gz")
    files = (data / "annot").glob("hg38.human_ocr_ensembl.*.positive.csv.gz")
    regions = pl.concat(pl.read_csv(gzip.decompress(path.read_bytes())) for path in files)
    intervals = regions.filter(
        (pl.col("region") == "chr2") & (pl.col("end") <= genome.chromosomes["chr2"])
    ).select(pl.lit(0).alias("feature"), pl.col("region").alias("chrom"), "start", "end")
    assert intervals.height == 92
    exact = saers.overlap_enrichment(intervals, repeats, genome=genome)
    near = saers.overlap_enrichment(intervals, repeats, genome=genome, n_controls=500)
    assert exact["control_mean"][0] == pytest.approx(near["control_mean"][0], rel=0.02)
    assert exact["p_value"][0] == pytest.approx(near["p_value"][0], abs=0.05)
    assert 0 < exact["observed"][0] < 92

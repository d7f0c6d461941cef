import numpy as np
import polars as pl
import pytest
import torch

from saers import schema
from saers.codes import Codes, TopSeqlets
from saers.encoding import encode_source
from saers.genome import Genome
from saers.layer import ActivationBlock, LayerInfo
from saers.seqlets import distance_of, features_table, seqlets_table, write_fasta

CONV = LayerInfo("conv", channels=6, stride=2, window_lo=3, window_hi=4)
CONV1D = {1: (608, 11, 12), 2: (736, 19, 22), 3: (896, 35, 42), 4: (1056, 67, 82)}


def totals(*rows):
    frame = pl.DataFrame(rows, schema=["feature", "n_nonzero", "sum"], orient="row", strict=False)
    return frame.with_columns(pl.col("sum").alias("max"))


def seqlets_of(feature, activations):
    return pl.DataFrame(
        {
            "feature": [feature] * len(activations),
            "rank": range(1, len(activations) + 1),
            "window": [0] * len(activations),
            "position": range(len(activations)),
            "activation": activations,
        },
        schema=dict(schema.TOP_SEQLETS),
    )


def test_features_rank_by_mean_activation_and_ties_by_number():
    stats = totals((0, 10, 20.0), (1, 4, 20.0), (2, 0, 0.0), (3, 5, 10.0), (4, 0, 0.0))
    found = features_table(stats, schema.empty(schema.TOP_SEQLETS), n_tokens=100)
    assert found.schema == dict(schema.FEATURES)
    assert found["name"].to_list() == ["2_n0", "1_n1", "4_n2", "3_n3", "5_n4"]
    assert found["mean_activation"].to_list() == [2.0, 5.0, 0.0, 2.0, 0.0]
    assert found["density"].to_list() == [0.1, 0.04, 0.0, 0.05, 0.0]


def test_seqlets_exactly_at_half_the_mean_do_not_count():
    stats = totals((7, 4, 8.0))
    top = seqlets_of(7, [4.0, 1.5, 1.0, 0.5])
    found = features_table(stats, top, n_tokens=100, min_nonzero=0, min_above_half=0)
    assert found["n_above_half"].to_list() == [2]


@pytest.mark.parametrize(
    "min_nonzero, min_above_half, selected",
    [(4, 2, True), (5, 2, False), (4, 3, False), (0, 0, True)],
)
def test_both_rules_must_hold(min_nonzero, min_above_half, selected):
    found = features_table(
        totals((7, 4, 8.0)),
        seqlets_of(7, [4.0, 1.5, 1.0]),
        n_tokens=100,
        min_nonzero=min_nonzero,
        min_above_half=min_above_half,
    )
    assert found["selected"].to_list() == [selected]


def test_the_rules_of_the_paper_are_the_default():
    stats = totals((0, 1000, 1000.0), (1, 999, 1000.0), (2, 1000, 1000.0))
    top = pl.concat(seqlets_of(f, [1.0] * n) for f, n in ((0, 200), (1, 200), (2, 199)))
    found = features_table(stats, top, n_tokens=10_000)
    assert found["selected"].to_list() == [True, False, False]


def test_no_positions_are_an_error():
    with pytest.raises(ValueError, match="n_tokens must lie in"):
        features_table(totals((0, 0, 0.0)), schema.empty(schema.TOP_SEQLETS), n_tokens=0)


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(3)
    letters = {name: "".join(rng.choice(list("ACGTacgt"), n)) for name, n in LENGTHS.items()}
    lines = (f">{name}\n{sequence}\n" for name, sequence in letters.items())
    (tmp_path / "genome.fa").write_text("".join(lines))
    return Genome(tmp_path / "genome.fa")


LENGTHS = {"chr1": 500, "chr2": 300}
WINDOWS = pl.DataFrame(
    {
        "window": [0, 1, 2],
        "chrom": ["chr1", "chr2", "chr1"],
        "start": [100, 0, 400],
        "end": [200, 100, 500],
        "split": ["train"] * 3,
    }
)


def one_feature(*places, feature=5, selected=True):
    top = pl.DataFrame(
        {
            "feature": [feature] * len(places),
            "rank": range(1, len(places) + 1),
            "window": [window for window, _ in places],
            "position": [position for _, position in places],
            "activation": np.arange(len(places), 0, -1.0),
        },
        schema=dict(schema.TOP_SEQLETS),
    )
    features = pl.DataFrame(
        {"feature": [feature], "name": [f"1_n{feature}"], "selected": [selected]}
    )
    return top, features


def test_a_seqlet_is_what_its_position_has_seen(genome):
    top, features = one_feature((1, 20), (0, 0))
    found = seqlets_table(top, features, WINDOWS, CONV, genome)
    assert found.schema == dict(schema.SEQLETS)
    assert found.select("rank", "window", "position", "chrom", "start", "end").rows() == [
        (1, 1, 20, "chr2", 37, 45),
        (2, 0, 0, "chr1", 97, 105),
    ]
    for row in found.iter_rows(named=True):
        (expected,) = CONV.interval(
            np.array([row["position"]]), WINDOWS["start"][row["window"]]
        ).tolist()
        assert [row["start"], row["end"]] == expected
        assert row["sequence"] == genome.fetch(row["chrom"], row["start"], row["end"]).upper()


@pytest.mark.parametrize(
    "width, start, end", [(8, 97, 105), (4, 99, 103), (1, 100, 101), (9, 96, 105), (20, 91, 111)]
)
def test_other_widths_are_centred(genome, width, start, end):
    top, features = one_feature((0, 0))
    found = seqlets_table(top, features, WINDOWS, CONV, genome, width=width)
    assert found.select("start", "end").row(0) == (start, end)
    assert len(found["sequence"][0]) == width


@pytest.mark.parametrize("number, width", [(1, 14), (2, 18), (3, 26), (4, 34)])
def test_the_widths_of_the_paper_belong_to_convolutions_of_borzoi(genome, number, width):
    channels, lo, hi = CONV1D[number]
    layer = LayerInfo(f"res_tower.{number}", channels, 2**number, lo, hi)
    top, features = one_feature((0, 3))
    found = seqlets_table(top, features, WINDOWS, layer, genome, width="paper")
    seen = seqlets_table(top, features, WINDOWS, layer, genome)
    assert found["sequence"].str.len_chars().to_list() == [width]
    before, after = found["start"][0] - seen["start"][0], seen["end"][0] - found["end"][0]
    assert before == after == (layer.receptive_field - width) // 2


@pytest.mark.parametrize(
    "width, message",
    [
        (
            "paper",
            "width 'paper' is known for Borzoi's conv1d_1 to conv1d_4 only, got layer 'conv'",
        ),
        ("all", "width must be 'rf', 'paper' or base pairs, got 'all'"),
        (0, "width must be 'rf', 'paper' or base pairs, got 0"),
    ],
)
def test_an_impossible_width_is_named(genome, width, message):
    with pytest.raises(ValueError, match=message):
        seqlets_table(*one_feature((0, 0)), WINDOWS, CONV, genome, width=width)


def test_what_passes_the_end_of_its_chromosome_is_left_out(genome):
    top, features = one_feature((1, 0), (1, 2), (2, 48), (2, 47), (0, 49))
    found = seqlets_table(top, features, WINDOWS, CONV, genome)
    assert found["rank"].to_list() == [2, 4, 5]
    assert found["start"].to_list() == [1, 491, 195]
    assert found["end"].max() == 499


def test_only_selected_features_are_cut_out(genome):
    top, features = one_feature((0, 1))
    other_top, other = one_feature((0, 1), feature=2, selected=False)
    third_top, third = one_feature((0, 4), (1, 8), feature=3)
    found = seqlets_table(
        pl.concat([top, other_top, third_top]),
        pl.concat([features, other, third]),
        WINDOWS,
        CONV,
        genome,
    )
    assert found.select("feature", "rank").rows() == [(3, 1), (3, 2), (5, 1)]


def test_no_seqlets_make_an_empty_table(genome):
    top, features = one_feature((0, 1), selected=False)
    found = seqlets_table(top, features, WINDOWS, CONV, genome)
    assert found.schema == dict(schema.SEQLETS)
    assert found.is_empty()


def test_unknown_windows_and_chromosomes_are_named(genome):
    with pytest.raises(ValueError, match="windows must hold window 9"):
        seqlets_table(*one_feature((0, 1), (9, 1)), WINDOWS, CONV, genome)
    renamed = WINDOWS.with_columns(chrom=pl.lit("1"))
    with pytest.raises(ValueError, match=r"'1' is not in genome.fa, which has 'chr1'"):
        seqlets_table(*one_feature((0, 1)), renamed, CONV, genome)


def test_each_feature_has_its_fasta_file(genome, tmp_path):
    top, features = one_feature((1, 20), (0, 10))
    third_top, third = one_feature((0, 4), feature=3)
    top, features = pl.concat([top, third_top]), pl.concat([features, third])
    table = seqlets_table(top, features, WINDOWS, CONV, genome)
    write_fasta(table.reverse(), features, tmp_path / "seqlets")
    assert sorted(f.name for f in (tmp_path / "seqlets").iterdir()) == ["1_n3.fa", "1_n5.fa"]
    first, second = genome.slice([("chr2", 37, 45), ("chr1", 117, 125)])
    assert (tmp_path / "seqlets" / "1_n5.fa").read_text() == (
        f">chr2:37-45\n{first}\n>chr1:117-125\n{second}\n"
    )


@pytest.mark.parametrize(
    "stride, lo, hi, distance", [(1, 0, 0, 1), (2, 11, 12, 12), (4, 19, 22, 11), (16, 3, 4, 1)]
)
def test_seqlets_at_the_default_distance_do_not_overlap(stride, lo, hi, distance):
    layer = LayerInfo("conv", 8, stride, lo, hi)
    assert distance_of(layer) == distance
    near, far = layer.interval(np.array([10, 10 + distance]), 0)
    assert far[0] >= near[1]


def test_a_planted_pattern_is_found_where_it_was_planted(tmp_path):
    """Letters in, the places of a word out: one-hot, convolution, encoding, seqlets."""
    rng = np.random.default_rng(11)
    letters = rng.choice(list("ACGT"), 3000)
    planted = sorted(rng.choice(290, 12, replace=False) * 10 + 20)
    for start in planted:
        letters[start : start + 8] = list("TGACGTCA")
    (tmp_path / "genome.fa").write_text(f">chr1\n{''.join(letters)}\n")
    genome = Genome(tmp_path / "genome.fa")
    windows = pl.DataFrame(
        {"window": [0, 1, 2], "chrom": "chr1", "start": [0, 1000, 2000], "end": [1000, 2000, 3000]}
    )
    layer = LayerInfo("conv", channels=1, stride=1, window_lo=0, window_hi=7)
    word = np.eye(4, dtype=np.float32)[["ACGT".index(base) for base in "TGACGTCA"]]

    class Words:
        n_positions = 993

        def __init__(self):
            self.layer, self.windows = layer, windows

        def blocks(self, *, windows=None):
            onehot = genome.onehot(self.windows)
            for window in range(3):
                seen = np.lib.stride_tricks.sliding_window_view(onehot[window], (8, 4))[:, 0]
                values = (seen * word).sum(axis=(1, 2), dtype=np.float32)[None, :, None]
                yield ActivationBlock(np.array([window]), values, np.ones((1, 993), bool))

    class Threshold:
        k = 1

        def to(self, device):
            raise AssertionError(device)

        def encode(self, x):
            return Codes(torch.zeros(x.shape, dtype=torch.int64), torch.relu(x - 7))

    top = TopSeqlets(1, per_window=100, per_feature=100, min_distance=distance_of(layer))
    n_tokens = encode_source(Threshold(), Words(), top)
    stats = top.feature_stats()
    features = features_table(
        stats, top.finish(), n_tokens=n_tokens, min_nonzero=1, min_above_half=1
    )
    found = seqlets_table(top.finish(), features, windows, layer, genome)
    inside = [start for start in planted if start // 1000 == (start + 7) // 1000]
    assert set(found["sequence"]) == {"TGACGTCA"}
    assert set(inside) <= set(found["start"])

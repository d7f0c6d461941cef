"""saers.encoding: codes from pieces of windows, and of both strands, feature by feature."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from saers.capture import ModelActivations
from saers.codes import Codes, TopSeqlets, combined
from saers.encoding import encode_source
from saers.genome import Genome
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.windows import tile
from tests import borzoi

LENGTH = 256


class Positive:
    """An autoencoder whose features are the channels, the ``k`` largest of them."""

    def __init__(self, k):
        self.k = k

    def encode(self, x):
        values, indices = x.relu().topk(self.k)
        return Codes(indices, values)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    bases = np.random.default_rng(0).choice(list("ACGT"), 4 * LENGTH)
    bases[300:310] = "N"
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(">chr1\n" + "".join(bases) + "\n")
    return Genome(path)


def network(width=5, pool=2):
    """Filters 0 to 2, and as 3 to 5 their reverse complements: known symmetry."""
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 6, width, padding=width // 2)
    with torch.no_grad():
        conv.weight[3:] = conv.weight[:3].flip(1, 2)
        conv.bias[3:] = conv.bias[:3]
    return ModuleModel(nn.Sequential(conv, nn.MaxPool1d(pool)), input_length=LENGTH)


@pytest.fixture
def source(genome):
    return ModelActivations(network(), "1", genome, tile(genome, LENGTH), batch_size=3)


def dense(codes, n_features):
    found = np.zeros((*codes.values.shape[:-1], n_features), np.float32)
    rows = found.reshape(-1, n_features)
    names_of, values_of = (array.reshape(len(rows), -1) for array in codes)
    for row, names, values in zip(rows, names_of, values_of, strict=True):
        for name, value in zip(names.tolist(), values.tolist(), strict=True):
            if value:
                assert row[name] == 0, "a feature stands once at a place"
                row[name] = value
    return found


def encoded(sae, source, path, strands="forward", **options):
    """Codes of every position, dense, out of the file that is written of them."""
    top = TopSeqlets(source.layer.channels, 4, 100, 3)
    count = encode_source(sae, source, top, strands=strands, codes_path=path, **options)
    with h5py.File(path) as file:
        codes = Codes(file["indices"][:], file["values"][:].astype(np.float32))
    return top.finish(), count, codes, dense(codes, source.layer.channels)


rows = st.integers(0, 4).flatmap(
    lambda k: st.lists(
        st.tuples(
            st.permutations(range(6)).map(lambda p: p[:k]),
            st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.25]), min_size=k, max_size=k),
        ),
        min_size=6,
        max_size=6,
    )
)


@given(rows, rows, st.sampled_from(["mean", "max"]))
def test_codes_are_combined_as_dense_ones_are(one, other, how):
    made = [
        Codes(
            np.array([names for names, _ in each], np.uint32).reshape(6, -1),
            np.array([values for _, values in each], np.float32).reshape(6, -1),
        )
        for each in (one, other)
    ]
    first, second = (dense(codes, 6) for codes in made)
    expected = (first + second) / 2 if how == "mean" else np.maximum(first, second)
    assert np.array_equal(dense(combined(*made, how), 6), expected)
    assert np.array_equal(dense(made[0], 6), first)  # what was given stays as it was


@pytest.mark.parametrize("how", ["mean", "max"])
def test_both_strands_of_a_place_are_combined_by_feature(source, tmp_path, how):
    sae = Positive(2)
    _, count, codes, found = encoded(sae, source, tmp_path / "both.h5", how)
    assert codes.values.shape[-1] == 4
    _, one_count, _, plus = encoded(sae, source, tmp_path / "plus.h5")
    _, _, _, minus = encoded(sae, source.reverse(), tmp_path / "minus.h5")
    turned = minus[:, ::-1]
    expected = (plus + turned) / 2 if how == "mean" else np.maximum(plus, turned)
    assert np.allclose(found, expected, rtol=1e-3)  # the file is in half precision
    assert count == one_count


def test_a_filter_and_its_reverse_complement_become_one(source, tmp_path):
    """On one strand they differ; over both, each finds what the other finds."""
    _, _, _, forward = encoded(Positive(6), source, tmp_path / "plus.h5")
    assert not np.allclose(forward[..., :3], forward[..., 3:], atol=0.05)
    for how in ("mean", "max"):
        top, _, _, both = encoded(Positive(6), source, tmp_path / f"{how}.h5", how)
        assert both.max() > 0.1
        assert np.allclose(both[..., :3], both[..., 3:], rtol=2e-3, atol=1e-4)
        places = [top.filter(top["feature"] == f)["activation"].to_numpy() for f in (0, 3)]
        assert np.allclose(*places, rtol=1e-5)


def test_the_codes_of_both_strands_are_those_of_the_other_genome(tmp_path, genome):
    """Nothing changes, but for the places, where the genome is turned round."""
    letters = (genome.path.read_text().split("\n")[1]).translate(str.maketrans("ACGT", "TGCA"))
    (tmp_path / "turned.fa").write_text(">chr1\n" + letters[::-1] + "\n")
    other = Genome(tmp_path / "turned.fa")
    made = [
        ModelActivations(network(), "1", one, tile(one, LENGTH), batch_size=4)
        for one in (genome, other)
    ]
    one, two = (encoded(Positive(3), s, tmp_path / f"{i}.h5", "max")[3] for i, s in enumerate(made))
    assert np.allclose(one, two[::-1, ::-1], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("strands", ["forward", "max"])
@pytest.mark.parametrize("options", [{}, {"crop": 128, "parts": 2}])
def test_codes_of_pieces_are_those_of_whole_windows(
    genome, tmp_path, monkeypatch, strands, options
):
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 128)
    model = BorzoiModel(borzoi.ours(dtype=torch.float64), input_length=512)
    source = ModelActivations(model, "conv1d_1", genome, tile(genome, 512), **options)
    pieces = encoded(Positive(3), source, tmp_path / "pieces.h5", strands, batch_size=50)
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 2**20)
    whole = encoded(Positive(3), source, tmp_path / "whole.h5", strands)
    assert pieces[1] == whole[1]
    assert np.allclose(pieces[3], whole[3], rtol=1e-3)
    assert pieces[0].drop("activation").equals(whole[0].drop("activation"))


def test_a_source_of_one_strand_is_refused(source):
    class File:
        layer, windows, n_positions = source.layer, source.windows, source.n_positions
        blocks = source.blocks

    top = TopSeqlets(6, 1, 1, 1)
    with pytest.raises(ValueError, match="got 'max': the source holds one strand"):
        encode_source(Positive(1), File(), top, strands="max")
    with pytest.raises(ValueError, match="strands must be one of forward, mean, max"):
        encode_source(Positive(1), source, top, strands="both")


def test_positions_that_see_other_bases_on_the_other_strand_are_refused(genome):
    """A pool of 3 leaves a base over at one end of 256 bp."""
    source = ModelActivations(network(pool=3), "1", genome, tile(genome, LENGTH))
    message = "strands must be forward for layer '1': .* bases that lie 1 bp apart"
    with pytest.raises(ValueError, match=message):
        encode_source(Positive(1), source, TopSeqlets(6, 1, 1, 1), strands="mean")

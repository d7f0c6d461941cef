"""Borzoi's layers piece by piece: the numbers of a whole window, whatever is asked for together.

Narrow convolutions round differently over inputs of different length; hence double precision here,
and one test of the bits at full width.
"""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers.models.base import PiecewiseModel
from saers.models.borzoi import BorzoiConfig, BorzoiModel
from saers.models.borzoi.network import State
from tests import borzoi

CHUNK = 256  # of pieces in these tests, so that a window has eight
NEAR = ["conv1d", "conv1d_1", "conv1d_2", "conv1d_3", "conv1d_4", "conv1d_5"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", CHUNK)


@pytest.fixture(scope="module")
def model():
    return BorzoiModel(borzoi.ours(dtype=torch.float64), input_length=borzoi.LENGTH)


def by_the_network(network, onehot, layers):
    """Each layer, computed by the network over whole windows."""
    state, before, found = State(onehot.mT), None, {}
    with torch.no_grad():
        for layer in layers:
            state, before = network.advance(state, before, layer), layer
            found[layer] = state.values.mT.float()
    return found


@pytest.fixture(scope="module")
def whole(model):
    onehot = borzoi.sequences(dtype=torch.float64)
    return onehot, by_the_network(model.module, onehot, model.config.layers)


def same(found, expected):
    """Equal but for the last bit of float32."""
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=2e-7, atol=1e-9)


def test_it_is_a_piecewise_model(model):
    assert isinstance(model, PiecewiseModel)


def joined(pieces, layers):
    """Concatenate each layer's pieces, and see that they rise without a gap."""
    parts = {layer: [] for layer in layers}
    reached = {}
    for layer, first, values in pieces:
        assert first == reached.get(layer, first)
        reached[layer] = first + values.shape[1]
        parts[layer].append(values)
    return {layer: torch.cat(values, dim=1) for layer, values in parts.items()}


@pytest.mark.parametrize("layer", ["conv1d", "conv1d_1", "conv1d_5", "conv1d_6", "transformer.1"])
def test_pieces_of_one_layer_are_what_is_captured(model, whole, layer):
    found = joined(model.pieces(whole[0], [layer]), [layer])[layer]
    assert torch.equal(found, model.capture(whole[0], layer))
    assert same(found, whole[1][layer])


def test_all_layers_of_one_pass_are_those_of_the_network(model, whole):
    layers = list(model.config.layers)
    found = joined(model.pieces(whole[0], layers[::-1]), layers)
    for layer in layers:
        assert same(found[layer], whole[1][layer]), layer


def test_pieces_of_the_full_width_have_the_bits_of_the_network(monkeypatch):
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 8192)
    network, onehot = borzoi.ours(BorzoiConfig(upto="conv1d_2")), borzoi.sequences(24_576, n=1)
    layers = ["conv1d_1", "conv1d_2"]
    expected = by_the_network(network, onehot, layers)
    model = BorzoiModel(network, input_length=onehot.shape[1])
    for spans in (None, [(12_800, 24_576), (0, 12_800)]):
        count = 0
        for layer, first, values in model.pieces(onehot, layers, spans):
            assert torch.equal(values, expected[layer][:, first : first + values.shape[1]])
            count += values.shape[1]
        assert count == 24_576 // 2 + 24_576 // 4


def test_no_piece_is_longer_than_a_chunk(model, whole):
    for layer, _, values in model.pieces(whole[0], NEAR):
        assert values.shape[1] * model.layers[layer].stride <= CHUNK


spans = st.integers(0, 15).flatmap(
    lambda a: st.integers(a + 1, 16).map(lambda b: (128 * a, 128 * b))
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(spans, min_size=1, max_size=4),
    st.sets(st.sampled_from([*NEAR, "conv1d_6", "transformer.0", "separable0"]), min_size=1),
)
def test_spans_come_in_their_order_and_are_of_the_whole(model, whole, asked, layers):
    onehot, every = whole
    found = {layer: [] for layer in layers}
    for layer, first, values in model.pieces(onehot, sorted(layers), asked):
        assert same(values, every[layer][:, first : first + values.shape[1]])
        found[layer] += range(first, first + values.shape[1])
    for layer in layers:
        stride = model.layers[layer].stride
        expected = [i for start, end in asked for i in range(start // stride, end // stride)]
        assert found[layer] == expected


def test_what_no_span_covers_is_not_computed_for_a_convolution(model, whole, monkeypatch):
    seen = []
    advance = model.module.advance

    def counted(state, *names):
        seen.append(state.values.shape[2])
        return advance(state, *names)

    monkeypatch.setattr(model.module, "advance", counted)
    list(model.pieces(whole[0], ["conv1d_1"], [(1024, 1280)]))
    assert seen == [256 + 2 * 12]


def test_names_of_modules_come_back_as_they_were_asked_for(model, whole):
    (name,) = {piece.layer for piece in model.pieces(whole[0], ["res_tower.0"])}
    assert name == "res_tower.0"


def test_nothing_keeps_a_graph(model, whole):
    """Also between pieces, where the caller may compute with gradients."""
    for piece in model.pieces(whole[0], ["conv1d_1", "transformer.0"]):
        assert torch.is_grad_enabled()
        assert not piece.values.requires_grad


def test_the_cropped_layer_comes_whole(model, whole):
    layer = "final_joined_convs"
    (piece,) = model.pieces(whole[0], [layer])
    assert same(piece.values, whole[1][layer])


def test_a_truncated_network_gives_pieces_up_to_its_end(whole):
    config = dataclasses.replace(borzoi.TINY, upto="conv1d_2")
    network = borzoi.ours(config, dtype=torch.float64)
    expected = by_the_network(network, whole[0], config.layers)["conv1d_2"]
    model = BorzoiModel(network, input_length=borzoi.LENGTH)
    assert same(joined(model.pieces(whole[0], ["conv1d_2"]), ["conv1d_2"])["conv1d_2"], expected)


def test_a_length_between_multiples_is_refused_before_anything_is_computed(model):
    with pytest.raises(
        ValueError, match="multiple of 128 bp long, got 2,000; nearest: 1,920 or 2,"
    ):
        next(model.pieces(torch.zeros(1, 2000, 4), ["conv1d_1"]))

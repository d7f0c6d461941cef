"""Borzoi computes what borzoi-pytorch does, stops at any layer, and goes on from it."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from saers.models.base import SequenceModel
from saers.models.borzoi import Borzoi, BorzoiConfig, BorzoiModel, State
from saers.models.borzoi import model as borzoi_model
from saers.models.borzoi.attention import RotaryAttention, position_features
from saers.models.borzoi.config import infer_config
from saers.models.receptive import perturbed_window
from tests.borzoi import LENGTH, TINY, enliven, ours, sequences, theirs

PATHS = {
    "conv1d": "conv_dna.conv_layer",
    **{f"conv1d_{i + 1}": f"res_tower.{2 * i}" for i in range(5)},
    "conv1d_6": "unet1",
    "transformer.0": "transformer.0",
    "transformer.1": "transformer.1",
    "separable1": "separable1",
    "separable0": "separable0",
    "final_joined_convs": "final_joined_convs",
}


def model(config=TINY, length=LENGTH, dtype=torch.float32, **options):
    return BorzoiModel(ours(config, dtype=dtype), input_length=length, **options)


def outputs_of(network, onehot):
    """What each layer of the other implementation gives, (b, positions, channels)."""
    seen = {}
    for layer, path in PATHS.items():
        if layer.startswith("transformer") and int(layer[-1]) >= len(network.transformer):
            continue

        def keep(_module, _inputs, output, layer=layer):
            seen[layer] = output if layer.startswith("transformer") else output.mT

        network.get_submodule(path).register_forward_hook(keep)
    with torch.no_grad():
        # As its forward does, but for a cast to float32.
        embedded = network.final_joined_convs(network.get_embs_after_crop(onehot.mT))
        for species in ("human", "mouse"):
            head = network.get_submodule(f"{species}_head")
            seen[species] = network.final_softplus(head(embedded))
    return seen


def assert_close(found, wanted, tolerance):
    scale = wanted.std()
    assert scale > 1e-2  # a network that gives one number everywhere would agree with any other
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"]
)
def test_every_layer_and_both_heads_are_those_of_borzoi_pytorch(dtype, tolerance, monkeypatch):
    from borzoi_pytorch import pytorch_borzoi_transformer as transformer

    features = transformer.get_positional_embed  # which knows float32 alone
    monkeypatch.setattr(transformer, "get_positional_embed", lambda *a: features(*a).to(dtype))
    onehot = sequences(dtype=dtype)
    wanted = outputs_of(theirs(dtype=dtype), onehot)
    found = model(dtype=dtype)
    for layer in PATHS:
        values = found.prefix(onehot, layer).values.mT
        assert_close(values, wanted[layer], tolerance)
    assert_close(found(onehot), wanted["human"], tolerance)
    assert_close(model(dtype=dtype, species="mouse")(onehot), wanted["mouse"], tolerance)


def test_the_network_of_full_size_is_that_of_borzoi_pytorch():
    config = BorzoiConfig(bins=64, tracks=(("human", 7611), ("mouse", 2608)))
    onehot = sequences(4096, n=1)
    wanted = outputs_of(theirs(config), onehot)
    found = BorzoiModel(ours(config), input_length=4096)
    for layer in ("conv1d_1", "conv1d_6", "transformer.7", "separable0"):
        if layer in wanted:
            assert_close(found.capture(onehot, layer), wanted[layer], 1e-5)
    assert_close(found(onehot), wanted["human"], 1e-5)
    assert sum(p.numel() for p in found.module.parameters()) == 190_902_667


def test_the_human_model_has_as_many_parameters_as_published():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in Borzoi(BorzoiConfig()).parameters())
    assert count == 185_892_699


def test_a_second_input_may_have_another_length():
    found = model()
    for length in (1024, 4096):
        onehot = sequences(length)
        with torch.no_grad():
            whole = found.module(onehot.mT)
        torch.testing.assert_close(found(onehot), whole)


@pytest.mark.parametrize("layer", TINY.layers)
def test_going_on_from_a_layer_gives_the_outputs_bit_for_bit(layer):
    found, onehot = model(), sequences()
    again = found.run_from(layer, found.capture(onehot, layer), onehot=onehot)
    assert torch.equal(again, found(onehot))


@pytest.mark.parametrize("layer", ["conv1d_2", "conv1d_5", "conv1d_6", "transformer.0"])
def test_activations_put_in_place_act_as_a_hook_would(layer):
    found, onehot = model(), sequences()
    changed = found.capture(onehot, layer) * 1.5

    def replace(_module, _inputs, output):
        return changed.mT if not layer.startswith("transformer") else changed

    with torch.no_grad():
        peer = theirs()
        peer.get_submodule(PATHS[layer]).register_forward_hook(replace)
        wanted = peer(onehot.mT)
    assert_close(found.run_from(layer, changed, onehot=onehot), wanted, 1e-5)


def test_a_by_passed_layer_needs_the_sequence():
    found = model()
    values = found.capture(sequences(), "transformer.0")
    with pytest.raises(ValueError, match=r"onehot must be given: .* by-pass 'transformer.0'"):
        found.run_from("transformer.0", values)


@pytest.mark.parametrize("chunk", [128, 384, 1024])
@pytest.mark.parametrize("layer", TINY.layers[:6])
def test_chunks_are_the_whole(monkeypatch, chunk, layer):
    monkeypatch.setattr(borzoi_model, "_CHUNK", chunk)
    found, onehot = model(dtype=torch.float64), sequences(dtype=torch.float64)
    with torch.no_grad():
        whole = found.module.advance(State(onehot.mT), None, layer).values
        assert torch.allclose(found.prefix(onehot, layer).values, whole, rtol=0, atol=1e-12)


def test_chunks_of_the_full_width_are_the_whole_bit_for_bit():
    network = ours(BorzoiConfig(upto="conv1d_1"))
    onehot = sequences(4 * borzoi_model._CHUNK, n=1)
    with torch.no_grad():
        whole = network.advance(State(onehot.mT), None, "conv1d_1").values.mT
    found = BorzoiModel(network, input_length=onehot.shape[1])
    assert torch.equal(found.capture(onehot, "conv1d_1"), whole)


def test_receptive_windows_are_those_of_the_paper_and_of_the_network():
    layers = BorzoiModel(ours(), input_length=LENGTH).layers
    widths = [layers[name].receptive_field for name in TINY.layers[:7]]
    assert widths == [15, 24, 42, 78, 150, 294, 582]
    found = model(dtype=torch.float64)
    for name in TINY.layers[:5]:
        window = perturbed_window(lambda x, name=name: found.capture(x, name), LENGTH)
        layer = found.layers[name]
        assert window == (layer.stride, layer.window_lo, layer.window_hi)


def test_layers_behind_the_transformer_see_their_stretch_by_convolution():
    config = dataclasses.replace(TINY, depth=0, bins=None)
    found = BorzoiModel(ours(config, dtype=torch.float64), input_length=4096)
    onehot = sequences(4096, n=1, dtype=torch.float64)

    def moved(name, position, flipped):
        changed = onehot.clone()
        for start, end in flipped:
            changed[:, start:end] = changed[:, start:end].flip(2)
        before, after = (found.capture(x, name)[0, position] for x in (onehot, changed))
        return not torch.equal(before, after)

    for name in ("separable1", "separable0", "final_joined_convs"):
        layer, at_start, at_end = found.layers[name], [], []
        for position in range(20, 24):
            start, end = layer.interval(np.array([position]), 0)[0]
            assert not moved(name, position, [(0, start), (end, 4096)])
            at_start.append(moved(name, position, [(start, start + layer.stride)]))
            at_end.append(moved(name, position, [(end - layer.stride, end)]))
        assert any(at_start)
        assert any(at_end)


@pytest.mark.parametrize("bins", [16, None])
def test_positions_are_counted_without_running(bins):
    found = model(dataclasses.replace(TINY, bins=bins))
    for layer in TINY.layers:
        count = found.capture(sequences(), layer).shape[1]
        assert found.n_positions(layer, LENGTH) == count


def test_names_of_modules_find_layers():
    found = model()
    assert found.layers["res_tower.0.conv_layer"].name == "conv1d_1"
    assert isinstance(found, SequenceModel)
    with pytest.raises(ValueError, match=r"no layer 'conv1d_9'; did you mean 'conv1d_\d'"):
        found.capture(sequences(), "conv1d_9")


def test_the_share_of_operations_is_that_of_the_published_model():
    found = BorzoiModel(Borzoi(BorzoiConfig(upto=None)).to("meta"))
    counts = found.flops()
    shares = [counts[name] / 4.910e12 for name in ("conv1d", "conv1d_1", "conv1d_4", "conv1d_6")]
    assert shares == pytest.approx([0.007, 0.173, 0.443, 0.521], abs=1e-3)
    # Behind the transformer, bins that are not returned are not computed.
    assert counts["outputs"] == pytest.approx(0.965 * 4.910e12, rel=1e-3)


@pytest.mark.parametrize(
    "bins, kernel, outer",
    [(1, 3, 28), (16, 1, 24), (16, 3, 20), (17, 3, 20), (16, 5, 16), (56, 3, 0), (64, 3, 0)],
)
@pytest.mark.parametrize("depth", [0, 2])
def test_bins_that_are_not_returned_are_not_computed(bins, kernel, outer, depth, monkeypatch):
    config = dataclasses.replace(TINY, bins=bins, depth=depth, separable_kernel=kernel)
    found, onehot = BorzoiModel(ours(config), input_length=LENGTH), sequences()
    widths = []
    for name in ("separable1", "separable0"):
        found.module.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: widths.append(output.shape[2])
        )
    middle = found(onehot)
    captured = found.capture(onehot, "separable0")
    assert torch.equal(found.run_from("separable0", captured), middle)
    del widths[2:]
    monkeypatch.setattr(Borzoi, "_outer", lambda self, bins: 0)
    torch.testing.assert_close(middle, found(onehot), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(captured, found.capture(onehot, "separable0"))
    del widths[4:]
    assert widths == [32 - outer, 64 - 2 * outer, 32, 64]


@pytest.mark.parametrize(
    "length, message",
    [
        (2000, "must be a multiple of 128 bp long, got 2,000; nearest: 1,920 or 2,048"),
        (64, "must be a multiple of 128 bp long, got 64; nearest: 128"),
        (512, "as long as what a position of 'conv1d_6' sees, 582 bp, got 512"),
    ],
)
def test_a_length_that_does_not_fit_is_refused(length, message):
    with pytest.raises(ValueError, match=message):
        model().capture(sequences(length), "conv1d_6")


def test_an_input_without_enough_bins_is_refused():
    found = model(dataclasses.replace(TINY, bins=64), length=1024)
    with pytest.raises(
        ValueError, match=r"32 bins of 32 bp and 64 are to be returned: .* 2,048 bp"
    ):
        found(sequences(1024))


def test_species_are_those_of_the_heads():
    with pytest.raises(ValueError, match="species must be one of human, mouse, got 'fly'"):
        model(species="fly")


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([(2, 4, 6, 4), (1, 3, 5, 2), (4, 2, 2, 8)]),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_sizes_are_found_from_shapes(n_tower, depth, sizes, rotary):
    heads, key, value, features = sizes
    attention = {} if rotary else {"key": key, "value": value, "position_features": features}
    config = BorzoiConfig(
        stem=6,
        tower=tuple(range(5, 5 + n_tower)),
        dim=8 * heads,
        depth=depth,
        heads=heads,
        head=7,
        tracks=(("mouse", 3),),
        rotary=rotary,
        bins=None,
        **attention,
    )
    with torch.device("meta"):
        shapes = {key: tuple(t.shape) for key, t in Borzoi(config).state_dict().items()}
    told = {"return_center_bins_only": False, "heads": heads}
    assert infer_config(shapes, told) == config


def test_rotary_attention_is_its_definition():
    attention = enliven(RotaryAttention(24, heads=4)).double()
    values = torch.randn(1, 7, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    joined = attention.mha["Wqkv"](values)[0]
    queries, keys, contents = joined[:, :24], joined[:, 24:36], joined[:, 36:]
    out = torch.zeros(7, 24, dtype=torch.float64)
    for head in range(4):
        shared = head // 2
        turned = []
        for vectors in (queries[:, 6 * head :][:, :6], keys[:, 6 * shared :][:, :6]):
            complex_ = torch.complex(vectors[:, :3], vectors[:, 3:])
            angle = torch.arange(7)[:, None] * 20_000.0 ** -(torch.arange(3) / 3)
            turned.append(complex_ * torch.polar(torch.ones(7, 3), angle))
        logits = (turned[0] @ turned[1].conj().T).real / 6**0.5
        out[:, 6 * head : 6 * head + 6] = logits.softmax(1) @ contents[:, 6 * shared :][:, :6]
    wanted = F.linear(out, attention.mha["out_proj"].weight, attention.mha["out_proj"].bias)
    torch.testing.assert_close(attention(values)[0], wanted, rtol=1e-6, atol=1e-6)


def test_features_of_positions_do_not_depend_on_how_many_there_are():
    few, many = position_features(3, 32), position_features(10, 32)
    assert torch.equal(few, many[7:-7])

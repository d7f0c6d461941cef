"""Enformer's layers and outputs are those of enformer-pytorch, wherever one goes on from."""

import numpy as np
import pytest
import torch
from torch import nn

from saers.models import SequenceModel, load
from saers.models.enformer import EnformerModel
from saers.models.receptive import perturbed_window
from saers.sae.module import SAE
from saers.splicing import Splice
from tests.borzoi import enliven, sequences

enformer_pytorch = pytest.importorskip("enformer_pytorch")

LENGTH, TARGET = 2048, 10
BUILD = """
import enformer_pytorch

def build():
    return enformer_pytorch.Enformer.from_hparams(dim=96, depth=1, heads=4, target_length=896,
        output_heads={"human": 5}, attn_dim_key=8, dim_divisible_by=8)
"""


def theirs():
    network = enformer_pytorch.Enformer.from_hparams(
        dim=96, depth=2, heads=4, target_length=TARGET, attn_dim_key=8, dim_divisible_by=8,
        output_heads={"human": 5, "mouse": 3},
    )  # fmt: skip
    return enliven(network).double()


@pytest.fixture(scope="module")
def model():
    return EnformerModel(theirs(), input_length=LENGTH)


def onehots(n=2, seed=0):
    return sequences(LENGTH, n=n, seed=seed, dtype=torch.float64)


def test_outputs_are_those_of_the_package(model):
    assert isinstance(model, SequenceModel)
    with torch.no_grad():
        told = model.module(onehots())
    assert told["human"].std() > 1e-2
    torch.testing.assert_close(model(onehots()), told["human"].mT, rtol=0, atol=1e-10)
    mouse = EnformerModel(model.module, species="mouse", input_length=LENGTH)
    torch.testing.assert_close(mouse(onehots()), told["mouse"].mT, rtol=0, atol=1e-10)


def hooked_output(network, module):
    caught = []
    handle = module.register_forward_hook(lambda _module, _args, output: caught.append(output))
    with torch.no_grad():
        network(onehots())
    handle.remove()
    return caught[0]


def test_layers_are_those_of_hooks_and_the_model_goes_on_from_each(model):
    assert len(model.layers) == 2 + 2 * 6 + 1 + 2
    for name, info in model.layers.items():
        module = model.module.get_submodule("conv_tower.5.2" if name == "pool" else name)
        caught = []
        handle = module.register_forward_hook(
            lambda m, a, output, caught=caught: caught.append(output)
        )
        with torch.no_grad():
            model.module(onehots())
        handle.remove()
        wanted = caught[0] if name.startswith("transformer") else caught[0].mT
        found = model.capture(onehots(), name)
        assert found.shape == (2, model.n_positions(name, LENGTH), info.channels)
        torch.testing.assert_close(found, wanted.float(), rtol=0, atol=1e-5)
        half = Splice(model, SAE(info.channels, 8, 2), name).halves(onehots())
        with torch.no_grad():
            again = half.outputs(wanted)
            torch.testing.assert_close(again, model(onehots()), rtol=0, atol=1e-10)
            assert (half.outputs(wanted.square()) - again).abs().max() > 1e-4


@pytest.mark.parametrize("layer", ["stem.0", "stem.1", "conv_tower.0.0", "conv_tower.1.1"])
def test_receptive_windows_are_what_single_bases_change(model, layer):
    info = model.layers[layer]
    found = perturbed_window(lambda onehot: model.capture(onehot, layer), LENGTH, backgrounds=4)
    assert found == (info.stride, info.window_lo, info.window_hi)


def test_gradients_pass(model):
    start = model.capture(onehots(), "conv_tower.0.0").requires_grad_()
    (slope,) = torch.autograd.grad(model.run_from("conv_tower.0.0", start).sum(), start)
    assert slope.abs().max() > 0


def test_wrong_layers_lengths_and_species_are_named(model):
    with pytest.raises(ValueError, match=r"no layer 'conv_tower\.9\.0'; did you mean"):
        model.capture(onehots(), "conv_tower.9.0")
    with pytest.raises(ValueError, match="a multiple of 128 bp long, and at least 1,280 bp"):
        model(sequences(1000))
    with pytest.raises(ValueError, match="species must be one of human, mouse, got 'yeast'"):
        EnformerModel(model.module, species="yeast")


def test_a_function_that_builds_one_is_enough(tmp_path):
    (tmp_path / "net.py").write_text(BUILD)
    found = load(f"{tmp_path / 'net.py'}:build", "stem.0")
    assert isinstance(found, EnformerModel)
    assert found.layers["stem.0"].receptive_field == 15
    assert isinstance(found.module, nn.Module)
    assert np.isfinite(found.input_length)

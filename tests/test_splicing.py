"""An autoencoder is spliced into its own layer alone."""

import numpy as np
import pytest
import torch
from torch import nn

from saers.layer import LayerInfo
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.sae.module import SAE
from saers.splicing import Splice, check_layer, outputs_of
from tests.borzoi import LENGTH, ours, sequences


@pytest.fixture(scope="module")
def borzoi():
    return BorzoiModel(ours(), input_length=LENGTH)


def test_an_autoencoder_of_another_layer_is_refused(borzoi):
    sae = SAE(19, 32, 4)
    sae.describe({"hook_name": "conv1d_2"})
    with pytest.raises(ValueError, match="trained on layer 'conv1d_2', not on 'conv1d_1'"):
        Splice(borzoi, sae, "conv1d_1")
    with pytest.raises(ValueError, match="takes 19 channels, layer 'conv1d_2' has 23"):
        Splice(borzoi, sae, "conv1d_2")
    with pytest.raises(ValueError, match="no layer 'conv1d_11'; did you mean 'conv1d_1'"):
        Splice(borzoi, sae, "conv1d_11")
    for other_name in ("res_tower.0", "conv1d_1", ""):
        sae.describe({"hook_name": other_name})
        Splice(borzoi, sae, "conv1d_1")


def test_without_a_model_names_are_compared_as_they_are():
    sae, layer = SAE(4, 8, 2), LayerInfo("conv1d_1", 4, 2, 11, 12)
    sae.describe({"hook_name": "res_tower.0"})
    with pytest.raises(ValueError, match=r"folder was trained on layer 'res_tower\.0'"):
        check_layer(sae, layer, what="folder")
    check_layer(sae, layer, same=lambda one, other: True)


@pytest.mark.parametrize("layer", ["conv1d_1", "conv1d_6", "transformer.1", "separable0"])
def test_with_its_own_activations_the_model_gives_its_own_outputs(borzoi, layer):
    half = Splice(borzoi, SAE(borzoi.layers[layer].channels, 32, 4), layer).halves(sequences())
    with torch.no_grad():
        assert torch.equal(half.outputs(half.activations), borzoi(sequences()))


def test_outputs_without_bins_have_one():
    net = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3))
    model = ModuleModel(net, input_length=64)
    half = Splice(model, SAE(6, 12, 3), "0").halves(sequences(64))
    assert torch.equal(half.outputs(half.activations)[:, :, 0], model(sequences(64)))
    with pytest.raises(ValueError, match=r"must be a tensor \(b, tracks, bins\)"):
        outputs_of({"human": np.zeros(3)})

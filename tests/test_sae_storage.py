import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from saers import FormatError
from saers.sae.card import CARD
from saers.sae.module import SAE
from saers.sae.storage import CONFIG, WEIGHTS


def random_sae(*, layer_norm=False):
    sae = SAE(5, 12, 3, layer_norm=layer_norm)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(len(weight.shape)))
    return sae.requires_grad_(False)


@pytest.fixture
def saved(tmp_path):
    return random_sae().save(tmp_path / "sae")


def edit(folder, **changes):
    config = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(config))


def test_loading_gives_what_was_saved_to_the_bit(tmp_path):
    sae = random_sae()
    sae.describe({"layer": "conv1d_1", "stride": 2})
    found = SAE.load(sae.save(tmp_path / "sae"))
    for name, weight in sae.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight)
    assert found.k == 3
    assert found.metadata["layer"] == "conv1d_1"


def test_the_scale_before_layer_norm_is_kept(tmp_path):
    sae = random_sae(layer_norm=True).fold(torch.zeros(5), torch.rand(5) + 0.3)
    found = SAE.load(sae.save(tmp_path / "sae"))
    x = torch.randn(7, 5)
    assert found.layer_norm
    assert torch.equal(found(x), sae(x))


def test_keys_and_configuration_are_those_of_sae_lens_6(saved):
    config = json.loads((saved / CONFIG).read_text())
    weights = load_file(saved / WEIGHTS)
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "W_enc": (5, 12),
        "W_dec": (12, 5),
        "b_enc": (12,),
        "b_dec": (5,),
    }
    assert config["architecture"] == "topk"
    assert (config["d_in"], config["d_sae"], config["k"]) == (5, 12, 3)
    assert config["apply_b_dec_to_input"] is True
    assert config["rescale_acts_by_decoder_norm"] is False
    assert config["normalize_activations"] == "none"
    assert config["metadata"]["sae_lens_version"].startswith("6")


def test_saving_replaces_the_directory_whole(tmp_path, saved):
    (saved / "left-over.txt").write_text("of an older run")
    random_sae().save(saved)
    assert sorted(file.name for file in saved.iterdir()) == [CARD, CONFIG, WEIGHTS]
    assert [file.name for file in tmp_path.iterdir()] == ["sae"]


def test_a_bias_that_is_not_applied_to_the_input_is_folded(saved):
    x = torch.randn(9, 5)
    sae = SAE.load(saved)
    edit(saved, apply_b_dec_to_input=False)
    dense = torch.zeros(9, 12).scatter(1, *reversed(sae_lens_encode(sae, x, sae.b_dec * 0)))
    codes = SAE.load(saved).encode(x)
    found = torch.zeros(9, 12).scatter(1, codes.indices, codes.values)
    torch.testing.assert_close(found, dense, atol=1e-5, rtol=1e-5)


def test_activations_rescaled_by_decoder_norms_are_folded(saved):
    x = torch.randn(9, 5)
    sae = SAE.load(saved)
    edit(saved, rescale_acts_by_decoder_norm=True)
    lengths = sae.W_dec.norm(dim=1)
    values, indices = (((x - sae.b_dec) @ sae.W_enc + sae.b_enc) * lengths).topk(3, dim=1)
    dense = torch.zeros(9, 12).scatter(1, indices, values.relu())
    expected = dense / lengths @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(SAE.load(saved)(x), expected, atol=1e-5, rtol=1e-5)


def sae_lens_encode(sae, x, bias):
    values, indices = ((x - bias) @ sae.W_enc + sae.b_enc).topk(sae.k, dim=1)
    return values.relu(), indices


def test_a_missing_file_is_named(tmp_path, saved):
    (saved / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        SAE.load(saved)
    with pytest.raises(FileNotFoundError, match=CONFIG):
        SAE.load(tmp_path / "nothing")


def test_weights_cut_short_are_a_format_error(saved):
    file = saved / WEIGHTS
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FormatError, match=WEIGHTS):
        SAE.load(saved)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": "gated"}, "architecture must be topk or jumprelu, got 'gated'"),
        ({"k": 0}, "k must be a whole number above 0"),
        ({"k": 13}, "above d_sae"),
        ({"d_in": 6}, r"W_dec is \(12, 5\)"),
        ({"normalize_activations": "expected_average_only_in"}, "normalize_activations"),
    ],
)
def test_a_configuration_that_does_not_fit_is_a_format_error(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(FormatError, match=message):
        SAE.load(saved)


def test_a_configuration_that_is_no_json_is_a_format_error(saved):
    (saved / CONFIG).write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        SAE.load(saved)


def test_weights_that_lack_a_tensor_or_hold_nan_are_a_format_error(saved):
    weights = load_file(saved / WEIGHTS)
    weights["b_enc"][0] = torch.nan
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(FormatError, match="b_enc holds NaN"):
        SAE.load(saved)
    del weights["b_enc"]
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(FormatError, match="lacks b_enc"):
        SAE.load(saved)

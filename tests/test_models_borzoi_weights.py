"""Folders of Borzoi's weights: just what is needed is read, and what does not fit is named."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from saers import FormatError
from saers.cli import app
from saers.models import load
from saers.models.borzoi import BorzoiModel, adopt, truncate, weights
from saers.models.borzoi.weights import open_weights, write
from tests.borzoi import LENGTH, TINY, ours, sequences, theirs

SETTINGS = {"bins_to_return": 16, "return_center_bins_only": True}


@pytest.fixture
def folder(tmp_path):
    """Weights as borzoi-pytorch writes them."""
    write(theirs().state_dict(), SETTINGS, tmp_path / "borzoi")
    return tmp_path / "borzoi"


def opened(folder, layer=None, **options):
    return load(folder, layer, options={"input_length": LENGTH, **options})


def rewrite(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_a_folder_opens_as_what_it_is(folder):
    model = opened(folder)
    assert isinstance(model, BorzoiModel)
    assert model.config == TINY
    assert torch.equal(model(sequences()), BorzoiModel(ours(), input_length=LENGTH)(sequences()))


def test_a_layer_is_opened_with_its_tensors_alone(folder, monkeypatch):
    read = []
    whole = weights.Weights.read

    def watched(self, names):
        found = whole(self, names)
        read.extend(found)
        return found

    monkeypatch.setattr(weights.Weights, "read", watched)
    model = opened(folder, "res_tower.0")
    assert {name.split(".")[0] for name in read} == {"conv_dna", "res_tower"}
    assert max(int(name.split(".")[1]) for name in read if name.startswith("res")) == 0
    assert list(model.layers) == ["conv1d", "conv1d_1"]
    wanted = opened(folder).capture(sequences(), "conv1d_1")
    assert torch.equal(model.capture(sequences(), "conv1d_1"), wanted)
    with pytest.raises(ValueError, match="truncated to 'conv1d_1' has no outputs"):
        model(sequences())


@pytest.mark.parametrize("layer", TINY.layers)
def test_a_truncated_folder_gives_the_same_layer(folder, tmp_path, layer):
    truncate(folder, layer, tmp_path / "cut")
    model = opened(tmp_path / "cut", layer)
    assert list(model.layers) == list(TINY.layers[: TINY.layers.index(layer) + 1])
    assert model.layers == opened(folder, layer).layers
    wanted = opened(folder).capture(sequences(), layer)
    assert torch.equal(model.capture(sequences(), layer), wanted)


def test_a_truncated_folder_can_be_truncated_further(folder, tmp_path):
    truncate(folder, "transformer.0", tmp_path / "cut")
    truncate(tmp_path / "cut", "conv1d_2", tmp_path / "again")
    truncate(folder, "conv1d_2", tmp_path / "once")
    one, other = (tmp_path / name / "model.safetensors" for name in ("again", "once"))
    assert one.read_bytes() == other.read_bytes()
    with pytest.raises(ValueError, match=r"layer must be one of conv1d, .*, got 'separable1'"):
        truncate(tmp_path / "cut", "separable1", tmp_path / "more")


def test_shards_are_one_model(folder):
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"part-{number % 3}.safetensors" for number, name in enumerate(state)}
    for place in set(places.values()):
        part = {name: state[name] for name in state if places[name] == place}
        save_file(part, folder / place)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    onehot = sequences()
    wanted = BorzoiModel(ours(), input_length=LENGTH)(onehot)
    assert torch.equal(opened(folder)(onehot), wanted)
    (folder / "part-1.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard of .*index\.json: no file at .*part-1"):
        opened(folder)
    index.write_text(json.dumps({"weight_map": 3}))
    with pytest.raises(FormatError, match=r"index\.json: no weight_map"):
        opened(folder)


def test_half_precision_is_read_as_float32(folder):
    rewrite(folder, lambda state: state.update({k: v.half() for k, v in state.items()}))
    model = opened(folder)
    assert model.capture(sequences(), "conv1d").dtype == torch.float32
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda state: state.pop("res_tower.2.norm.bias"),
            r"missing: res_tower\.2\.norm\.bias",
        ),
        (
            lambda state: state.update(lora=torch.zeros(1)),
            r"tensors unexpected: lora",
        ),
        (
            lambda state: state.update({"unet1.1.norm.bias": torch.zeros(3)}),
            r"of another shape: unet1\.1\.norm\.bias \[3\] instead of \[40\]",
        ),
        (
            lambda state: state.pop("conv_dna.conv_layer.weight"),
            r"no tensor 'conv_dna\.conv_layer\.weight': not the weights of Borzoi",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(FormatError, match=message):
        opened(folder)


def test_counts_of_training_batches_may_be_missing(folder):
    def drop(state):
        for name in [name for name in state if name.endswith("num_batches_tracked")]:
            del state[name]

    rewrite(folder, drop)
    assert opened(folder).config == TINY


def test_broken_files_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights: neither model\.safetensors nor"):
        open_weights(tmp_path)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(FormatError, match=r"config\.json: not an object"):
        opened(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json: "):
        opened(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"model\.safetensors: not a readable safetensors file"):
        opened(folder)


def test_without_settings_the_published_ones_hold(folder):
    (folder / "config.json").unlink()
    model = opened(folder)
    assert model.config == dataclasses.replace(TINY, bins=6144)


def test_a_model_of_borzoi_pytorch_is_adopted_with_its_tensors():
    peer = theirs()
    model = BorzoiModel(adopt(peer), input_length=LENGTH)
    assert model.config == TINY
    onehot = sequences()
    assert torch.equal(model(onehot), BorzoiModel(ours(), input_length=LENGTH)(onehot))
    own = dict(model.module.named_parameters())["conv_dna.conv_layer.weight"]
    assert own.data_ptr() == peer.conv_dna.conv_layer.weight.data_ptr()
    with pytest.raises(FormatError, match="Linear: no tensor 'conv_dna"):
        adopt(torch.nn.Linear(2, 3))


def test_a_function_may_return_a_model_of_borzoi_pytorch():
    model = load("tests.borzoi:theirs")
    assert isinstance(model, BorzoiModel)
    assert model.layers["conv1d_1"].receptive_field == 24


def test_options_are_checked(folder):
    with pytest.raises(ValueError, match=r"option of a Borzoi model must be one of species"):
        load(folder, options={"specie": "human"})
    with pytest.raises(ValueError, match="takes no weights beside"):
        load(folder, weights="more.safetensors")
    for layer in (None, "conv1d_1"):  # before hours of capture, not after them
        with pytest.raises(ValueError, match="species must be one of human, mouse, got 'yeast'"):
            opened(folder, layer=layer, species="yeast")


def test_verbs_list_layers_and_truncate(folder, tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["layers", str(folder), "--json"])
    assert listed.exit_code == 0, listed.output
    rows = {row["name"]: row for row in json.loads(listed.stdout)["layers"]}
    assert rows["conv1d_1"]["receptive_window"] == 24
    assert rows["conv1d_1"]["stride"] == 2
    shares = [row["flops_share"] for row in rows.values()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    assert "conv1d_6" in runner.invoke(app, ["layers", str(folder)]).stdout
    cut = tmp_path / "cut"
    done = runner.invoke(app, ["truncate", str(folder), "conv1d_1", "-o", str(cut), "--json"])
    assert json.loads(done.stdout)["layer"] == "conv1d_1"
    assert open_weights(cut).config.upto == "conv1d_1"
    wrong = runner.invoke(app, ["truncate", str(folder), "conv1d_99", "-o", str(cut)])
    assert wrong.exit_code == 1
    assert "did you mean" in wrong.output

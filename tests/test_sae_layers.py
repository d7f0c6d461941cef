"""Autoencoders of several layers in one pass."""

import json

import h5py
import numpy as np
import pytest
import torch

from saers.capture import ModelActivations
from saers.genome import Genome
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.sae.config import TrainConfig
from saers.sae.dataset import open_file
from saers.sae.module import SAE
from saers.sae.training import train_layers, train_sae
from saers.shared_capture import SharedForward, layer_sources
from tests import borzoi
from tests.test_cli import saers
from tests.test_sae_training import KillAt, Killed, Windows, rows, small
from tests.tiny_run import write_inputs


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv1d(4, 6, 5, padding=2),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool1d(2),
        torch.nn.Conv1d(6, 5, 3, padding=1),
    )


@pytest.fixture
def inputs(tmp_path):
    """A genome and 70 windows, of which the second chromosome's are held out."""
    write_inputs(tmp_path)
    genome = Genome(tmp_path / "genome.fa")
    from saers.windows import WindowRules, tile

    windows = tile(genome, 500, step=1000, rules=WindowRules(holdout=["chr2"]))
    return genome, windows


def same(first, second):
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def alone(source, result, **more):
    """Train with the settings that a result tells."""
    return train_sae(source, TrainConfig(**result.sae.metadata["training"]), **more)


def test_layers_of_a_model_are_what_they_would_be_alone_and_share_its_passes(inputs):
    genome, windows = inputs
    configs = [small(), small(k=2, seed=4, architecture="batchtopk")]
    sources = layer_sources(ModuleModel(network()), ["0", "2", "3"], genome, windows, batch_size=4)
    results = train_layers(sources, configs)
    for layer in sources:
        own = ModelActivations(ModuleModel(network()), layer, genome, windows, batch_size=4)
        for result in results[layer]:
            single = alone(own, result)
            same(single.sae, result.sae)
            assert single.metrics["fvu"] == result.metrics["fvu"]


def test_a_pass_serves_all_layers(inputs):
    genome, windows = inputs
    train = windows.filter(windows["split"] == "train").with_row_index("n").drop("window")
    train = train.rename({"n": "window"})
    sources = layer_sources(ModuleModel(network()), ["0", "3"], genome, train, batch_size=1)
    model = sources["0"]._model
    counted = model.forwards  # of counting positions
    config = small(holdout=0.0, eval_every=10**6, steps=3)
    train_layers(sources, [config])
    assert model.forwards - counted == train.height


def test_a_layer_that_was_dropped_is_computed_again():
    inner = ModuleModel(network())
    model = SharedForward(inner, ["0", "3"], room=0)
    x = torch.nn.functional.one_hot(torch.arange(40) % 4, 4).float()[None]
    for layer in ("0", "3", "0"):
        assert torch.equal(model.capture(x, layer), inner.capture(x, layer))
    assert model.forwards == 3
    kept = SharedForward(inner, ["0", "3"])
    for layer in ("0", "3"):
        assert torch.equal(kept.capture(x, layer), inner.capture(x, layer))
    assert kept.forwards == 1
    assert torch.equal(kept.capture(x, "2"), inner.capture(x, "2"))  # not one of them


def test_what_a_later_module_does_in_place_does_not_reach_a_layer():
    model = ModuleModel(network())
    x = torch.nn.functional.one_hot(torch.arange(40) % 4, 4).float()[None]
    taken = model.capture_layers(x, ["3", "0"])
    assert list(taken) == ["3", "0"]
    assert (taken["0"] < 0).any()  # before the ReLU
    for layer, values in taken.items():
        assert torch.equal(values, model.capture(x, layer))
    with pytest.raises(ValueError, match="no layer '7'"):
        model.capture_layers(x, ["0", "7"])


def test_layers_of_windows_are_what_they_would_be_alone():
    sources = {"a": Windows(70), "b": Windows(70)}
    sources["b"].n_positions, sources["b"].blocks = 20, half(sources["b"].blocks)
    results = train_layers(sources, [small()])
    kept = results["a"][0].sae.metadata["training"]
    assert (kept["buffer_windows"], kept["buffer_tokens"]) == (70, 1400)
    for name, source in sources.items():
        same(alone(source, results[name][0]).sae, results[name][0].sae)


def half(blocks):
    def first_half(*, windows=None):
        for block in blocks(windows=windows):
            yield type(block)(block.windows, block.values[:, :20], block.mask[:, :20])

    return first_half


@pytest.mark.parametrize("stop", [4, 26])
def test_layers_that_were_stopped_go_on(tmp_path, stop):
    sources = {"a": rows(), "b": rows(seed=1)}
    configs = [small(checkpoint_every=7)]
    whole = train_layers(sources, configs)
    folders = {name: [tmp_path / name] for name in sources}
    with pytest.raises(Killed):
        train_layers(sources, configs, folders=folders, progress=KillAt(stop))
    resumed = train_layers(sources, configs, folders=folders)
    for name in sources:
        same(whole[name][0].sae, resumed[name][0].sae)


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match="sources must hold at least one layer"):
        train_layers({}, [small()])


def test_layers_in_pieces_share_their_passes_too(inputs, monkeypatch):
    """Of Borzoi, in parts of windows: each layer is what it is alone."""
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 256)
    genome, _ = inputs
    from saers.windows import tile

    windows = tile(genome, 1024, chromosomes=["chr1"])[:3]
    model = BorzoiModel(borzoi.ours(dtype=torch.float64), input_length=1024)
    options = {"crop": 128, "parts": 3}
    sources = layer_sources(model, ["conv1d_2", "transformer.0"], genome, windows, **options)
    shared = sources["conv1d_2"]._model
    for layer, source in sources.items():
        own = ModelActivations(model, layer, genome, windows, **options)
        for one, other in zip(source.blocks(), own.blocks(), strict=True):
            assert np.array_equal(one.windows, other.windows)
            np.testing.assert_allclose(one.values, other.values, rtol=2e-7, atol=1e-9)
    assert shared.forwards == windows.height
    onehot = borzoi.sequences(1024, n=1, dtype=torch.float64)
    assert torch.equal(shared.capture(onehot, "conv1d_2"), model.capture(onehot, "conv1d_2"))


QUICK = ("--steps", 12, "--batch-size", 32, "--set", "n_latents=16", "-k", 2)


def test_datasets_of_a_file_are_trained_together(tmp_path):
    with h5py.File(tmp_path / "acts.h5", "w") as file:
        for seed, name in enumerate(("conv1", "conv2")):
            file[name] = rows(400, seed=seed).numpy().reshape(10, 40, 6)
    out = tmp_path / "saes"
    grid = ("--sweep", "layer=conv1,conv2", "--sweep", "seed=0,1")
    result = saers("train", tmp_path / "acts.h5", *QUICK, *grid, "--json", "-o", out)
    assert result.exit_code == 0, result.stderr
    names = [f"layer-{layer}_seed-{seed}" for layer in ("conv1", "conv2") for seed in (0, 1)]
    assert [told["out"] for told in json.loads(result.stdout)] == [str(out / n) for n in names]
    made = SAE.load(out / "layer-conv2_seed-1")
    assert made.metadata["hook_name"] == "conv2"
    config = TrainConfig(**made.metadata["training"])
    same(train_sae(open_file(tmp_path / "acts.h5", "conv2"), config).sae, made)
    assert (out / "runs" / "layer-conv1_seed-0" / "metrics.jsonl").exists()
    result = saers("train", tmp_path / "acts.h5", "--sweep", "layer=conv1,conv3", "-o", out)
    assert result.exit_code == 1
    assert "no dataset 'conv3', has conv1, conv2" in result.stderr


def test_layers_of_a_runs_model_are_trained_together(tmp_path):
    run = tmp_path / "run"
    recipe = write_inputs(tmp_path, steps=20)
    result = saers("train", recipe, "--sweep", "layer=0,1", "-o", tmp_path / "saes")
    assert result.exit_code == 1
    assert "layers are trained from a run directory" in result.stderr
    assert saers("run", recipe, "-o", run, "--to", "capture").exit_code == 0
    result = saers("train", run, "--sweep", "layer=0,1", "--json", "-o", tmp_path / "saes")
    assert result.exit_code == 0, result.stderr
    first, second = (SAE.load(tmp_path / "saes" / f"layer-{layer}") for layer in "01")
    assert (first.channels, first.k, second.metadata["hook_name"]) == (8, 3, "1")
    assert not np.array_equal(first.W_dec.detach(), second.W_dec.detach())

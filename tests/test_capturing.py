"""saers capture: a run's first stage, files of several layers, and what both tell."""

import json

import h5py
import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import save_file

from saers import Genome, models
from saers.activations import open_activations
from saers.faithfulness import measure
from saers.models.borzoi import BorzoiConfig
from saers.sae.module import SAE
from saers.splicing import Splice
from tests import borzoi
from tests.test_cli import saers

LENGTH = 2048
RECIPE = """
[model]
adapter = "borzoi"
source = "weights"
layer = "conv1d_1"
options = { input_length = 2048 }

[genome]
fasta = "genome.fa"

[windows]
holdout = ["chr2"]

[train]
expansion = 1
k = 3
steps = 5
batch_size = 64
buffer_tokens = 2048

[encode]
strands = "max"
"""


@pytest.fixture
def recipe(tmp_path):
    """A small Borzoi, saved as a folder of weights, and a genome of three windows."""
    folder = tmp_path / "weights"
    folder.mkdir()
    state = borzoi.ours(BorzoiConfig(**SMALL)).state_dict()
    save_file(state, folder / "model.safetensors")
    settings = {"attn_dim_key": 8, "heads": 2, "bins_to_return": 16}
    (folder / "config.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(0)
    records = [
        f">{name}\n" + "".join(rng.choice(list("ACGT"), n * LENGTH))
        for name, n in (("chr1", 2), ("chr2", 1))
    ]
    (tmp_path / "genome.fa").write_text("\n".join(records) + "\n")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


SMALL = {
    name: getattr(borzoi.TINY, name)
    for name in ("stem", "tower", "dim", "depth", "heads", "key", "value", "head", "tracks", "bins")
}


def test_layers_are_written_to_a_file_each(recipe, tmp_path):
    out = tmp_path / "acts"
    told = saers("capture", recipe, "--layer", "conv1d_1", "--layer", "conv1d_3", "-o", out)
    assert told.exit_code == 0, told.stderr
    assert "3 windows" in told.stderr
    assert "Mbp/s" in told.stderr
    assert "never on disk" not in told.stderr
    for layer, positions, channels in (("conv1d_1", 1024, 19), ("conv1d_3", 256, 28)):
        found = open_activations(out / f"{layer}.h5")
        assert (found.layer.name, found.n_positions) == (layer, positions)
        assert found.layer.channels == channels
        assert found.windows["split"].to_list() == ["train", "train", "holdout"]


def test_parts_and_crop_of_the_command_line_stand_in_for_the_recipes(recipe, tmp_path):
    out = tmp_path / "acts"
    options = ("--crop", 256, "--parts", 3, "--json")
    told = saers("capture", recipe, "--layer", "res_tower.2", *options, "-o", out)
    assert told.exit_code == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["files"] == {"conv1d_2": str(out / "conv1d_2.h5")}
    assert answer["windows"] == 9
    windows = open_activations(out / "conv1d_2.h5").windows
    assert windows["start"].to_list()[:4] == [256, 768, 1280, LENGTH + 256]
    assert (windows["end"] - windows["start"]).unique().to_list() == [512]


def test_half_precision_states_its_error_in_file_and_terminal(recipe, tmp_path):
    out = tmp_path / "acts"
    command = ("capture", recipe, "--layer", "conv1d_1", "--layer", "conv1d_2", "-o", out)
    told = saers(*command, "--precision", "bfloat16")
    assert told.exit_code == 0, told.stderr
    assert "conv1d_2: greatest error of bfloat16" in told.stderr
    assert "conv1d_1: cosine distance to float32" in told.stderr
    with h5py.File(out / "conv1d_1.h5") as file:
        assert file.attrs["precision"] == "bfloat16"
        assert 1e-4 < file.attrs["error_relative"] < 2e-2
        assert 0.999 < file.attrs["error_cosine"] < 1
        half = file["activations"][:].astype(float)
    exact = tmp_path / "exact"
    assert saers(*command[:-1], exact, "--precision", "float32").exit_code == 0
    with h5py.File(exact / "conv1d_1.h5") as file:
        assert file.attrs["precision"] == "float32"
        assert "error_relative" not in file.attrs
        full = file["activations"][:].astype(float)
    assert 0 < np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_a_file_of_another_precision_is_written_anew(recipe, tmp_path):
    command = ("capture", recipe, "--layer", "conv1d_1", "-o", tmp_path, "--precision")
    for precision in ("float32", "bfloat16"):
        assert saers(*command, precision).exit_code == 0
        with h5py.File(tmp_path / "conv1d_1.h5") as file:
            assert file.attrs["precision"] == precision


def test_a_run_reads_parts_on_both_strands_and_tells_how_fast(recipe, tmp_path):
    """Capture, training and codes from the model, without a file of activations."""
    recipe.write_text(recipe.read_text() + "\n[capture]\nparts = 2\ncrop = 512\n")
    run = tmp_path / "run"
    told = saers("run", recipe, "-o", run, "--to", "encode")
    assert told.exit_code == 0, told.stderr
    windows = pl.read_parquet(run / "windows.parquet")
    assert windows["start"].to_list() == [512, 1024, 2560, 3072, 512, 1024]
    assert windows["split"].to_list() == ["train"] * 4 + ["holdout"] * 2
    manifest = json.loads((run / "manifest.json").read_text())["stages"]
    for stage in ("stats", "train", "encode"):
        facts = manifest[stage]["facts"]
        assert facts["Mbp/s"] > 0
        assert facts["positions/s"] > 0
        assert facts["GB never on disk"] > 0
    assert "GB never on disk" in told.stderr
    assert "GB never on disk" not in manifest["capture"]["facts"]
    # Two strands of 6 parts of 256 positions, 19 channels.
    assert manifest["encode"]["facts"]["GB never on disk"] == 2 * 6 * 256 * 19 * 4 / 1e9
    assert not (run / "activations").exists()


def test_questions_of_a_run_in_parts_see_the_windows_whole(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "\n[capture]\nparts = 2\ncrop = 512\n")
    run = tmp_path / "run"
    assert saers("run", recipe, "-o", run, "--to", "encode").exit_code == 0
    asked = saers("faithfulness", run, "--n-bootstrap", 0)
    assert asked.exit_code == 0, asked.stderr
    found = pl.read_parquet(run / "faithfulness.parquet")
    model = models.load(tmp_path / "weights", options={"input_length": LENGTH})
    whole = torch.from_numpy(
        Genome(tmp_path / "genome.fa").onehot([("chr2", 0, LENGTH)], np.float32)
    )
    mean = pl.read_parquet(run / "stats.parquet")["mean"].to_numpy().astype(np.float32)
    splice = Splice(model, SAE.load(run / "sae"), "conv1d_1")
    expected = measure(splice, [whole], mean=mean, n_bootstrap=0)
    assert found["n"].to_list() == [16] * found.height
    assert_frame_equal(found.select(expected.columns), expected, check_exact=False, abs_tol=1e-6)
    changed = saers("perturb", run, "--top", 2, "--split", "all", "--n-bootstrap", 0)
    assert changed.exit_code == 0, changed.stderr
    effects = pl.read_parquet(run / "effects.parquet")
    assert effects["n_windows"].unique().to_list() == [3]
    assert effects["effect"].abs().max() > 0


def test_a_layer_that_is_not_there_is_named_with_its_neighbours(recipe, tmp_path):
    told = saers("capture", recipe, "--layer", "conv1d_1", "--layer", "conv1d_9", "-o", tmp_path)
    assert told.exit_code == 1
    assert "conv1d_9" in told.stderr


def test_a_precision_that_is_none_is_refused(recipe, tmp_path):
    told = saers("capture", recipe, "--precision", "int8", "-o", tmp_path)
    assert told.exit_code == 1
    assert "precision" in told.stderr


def test_a_recipe_needs_a_place_for_its_results(recipe):
    told = saers("capture", recipe, "--layer", "conv1d_1")
    assert told.exit_code == 1
    assert "-o is needed" in told.stderr

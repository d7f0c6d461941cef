"""A run gives to questions what it was made of."""

import shutil

import h5py
import numpy as np
import polars as pl
import pytest

from saers import Genome
from saers.pipeline import run_recipe
from saers.recipe import load_recipe
from saers.run_inputs import RunInputs
from saers.sae.module import SAE
from saers.store import RunStore
from tests.tiny_run import write_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    recipe = write_inputs(folder)
    run_recipe(recipe, folder / "run", last="capture")
    return RunInputs(RunStore(folder / "run"), load_recipe(folder / "run" / "recipe.toml"))


def letters(onehot):
    return "".join(np.array(list("ACGT"))[onehot.argmax(axis=1).numpy()])


@pytest.mark.parametrize("width", [3, 14, 21, 24])
def test_the_middle_bases_of_a_window_are_those_of_its_seqlet(inputs, width):
    starts = [2000, 2001, 7777]
    places = {"chrom": ["chr1"] * 3, "start": starts, "end": [start + width for start in starts]}
    genome = Genome(inputs.recipe.genome.fasta)
    for start, (onehot,) in zip(starts, inputs.around(pl.DataFrame(places)), strict=True):
        assert len(onehot) == 1000
        middle = slice((1000 - 3) // 2, (1000 - 3) // 2 + 3)  # what shuffle_effects shuffles
        first = start + (width - 3) // 2
        assert letters(onehot[middle]) == genome.fetch("chr1", first, first + 3).upper()


def test_windows_of_a_limit_are_spread_over_all(inputs):
    every = inputs.windows("all")["window"].to_list()
    assert inputs.windows("all", 3)["window"].to_list() == [0, len(every) // 2, every[-1]]
    assert set(inputs.windows("holdout")["chrom"]) == {"chr2"}


def test_targets_come_in_the_batches_of_the_sequences(inputs, tmp_path):
    windows = inputs.windows("all", 20)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["targets"] = np.arange(80)[:, None, None] * np.ones((1, 3, 2))
    sizes = [len(batch) for batch in inputs.sequences(windows)]
    found = list(inputs.targets(tmp_path / "t.h5", windows))
    assert [len(batch) for batch in found] == sizes
    assert np.concatenate(found)[:, 0, 0].tolist() == windows["window"].to_list()


def test_the_model_has_outputs(inputs):
    assert inputs.model(next(inputs.sequences(inputs.windows("all", 2)))).shape == (2, 3, 1000)


def test_a_pretrained_autoencoder_of_another_layer_is_refused(inputs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(inputs.store.root, run)
    for channels, layer, message in (
        (5, "1", "takes 5 channels, layer '1' has 8"),
        (8, "2", "was trained on layer '2', not on '1'"),
        (8, "conv1d_1", "was trained on layer 'conv1d_1', not on '1'"),
    ):
        sae = SAE(channels, 16, 3)
        sae.describe({"hook_name": layer})
        sae.save(tmp_path / "sae")
        recipe = inputs.recipe.model_copy(update={"train": {"pretrained": str(tmp_path / "sae")}})
        with pytest.raises(ValueError, match=rf"train\.pretrained: .*sae {message}"):
            run_recipe(recipe, run, first="stats", last="train")
    sae.describe({"hook_name": "1"})
    sae.save(tmp_path / "sae")
    run_recipe(recipe, run, first="stats", last="train")
    assert RunInputs(RunStore(run), recipe).splice.sae.channels == 8

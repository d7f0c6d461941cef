"""saers train and saers export on plain files."""

import json

import h5py
import numpy as np
import pytest
import torch

from saers.sae.module import SAE
from tests.test_cli import saers
from tests.test_sae_exchange import saved_seed

QUICK = ("--steps", 20, "--batch-size", 32, "--expansion", 2, "--set", "buffer_tokens=256")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "activations.h5"
    values = np.random.default_rng(0).normal(size=(10, 40, 8)).astype(np.float32) + 2
    with h5py.File(path, "w") as made:
        made["activations"] = values
    return path


def test_any_setting_can_be_given_and_is_kept(file, tmp_path):
    more = ("--set", "normalize=zscore", "--set", "matryoshka=[0.25, 0.5]", "--set", "ema=0.9")
    out = tmp_path / "sae"
    result = saers("train", file, "--architecture", "batchtopk", "-k", 2, *QUICK, *more, "-o", out)
    assert result.exit_code == 0, result.stderr
    sae = SAE.load(out)
    kept = sae.metadata["training"]
    assert (kept["normalize"], kept["matryoshka"], kept["ema"]) == ("zscore", [0.25, 0.5], 0.9)
    assert sae.threshold is not None
    for word in ("fvu_informative", "dead_share", "gamma_after", "holdout"):
        assert word in result.stderr


def test_a_sweep_writes_a_folder_for_each(file, tmp_path):
    out = tmp_path / "saes"
    grid = ("--sweep", "k=1,3", "--sweep", "architecture=topk,batchtopk")
    result = saers("train", file, *QUICK, *grid, "--json", "-o", out)
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)) == 4
    assert SAE.load(out / "k-3_architecture-topk").k == 3
    log = out / "runs" / "k-1_architecture-batchtopk" / "metrics.jsonl"
    assert "evaluation" in json.loads(log.read_text().splitlines()[-1])


def test_a_choice_of_k_tells_what_was_tried(file, tmp_path):
    out = tmp_path / "sae"
    result = saers("train", file, *QUICK, "--choose-k", "1,3", "--json", "-o", out)
    assert result.exit_code == 0, result.stderr
    tried = json.loads(result.stdout)["choice_of_k"]
    assert [row["k"] for row in tried] == [1, 3]
    assert SAE.load(out).k == max(tried, key=lambda row: (row["shared"], row["matched"]))["k"]


def test_a_preset_fits_the_layer(file, tmp_path):
    result = saers("train", file, "--preset", "sae-borzoi", *QUICK, "-o", tmp_path / "sae")
    assert result.exit_code == 0, result.stderr
    sae = SAE.load(tmp_path / "sae")
    assert (sae.k, sae.layer_norm) == (1, True)


@pytest.mark.parametrize(
    "options, message",
    [
        (("--set", "normalise=zscore"), "normalise"),
        (("--set", "ema"), "must be NAME=VALUE, got 'ema'"),
        (("-k", 17), "k must lie in 1..16, got 17"),
        (("--choose-k", "a,b"), "k must be a number, got 'a'"),
        (("--sweep", "batch_size=16,32"), "batch_size must be the same for all"),
        (("--log-to", "wandbb"), "log_to must be one of tensorboard, wandb"),
        (("--architecture", "gated"), "architecture must be one of topk, batchtopk"),
    ],
)
def test_what_does_not_fit_is_one_line(file, tmp_path, options, message):
    result = saers("train", file, *QUICK, *options, "-o", tmp_path / "sae")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "sae").exists()


def test_an_sae_is_exported_and_sae_borzois_imported(file, tmp_path):
    out = tmp_path / "sae"
    assert saers("train", file, *QUICK, "-k", 2, "-o", out).exit_code == 0
    result = saers("export", out, "--to", "sparsify", "-o", tmp_path / "coder")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "coder" / "cfg.json").read_text())["num_latents"] == 16
    saved_seed(tmp_path / "best_model.pt", k=4)
    result = saers("export", tmp_path / "best_model.pt", "-k", 4, "-o", tmp_path / "imported")
    assert result.exit_code == 0, result.stderr
    assert SAE.load(tmp_path / "imported")(torch.randn(3, 20)).shape == (3, 20)
    result = saers("export", out, "--to", "torch", "-o", tmp_path / "other")
    assert result.exit_code == 1
    assert "--to must be one of saelens, sparsify" in result.stderr

"""Spliced outputs are compared with the model's own exactly as NumPy would, track by track."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from saers import FormatError, schema
from saers.cli import app
from saers.cli.faithfulness import read_tracks
from saers.faithfulness import halves, measure, summary
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.pipeline import run_recipe
from saers.sae.module import SAE
from tests.borzoi import LENGTH, ours, sequences
from tests.tiny_run import write_inputs


@pytest.fixture(scope="module")
def borzoi():
    return BorzoiModel(ours(), input_length=LENGTH)


def autoencoder(channels, latents=64, k=16, seed=0):
    """One that reconstructs badly, as good as any for checking what is measured."""
    sae = SAE(channels, latents, k)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = torch.randn(latents, channels, generator=generator) / channels**0.5
        sae.encoder.copy_(rows)
        sae.W_dec.copy_(rows)
    return sae


def batches(n=3):
    return [sequences(seed=seed) for seed in range(n)]


def outputs(model, sae, layer, given, replace):
    """Original and changed outputs of all windows, by the plainest way there is."""
    first, second = [], []
    for onehot in given:
        values = model.capture(onehot, layer)
        flat = values.reshape(-1, values.shape[2])
        changed = replace(flat).reshape(values.shape)
        first.append(model(onehot).double())
        second.append(model.run_from(layer, changed, onehot=onehot).double())
    return (torch.cat(part).movedim(1, 0).flatten(1).numpy() for part in (first, second))


@pytest.mark.parametrize("layer", ["conv1d_1", "conv1d_6", "transformer.1"])
def test_the_table_is_what_numpy_says(borzoi, layer):
    sae = autoencoder(borzoi.layers[layer].channels)
    mean = np.linspace(-1, 1, sae.channels, dtype=np.float32)
    table = measure(borzoi, sae, layer, batches(), mean=mean, n_bootstrap=0)
    assert dict(table.schema) == dict(schema.FAITHFULNESS)
    with torch.no_grad():
        original, spliced = outputs(borzoi, sae, layer, batches(), sae)
        _, zero = outputs(borzoi, sae, layer, batches(), torch.zeros_like)
        everywhere = torch.from_numpy(mean)
        _, flat = outputs(borzoi, sae, layer, batches(), lambda x: everywhere.expand_as(x))
    assert table["n"].to_list() == [original.shape[1]] * 5
    for track in range(5):
        x, y = original[track], spliced[track]
        row = table.row(track, named=True)
        error = ((x - y) ** 2).mean()
        assert row["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
        assert row["r_squared"] == pytest.approx(1 - error / x.var(), rel=1e-4)
        for name, ablated in (("zero", zero), ("mean", flat)):
            wanted = 1 - error / ((x - ablated[track]) ** 2).mean()
            assert row[f"loss_recovered_{name}"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert row["pearson_low"] is None
        assert row["pearson_target_original"] is None


def test_with_the_error_kept_nothing_is_lost(borzoi):
    table = measure(borzoi, autoencoder(19), "conv1d_1", batches(1), keep_error=True)
    assert table["pearson"].to_list() == pytest.approx([1.0] * 5, abs=1e-12)
    assert table["loss_recovered_zero"].to_list() == [1.0] * 5


def test_the_prefix_of_borzoi_runs_once(borzoi, monkeypatch):
    calls = []
    prefix = BorzoiModel.prefix
    monkeypatch.setattr(BorzoiModel, "prefix", lambda self, *a: calls.append(1) or prefix(self, *a))
    measure(borzoi, autoencoder(19), "conv1d_1", batches(2), n_bootstrap=0)
    assert len(calls) == 2


def test_targets_are_compared_with_both(borzoi):
    given = batches(2)
    noise = np.random.default_rng(0)
    targets = [borzoi(onehot).numpy() + noise.normal(size=(2, 5, 16)) for onehot in given]
    table = measure(borzoi, autoencoder(19), "conv1d_1", given, targets=targets)
    own = np.concatenate([borzoi(onehot).numpy() for onehot in given])
    wanted = np.corrcoef(np.concatenate(targets)[:, 2].ravel(), own[:, 2].ravel())[0, 1]
    assert table["pearson_target_original"][2] == pytest.approx(wanted, rel=1e-5)
    better = table["pearson_target_original"] > table["pearson_target_spliced"]
    assert better.sum() >= 4
    with pytest.raises(ValueError, match="targets must hold an array for every batch"):
        measure(borzoi, autoencoder(19), "conv1d_1", given, targets=targets[:1])


def test_intervals_hold_the_value_and_repeat_with_the_seed(borzoi):
    def run(seed):
        return measure(borzoi, autoencoder(19), "conv1d_1", batches(6), seed=seed)

    table = run(1)
    assert table.equals(run(1))
    assert not table.equals(run(2))
    inside = (table["pearson_low"] <= table["pearson"]) & (
        table["pearson"] <= table["pearson_high"]
    )
    assert inside.sum() >= 4
    assert (table["pearson_high"] > table["pearson_low"]).all()


def test_a_track_that_never_moves_has_no_correlation():
    net = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.Conv1d(6, 2, 1))
    with torch.no_grad():
        net[1].weight[1] = 0
    model = ModuleModel(net, input_length=64)
    table = measure(model, autoencoder(6, 12, 3), "0", [sequences(64)])
    assert table["pearson"][1] is None
    assert table["pearson"][0] is not None


def test_any_module_is_measured():
    net = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3))
    model = ModuleModel(net, input_length=64)
    half = halves(model, sequences(64), "0")
    assert torch.equal(half.outputs(half.activations)[:, :, 0], model(sequences(64)))
    assert measure(model, autoencoder(6, 12, 3), "0", [sequences(64)]).height == 3


def test_an_autoencoder_of_another_layer_is_refused(borzoi):
    sae = autoencoder(19)
    sae.describe({"hook_name": "conv1d_2"})
    with pytest.raises(ValueError, match="trained on layer 'conv1d_2', not on 'conv1d_1'"):
        measure(borzoi, sae, "conv1d_1", batches(1))
    with pytest.raises(ValueError, match="takes 19 channels, layer 'conv1d_2' has 23"):
        measure(borzoi, sae, "conv1d_2", batches(1))
    sae.describe({"hook_name": "res_tower.0"})
    measure(borzoi, sae, "conv1d_1", batches(1), n_bootstrap=0)


def test_wrong_sizes_are_named(borzoi):
    sae = autoencoder(19)
    with pytest.raises(ValueError, match=r"mean must be \(19,\), got \(3,\)"):
        measure(borzoi, sae, "conv1d_1", batches(1), mean=np.zeros(3))
    with pytest.raises(ValueError, match="tracks must have 5 rows, one a track, got 1"):
        measure(
            borzoi, sae, "conv1d_1", batches(1), tracks=pl.DataFrame({"name": ["a"], "assay": [""]})
        )
    with pytest.raises(ValueError, match="at least one batch, got none"):
        measure(borzoi, sae, "conv1d_1", [])


def test_assays_are_summarised(borzoi):
    tracks = pl.DataFrame({"name": list("abcde"), "assay": ["RNA", "RNA", "RNA", "ATAC", "ATAC"]})
    table = measure(borzoi, autoencoder(19), "conv1d_1", batches(1), tracks=tracks)
    found = summary(table)
    assert found["assay"].to_list() == ["ATAC", "RNA"]
    assert found["pearson"][1] == pytest.approx(np.median(table["pearson"][:3].to_numpy()))


def test_tracks_of_borzoi_are_read(tmp_path):
    file = tmp_path / "targets.txt"
    file.write_text(
        "\tidentifier\tfile\tdescription\n"
        "0\tCNhs1\ta.bw\tCAGE:liver, adult\n1\tENC1\tb.bw\tDNASE:K562\n"
    )
    assert read_tracks(file).rows() == [("CNhs1", "CAGE"), ("ENC1", "DNASE")]
    file.write_text("a\tb\n1\t2\n")
    with pytest.raises(FormatError, match="columns name and assay, or identifier"):
        read_tracks(file)


def test_the_verbs_measure_a_run(tmp_path):
    run = tmp_path / "run"
    run_recipe(write_inputs(tmp_path, steps=40), run, last="seqlets")

    def ask(*command):
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert ask("faithfulness", str(run), "--limit", "3")["windows"] == 3
    table = pl.read_parquet(run / "faithfulness.parquet")
    assert dict(table.schema) == dict(schema.FAITHFULNESS)
    assert table["loss_recovered_mean"].is_not_null().any()

    found = ask("perturb", str(run), "--top", "2", "--limit", "2")
    table = pl.read_parquet(run / "effects.parquet")
    assert sorted(set(table["feature"])) == sorted(found["features"])
    assert dict(table.schema) == dict(schema.EFFECTS)
    sizes = [abs(row["effect"]) for row in found["strongest"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0

    seqlets = pl.read_parquet(run / "seqlets.parquet")
    feature = int(seqlets["feature"][0])
    ask("perturb", str(run), "--feature", str(feature), "--shuffle", "--per-feature", "4")
    table = pl.read_parquet(run / "shuffled.parquet")
    assert dict(table.schema) == dict(schema.SHUFFLED)
    assert table["n_seqlets"].to_list() == [4] * 3
    wrong = CliRunner().invoke(app, ["perturb", str(run), "--edit", "double"])
    assert wrong.exit_code == 1
    assert "edit must be one of" in wrong.output

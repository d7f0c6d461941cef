"""Spliced outputs are compared with the model's own exactly as NumPy would, track by track."""

import json

import h5py
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from saers import schema
from saers.cli import app
from saers.faithfulness import by_assay, measure
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.pipeline import run_recipe
from saers.sae.module import SAE
from saers.splicing import Splice
from saers.store import RunStore
from tests.borzoi import LENGTH, ours, sequences
from tests.tiny_run import write_inputs


@pytest.fixture(scope="module")
def borzoi():
    return BorzoiModel(ours(), input_length=LENGTH)


def windows_of(run):
    return pl.read_parquet(run / "windows.parquet")


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
    table = measure(Splice(borzoi, sae, layer), batches(), mean=mean, n_bootstrap=0)
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


def test_with_the_error_kept_nothing_is_lost_but_rounding(borzoi):
    table = measure(Splice(borzoi, autoencoder(19), "conv1d_1"), batches(1), keep_error=True)
    assert table["pearson"].to_list() == pytest.approx([1.0] * 5, abs=1e-9)
    assert table["loss_recovered_zero"].to_list() == pytest.approx([1.0] * 5, abs=1e-9)
    dropped = measure(Splice(borzoi, autoencoder(19), "conv1d_1"), batches(1))
    assert (dropped["loss_recovered_zero"] < 0.9).sum() >= 3


def test_the_prefix_of_borzoi_runs_once(borzoi, monkeypatch):
    calls = []
    prefix = BorzoiModel.prefix
    monkeypatch.setattr(BorzoiModel, "prefix", lambda self, *a: calls.append(1) or prefix(self, *a))
    measure(Splice(borzoi, autoencoder(19), "conv1d_1"), batches(2), n_bootstrap=0)
    assert len(calls) == 2


def test_targets_are_compared_with_both(borzoi):
    given = batches(2)
    noise = np.random.default_rng(0)
    targets = [borzoi(onehot).numpy() + noise.normal(size=(2, 5, 16)) for onehot in given]
    table = measure(Splice(borzoi, autoencoder(19), "conv1d_1"), given, targets=targets)
    own = np.concatenate([borzoi(onehot).numpy() for onehot in given])
    wanted = np.corrcoef(np.concatenate(targets)[:, 2].ravel(), own[:, 2].ravel())[0, 1]
    assert table["pearson_target_original"][2] == pytest.approx(wanted, rel=1e-5)
    better = table["pearson_target_original"] > table["pearson_target_spliced"]
    assert better.sum() >= 4
    with pytest.raises(ValueError, match="targets must hold an array for every batch"):
        measure(Splice(borzoi, autoencoder(19), "conv1d_1"), given, targets=targets[:1])


def test_intervals_hold_the_value_and_repeat_with_the_seed(borzoi):
    def run(seed):
        return measure(Splice(borzoi, autoencoder(19), "conv1d_1"), batches(6), seed=seed)

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
    table = measure(Splice(model, autoencoder(6, 12, 3), "0"), [sequences(64)])
    assert table["pearson"][1] is None
    assert table["pearson"][0] is not None


def test_any_module_is_measured():
    net = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3))
    model = ModuleModel(net, input_length=64)
    half = Splice(model, autoencoder(6), "0").halves(sequences(64))
    assert torch.equal(half.outputs(half.activations)[:, :, 0], model(sequences(64)))
    assert measure(Splice(model, autoencoder(6, 12, 3), "0"), [sequences(64)]).height == 3


def test_wrong_sizes_are_named(borzoi):
    sae = autoencoder(19)
    with pytest.raises(ValueError, match=r"mean must be \(19,\), got \(3,\)"):
        measure(Splice(borzoi, sae, "conv1d_1"), batches(1), mean=np.zeros(3))
    one = pl.DataFrame({"name": ["a"], "assay": [""]})
    with pytest.raises(ValueError, match="tracks must have 5 rows, one a track, got 1"):
        measure(Splice(borzoi, sae, "conv1d_1"), batches(1), tracks=one)
    with pytest.raises(ValueError, match="at least one batch, got none"):
        measure(Splice(borzoi, sae, "conv1d_1"), [])


def test_assays_are_summarised(borzoi):
    tracks = pl.DataFrame({"name": list("abcde"), "assay": ["RNA", "RNA", "RNA", "ATAC", "ATAC"]})
    table = measure(Splice(borzoi, autoencoder(19), "conv1d_1"), batches(1), tracks=tracks)
    found = by_assay(table)
    assert dict(found.schema) == dict(schema.FAITHFULNESS_BY_ASSAY)
    assert found.select("assay", "tracks").rows() == [("RNA", 3), ("ATAC", 2)]
    rna = table["r_squared"][:3].to_numpy()
    assert found["r_squared"][0] == pytest.approx(np.median(rna))
    assert found["r_squared_lowest_tenth"][0] == pytest.approx(np.quantile(rna, 0.1))


def test_the_verbs_measure_a_run(tmp_path):
    run = tmp_path / "run"
    run_recipe(write_inputs(tmp_path, steps=40), run, last="seqlets")

    def ask(*command):
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    names = tmp_path / "tracks.tsv"
    names.write_text("name\tassay\nliver\tCAGE\nheart\tCAGE\nK562\tATAC\n")
    targets = tmp_path / "targets.h5"
    with h5py.File(targets, "w") as file:
        measured = np.random.default_rng(0).normal(size=(len(windows_of(run)), 3, 1000))
        file["targets"] = measured.astype(np.float32)
    command = ["faithfulness", str(run), "--limit", "3", "--tracks", str(names)]
    found = ask(*command, "--targets", str(targets))
    assert found["windows"] == 3
    assert [row["assay"] for row in found["assays"]] == ["CAGE", "ATAC"]
    table = pl.read_parquet(run / "faithfulness.parquet")
    assert dict(table.schema) == dict(schema.FAITHFULNESS)
    assert table["loss_recovered_mean"].is_not_null().any()
    assert table["pearson_target_original"].abs().max() < 0.2  # the targets are noise
    assert (
        pl.read_parquet(run / "faithfulness_by_assay.parquet").rows(named=True) == found["assays"]
    )
    with Image.open(run / "faithfulness.png") as image:
        assert image.width > image.height > 200
    record = RunStore(run).read_manifest()["faithfulness"]
    assert (record["seed"], record["options"]["split"]) == (3, "holdout")
    assert sorted(record["outputs"]) == [
        "faithfulness.parquet", "faithfulness.png", "faithfulness_by_assay.parquet",
    ]  # fmt: skip
    kept = ask(*command, "--keep-error", "-o", str(tmp_path / "kept.parquet"))
    assert [row["pearson"] for row in kept["assays"]] == pytest.approx([1.0, 1.0], abs=1e-9)
    assert (tmp_path / "kept.png").is_file()

    asked = ("perturb", str(run), "--tracks", str(names))
    found = ask(*asked, "--top", "2", "--limit", "2")
    table = pl.read_parquet(run / "effects.parquet")
    assert sorted(set(table["feature"])) == sorted(found["features"])
    assert dict(table.schema) == dict(schema.EFFECTS)
    sizes = [abs(row["effect"]) for row in found["strongest"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0
    assert RunStore(run).read_manifest()["effects"]["options"]["features"] == found["features"]
    ask(*asked, "--track", "K562", "--track", "0", "--limit", "2")
    assert set(pl.read_parquet(run / "effects.parquet")["name"]) == {"liver", "K562"}

    seqlets = pl.read_parquet(run / "seqlets.parquet")
    feature = int(seqlets["feature"][0])
    shuffled = (*asked, "--feature", str(feature), "--shuffle", "--per-feature", "4")
    ask(*shuffled)
    table = pl.read_parquet(run / "shuffled.parquet")
    assert dict(table.schema) == dict(schema.SHUFFLED)
    assert table["n_seqlets"].to_list() == [4] * 3
    for wrong, message in (
        (["--edit", "double"], "edit must be one of"),
        (["--tracks", str(names), "--track", "K526"], "no track 'K526' among 3; did you mean"),
        (["--track", "7"], "track must lie in 0..2, got 7"),
        (["--feature", "999"], "feature must lie in 0..15, got 999"),
    ):
        done = CliRunner().invoke(app, ["perturb", str(run), "--limit", "1", *wrong])
        assert done.exit_code == 1, done.output
        assert message in done.output

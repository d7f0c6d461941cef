"""A Borzoi that was trained here, saved as Borzoi's weights are, and taken through every verb."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from saers import Genome, schema
from saers.cli import app
from saers.demo.config import SimulationConfig
from saers.demo.run import run_demo
from saers.models import borzoi, load
from saers.models.borzoi.training import train_borzoi
from saers.models.toy import ToyTraining
from saers.store import RunStore
from tests.borzoi import sequences
from tests.tiny_run import MOTIF, write_inputs

LENGTH, BINS, TRACKS = 1024, 32, 4
SIZE = borzoi.BorzoiConfig(
    stem=16, tower=(12, 16, 16, 16, 16), dim=16, depth=1, heads=2, key=4, value=8,
    position_features=8, head=24, tracks=(("human", TRACKS),), bins=BINS,
)  # fmt: skip


def tracks_of(letters):
    """Two tracks that answer to the motif, and two of nothing."""
    rng = np.random.default_rng(0)
    found = rng.normal(0, 0.1, (len(letters), TRACKS, BINS)).astype(np.float32)
    motif = np.array(["ACGT".index(base) for base in MOTIF])
    views = np.lib.stride_tricks.sliding_window_view(letters, len(motif), axis=1)
    for window, start in np.argwhere((views == motif).all(axis=2)):
        found[window, :2, min(start + 5, LENGTH - 1) // 32] += (2.0, -1.0)
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A network this small gains nothing from a second one, and waits for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with the inputs of a run, and the model in them."""
    folder = tmp_path_factory.mktemp("borzoi")
    recipe = write_inputs(folder, steps=60)
    genome = Genome(folder / "genome.fa")
    regions = [(name, i * LENGTH, (i + 1) * LENGTH) for name, n in genome.chromosomes.items()
               for i in range(n // LENGTH)]  # fmt: skip
    onehot = genome.onehot(regions, np.float32)
    letters = np.where(onehot.any(axis=2), onehot.argmax(axis=2), 4).astype(np.uint8)
    training = ToyTraining(mega_bp=0.6, crop=LENGTH, batch_size=4, learning_rate=1e-2)
    held = np.array([name == "chr2" for name, *_ in regions])
    result = train_borzoi(letters, tracks_of(letters), config=SIZE, training=training, holdout=held)
    borzoi.save(result.model, folder / "model")
    text = recipe.read_text().replace(
        'source = "model.py:build"', 'adapter = "borzoi"\nsource = "model"'
    )
    text = text.replace("options = { extra = 6 }\n", "").replace(
        'layer = "1"', 'layer = "conv1d_1"'
    )
    recipe.write_text(text.replace("length = 1000", f"length = {LENGTH}"))
    return folder, result


def ask(*command):
    done = CliRunner().invoke(app, [*map(str, command), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_saved_folder_is_the_trained_model_to_the_bit(trained):
    folder, result = trained
    again = load(folder / "model")
    assert again.input_length == LENGTH
    assert again.config == SIZE
    assert torch.equal(again(sequences(LENGTH)), result.model(sequences(LENGTH)))
    settings = json.loads((folder / "model" / "config.json").read_text())
    assert (settings["model_type"], settings["bins_to_return"]) == ("borzoi", BINS)


def test_training_fits_the_tracks_better(trained):
    _, result = trained
    rng = np.random.default_rng(0)
    letters = rng.integers(0, 4, (12, LENGTH)).astype(np.uint8)
    begun = train_borzoi(
        letters, tracks_of(letters), config=SIZE, holdout=np.arange(12) < 4,
        training=ToyTraining(mega_bp=0.01, crop=LENGTH, batch_size=4, learning_rate=1e-6),
    )  # fmt: skip
    assert result.r_squared > begun.r_squared + 1
    norm = result.model.module.res_tower["0"].norm
    assert not torch.equal(norm.running_var, torch.ones_like(norm.running_var))
    onehot = sequences(LENGTH, n=4)
    outputs = result.model(onehot)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3
    assert (outputs >= 0).all()


def test_a_truncated_folder_gives_the_same_activations(trained):
    folder, result = trained
    ask_layers = ask("layers", folder / "model")["layers"]
    assert ask_layers[1]["name"] == "conv1d_1"
    assert (ask_layers[1]["stride"], ask_layers[1]["receptive_window"]) == (2, 24)
    done = CliRunner().invoke(
        app, ["truncate", str(folder / "model"), "conv1d_1", "-o", str(folder / "short")]
    )
    assert done.exit_code == 0, done.output
    short = load(folder / "short", options={"input_length": LENGTH})
    own = result.model.capture(sequences(LENGTH), "conv1d_1")
    assert torch.equal(short.capture(sequences(LENGTH), "conv1d_1"), own)


def test_the_run_goes_from_the_folder_to_effects_on_tracks(trained):
    folder, _ = trained
    run = folder / "run"
    reports = ask("run", folder / "recipe.toml", "-o", run, "--to", "seqlets")
    assert [report["stage"] for report in reports][-1] == "seqlets"
    found = ask("faithfulness", run, "--limit", "4")
    assert found["assays"][0]["tracks"] == TRACKS
    table = RunStore(run).read_table("faithfulness")
    assert table["pearson"].is_not_null().all()  # a network of few steps carries little there
    assert (table["loss_recovered_zero"] < 1).all()
    assert (run / "faithfulness.png").stat().st_size > 5_000
    found = ask("perturb", run, "--top", "3", "--limit", "4")
    effects = RunStore(run).read_table("effects")
    assert dict(effects.schema) == dict(schema.EFFECTS)
    assert effects.height == 3 * TRACKS
    assert effects["effect"].abs().max() > 0
    feature = RunStore(run).read_table("seqlets")["feature"][0]
    ask("perturb", run, "--shuffle", "--feature", feature, "--per-feature", "3")
    shuffled = RunStore(run).read_table("shuffled")
    assert shuffled.filter(pl.col("log_d2") > 0).height == TRACKS


def test_what_cannot_be_trained_or_saved_is_named(trained, tmp_path):
    folder, _ = trained
    short = load(folder / "model", "conv1d_1")
    with pytest.raises(ValueError, match="truncated to 'conv1d_1': save the whole one"):
        borzoi.save(short, tmp_path / "x")
    with pytest.raises(ValueError, match="multiple of 128 bp with 32 bins, got 1000 bp with 32"):
        train_borzoi(
            np.zeros((2, 1000), np.uint8), np.zeros((2, TRACKS, BINS), np.float32),
            config=SIZE, training=ToyTraining(), holdout=np.zeros(2, bool),
        )  # fmt: skip


@pytest.mark.slow
def test_the_demonstration_runs_on_a_borzoi(tmp_path):
    size = SimulationConfig(
        seed=5, chromosomes=(60_000, 30_000), n_motifs=5, n_pairs=1, n_tracks=7, tracks_per_motif=3
    )
    recipe = {
        "train": {"n_latents": 36, "k": 3, "steps": 40, "batch_size": 512},
        "seqlets": {"min_nonzero": 50, "min_above_half": 10},
        "motifs": {"count": 1, "max_sequences": 100},
        "embed": {"n_neighbors": 5},
    }
    training = ToyTraining(mega_bp=0.2, crop=2048, batch_size=4)
    report = run_demo(
        tmp_path, seed=5, model="borzoi", simulation=size, training=training, recipe=recipe
    )
    assert report.summary["model"] == "borzoi"
    assert report.summary["channels"] == 18
    assert report.summary["planted"] == 5
    assert load(tmp_path / "input" / "model").config.depth == 1
    assert (tmp_path / "run" / "atlas" / "index.html").is_file()

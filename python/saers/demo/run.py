"""The demonstration: simulate, train a model, run the pipeline, count what was found.

The pipeline gets a genome, a model and two BED files, as any user's would; the truth stays in
``truth/``. It runs twice: on an SAE, and on the raw channels of the same layer, both signs of
each channel as a unit of its own.
"""

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from saers import __version__
from saers.demo.config import SimulationConfig
from saers.demo.files import channels_as_sae, write_input, write_recipe, write_truth
from saers.demo.score import Recovery, measure_learning, recovered, recovered_after_shuffle
from saers.demo.simulate import Simulation, simulate
from saers.demo.tracks import Occupancy, Tracks, make_tracks, onehot
from saers.models import borzoi, toy
from saers.models.borzoi.training import BorzoiResult, at_length, small, train_borzoi
from saers.motif import Motif
from saers.motifs.databases import load_database
from saers.pipeline import StageReport, run_recipe
from saers.progress import SILENT, Progress
from saers.store import RunStore, atomic_path

DATABASE = "JASPAR2024_CORE_vertebrates"
_FOLDERS = {"sae": "run", "channels": "channels"}
_UNITS = (*_FOLDERS, "shuffled")
_LEARNER = 1_000_003  # added to the seed of the simulation: truth and learner share none
_BACKGROUNDS = 64  # sequences that motifs are inserted into
TRAIN = {"n_latents": 240, "k": 3, "steps": 3000, "batch_size": 4096, "learning_rate": 2e-3}
SEQLETS = {"min_nonzero": 1000, "min_above_half": 200}
# One motif a unit: with two, a channel would be credited with the second of the motifs that it
# mixes, and the comparison would not be of units that stand for one thing.
MOTIFS = {"count": 1}


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration found, and where everything lies."""

    summary: dict[str, Any]
    """What demo.json holds."""

    out: Path
    """The folder."""

    def print(self) -> None:
        """Print the table of what was found, the seconds, and the path of the atlas."""
        console, summary = Console(highlight=False), self.summary
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("", "SAE features", "raw channels", "shuffled"):
            table.add_column(name, justify="left" if not name else "right")
        found, share = summary["recovered"], summary["one_motif_share"]
        learned = summary["recovered_of_learned"]
        table.add_row("planted motifs found", *(str(found[name]) for name in _UNITS))
        table.add_row("share of the learned", *(f"{learned[name]:.0%}" for name in _UNITS))
        table.add_row("units searched", *(str(n) for n in summary["units"].values()), "")
        table.add_row("of one planted motif", *(f"{value:.0%}" for value in share.values()), "")
        console.print(
            f"\n{summary['planted']} motifs planted, {summary['learned']} learned by the model "
            f"(R² {summary['r_squared']:.2f}), {summary['channels']} channels, "
            f"{summary['latents']} latents, FVU {summary['fvu']:.3f}, "
            f"{summary['dead_share']:.1%} dead\n"
        )
        console.print(table)
        seconds = ", ".join(f"{name} {value:.0f}" for name, value in summary["seconds"].items())
        console.print(f"\nseconds: {seconds}", highlight=False)
        console.print(f"atlas: {self.out / 'run' / 'atlas' / 'index.html'}", soft_wrap=True)


class _Clock:
    """Seconds of each stage, in their order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)

    def total(self) -> dict[str, float]:
        """Add the time since the beginning."""
        return {**self.seconds, "total": round(time.perf_counter() - self._started, 2)}


def run_demo(
    out: str | Path,
    *,
    seed: int = 0,
    model: Literal["toy", "borzoi"] = "toy",
    progress: Progress = SILENT,
    simulation: SimulationConfig | None = None,
    training: toy.ToyTraining | None = None,
    recipe: dict[str, Any] | None = None,
) -> DemoReport:
    """Run the whole job on simulated data and count what was found of the truth.

    Parameters
    ----------
    out
        Folder for everything: ``truth/``, ``input/`` (genome, annotations, model), ``run/`` (the
        run directory), ``channels/`` (the same for raw channels), demo.json.
    seed
        Seed of everything.
    model
        "toy": convolutions in the shape of Borzoi's; "borzoi": a small Borzoi, transformer and all,
        saved as Borzoi's weights are.
    progress
        Hears of the progress.
    simulation, training
        Instead of the settings of the demonstration; their seeds are taken as they are.
    recipe
        Sections that differ from the demonstration's recipe.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    place, clock = Path(out), _Clock()
    database = load_database(DATABASE)
    with clock.stage("simulate"):
        progress.say("simulating a genome …")
        truth = simulate(simulation or SimulationConfig(seed=seed), database)
        occupancy = Occupancy.of(truth)
        tracks = make_tracks(truth, occupancy)
        write_truth(truth, place / "truth")
        write_input(truth, place / "input")
    with clock.stage("model"):
        result = _train(model, truth, tracks, training or _training(model, truth, seed), progress)
        _save(result, place / "input" / "model")
    with clock.stage("learned"):
        learning = _measure(result, truth, occupancy, tracks)
        learning.write_parquet(place / "truth" / "learned.parquet")
    sections = {**_recipe(model, truth, seed), **(recipe or {})}
    written = write_recipe(sections, place / "recipe.toml")
    reports = run_recipe(written, place / _FOLDERS["sae"], progress=progress)
    clock.seconds |= {report.stage: round(report.seconds, 2) for report in reports}
    with clock.stage("channels"):
        progress.say("the same for the raw channels …")
        _run_channels(sections, place, progress)
    with clock.stage("shuffled"):
        found = _recoveries(place, truth, database, seed)
    summary = {
        "seed": seed,
        "model": model,
        **_counts(truth, learning, found),
        **_facts(reports, place),
        "r_squared": round(result.r_squared, 4),
        "settings": {
            "simulation": asdict(truth.config),
            **{name: sections[name] for name in ("train", "seqlets", "motifs")},
        },
        "versions": _versions(),
        "seconds": clock.total(),
    }
    with atomic_path(place / "demo.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
    return DemoReport(summary, place)


def _training(model: str, truth: Simulation, seed: int) -> toy.ToyTraining:
    """Say how a model is trained: a Borzoi on whole windows, as many bases a step as the other."""
    training = toy.ToyTraining(seed=seed + _LEARNER)
    if model == "toy":
        return training
    batch = training.batch_size * training.crop // truth.config.window
    return replace(training, crop=truth.config.window, batch_size=batch)


def _train(
    model: str, truth: Simulation, tracks: Tracks, training: toy.ToyTraining, progress: Progress
) -> toy.ToyResult | BorzoiResult:
    """Train the model on all chromosomes but the last."""
    given = (tracks.letters, tracks.values)
    held, n_tracks = _held_out(truth, tracks), truth.config.n_tracks
    if model == "borzoi":
        size = small(n_tracks, tracks.values.shape[2])
        return train_borzoi(*given, config=size, training=training, holdout=held, progress=progress)
    config = toy.ToyConfig(tracks=n_tracks, bin=truth.config.bin)
    return toy.train_toy(*given, config=config, training=training, holdout=held, progress=progress)


def _save(result: toy.ToyResult | BorzoiResult, folder: Path) -> None:
    if isinstance(result, BorzoiResult):
        borzoi.save(result.model, folder)
    else:
        toy.save(result.model, folder)


def _held_out(truth: Simulation, tracks: Tracks) -> NDArray[np.bool_]:
    return np.array([name == truth.holdout for name in tracks.chromosomes])


def _recipe(model: str, truth: Simulation, seed: int) -> dict[str, Any]:
    """Put together what a user would write: files, a layer, and sizes that suit a small layer."""
    return {
        "seed": seed,
        "model": {"adapter": model, "source": "input/model", "layer": toy.LAYER},
        "genome": {"fasta": "input/genome.fa"},
        "windows": {"length": truth.config.window, "holdout": [truth.holdout]},
        "capture": {"batch_size": 32},
        "train": dict(TRAIN),
        "seqlets": dict(SEQLETS),
        "motifs": dict(MOTIFS),
        "match": {"databases": [DATABASE]},
        "annotate": {"bed": {"enhancers": "input/enhancers.bed", "repeats": "input/repeats.bed"}},
        "atlas": {"title": "saers demo"},
    }


def _measure(
    result: toy.ToyResult | BorzoiResult, truth: Simulation, occupancy: Occupancy, tracks: Tracks
) -> pl.DataFrame:
    """Tell which motifs the model has learned, on windows that it was not trained on."""

    def predict(letters: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            network: torch.nn.Module = result.model.module
            if isinstance(result, BorzoiResult):  # pieces are shorter than what it was trained on
                network = at_length(result.model.module, letters.shape[1])
            return np.asarray(network(onehot(letters)).numpy(), dtype=np.float32)

    known = (tracks.letters < 4).all(axis=1)
    learning = measure_learning(
        predict,
        tracks.letters[_held_out(truth, tracks) & known][:_BACKGROUNDS],
        truth.instances,
        occupancy,
        tracks.weights,
        bin=truth.config.bin,
        seed=truth.config.seed + _LEARNER,
    )
    return learning.with_columns(id=pl.Series([motif.id for motif in truth.motifs]))


def _run_channels(sections: dict[str, Any], place: Path, progress: Progress) -> None:
    """Run the pipeline up to the matches with the raw channels in the SAE's place."""
    means = RunStore(place / _FOLDERS["sae"]).read_table("stats")["mean"].to_list()
    channels_as_sae(means).save(place / "input" / "channels")
    changed = {**sections, "train": {"pretrained": "input/channels"}}
    written = write_recipe(changed, place / "channels.toml")
    run_recipe(written, place / _FOLDERS["channels"], last="match", progress=progress)


def _recoveries(
    place: Path, truth: Simulation, database: list[Motif], seed: int
) -> dict[str, Recovery]:
    """Count what features, raw channels and shuffled motifs have found of the planted."""
    planted = [motif.id for motif in truth.motifs]
    runs = {name: RunStore(place / folder) for name, folder in _FOLDERS.items()}
    found = {name: recovered(run.read_table("matches"), planted) for name, run in runs.items()}
    motifs = runs["sae"].read_table("motifs")
    found["shuffled"] = recovered_after_shuffle(motifs, database, planted, seed=seed)
    return found


def _counts(
    truth: Simulation, learning: pl.DataFrame, found: dict[str, Recovery]
) -> dict[str, Any]:
    """Count planted, learned and recovered motifs."""
    learned = set(learning.filter("learned")["id"])
    return {
        "planted": len(truth.motifs),
        "learned": len(learned),
        "recovered": {name: len(recovery.found) for name, recovery in found.items()},
        "recovered_of_learned": {
            name: len(recovery.found & learned) / max(1, len(learned))
            for name, recovery in found.items()
        },
        "one_motif_share": {name: round(found[name].one_motif_share, 4) for name in _FOLDERS},
    }


def _selected(run: Path) -> int:
    """Count the units whose seqlets were searched for motifs."""
    return int(RunStore(run).read_table("features")["selected"].sum())


def _facts(reports: list[StageReport], place: Path) -> dict[str, Any]:
    """Take over what the stages of the pipeline say of themselves."""
    facts = {report.stage: report.facts for report in reports}
    return {
        "channels": facts["capture"]["channels"],
        "latents": facts["train"]["latents"],
        "units": {name: _selected(place / folder) for name, folder in _FOLDERS.items()},
        "fvu": facts["train"]["fvu"],
        "dead_share": facts["train"]["dead_share"],
    }


def _versions() -> dict[str, str]:
    return {
        "saers": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }

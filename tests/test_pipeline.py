"""The whole road on a tiny model: order, skipping, resuming, and what is said when it breaks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from saers import FormatError, schema
from saers.pipeline import STAGE_NAMES, STAGES, record_question, run_recipe
from saers.store import LAYOUT, RunStore
from tests.tiny_run import MOTIF, write_inputs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Inputs and a finished run; tests that change something copy it."""
    folder = tmp_path_factory.mktemp("pipeline")
    recipe = write_inputs(folder)
    return recipe, folder / "run", run_recipe(recipe, folder / "run")


def tables(run: Path) -> dict[str, pl.DataFrame]:
    return {path.name: pl.read_parquet(path) for path in sorted(run.glob("*.parquet"))}


def assert_same_tables(one: Path, other: Path) -> None:
    first, second = tables(one), tables(other)
    assert first.keys() == second.keys()
    for name, table in first.items():
        assert table.equals(second[name], null_equal=True), name


def test_every_stage_runs_in_order_and_leaves_its_artefacts(finished):
    _, run, reports = finished
    assert [report.stage for report in reports] == list(STAGE_NAMES)
    store = RunStore(run)
    for stage in STAGES:
        made = [name for name in stage.writes if store.has(name)]
        assert made, stage.name
        assert not any(store.has(name) for name in stage.scratch), stage.name


def test_the_motif_of_the_model_is_found_and_enriched_where_it_was_planted(finished):
    _, run, _ = finished
    reverse = MOTIF[::-1].translate(str.maketrans("ACGT", "TGCA"))
    motifs = pl.read_parquet(run / "motifs.parquet")
    found = motifs.filter(
        pl.col("consensus").str.contains(MOTIF[1:8])
        | pl.col("consensus").str.contains(reverse[2:9])
    )
    assert found.height >= 1
    rows = pl.read_parquet(run / "annotations.parquet").filter(
        pl.col("feature").is_in(found["feature"].to_list())
    )
    assert rows["fold"].max() > 3
    assert rows["q_value"].min() < 0.05


def test_tables_are_sorted_by_feature_then_rank(finished):
    _, run, _ = finished
    seqlets = pl.read_parquet(run / "seqlets.parquet")
    assert seqlets.equals(seqlets.sort("feature", "rank"))
    assert seqlets.select("feature", "rank").is_unique().all()


def test_the_manifest_records_what_each_stage_was_made_of(finished):
    _, run, _ = finished
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    assert list(stages) == list(STAGE_NAMES)
    record = stages["capture"]
    assert record["state"] == "finished"
    assert any(path.endswith("genome.fa") for path in record["inputs"])
    assert any(path.endswith("model.py") for path in record["inputs"])
    assert record["seed"] == 3
    assert {"saers", "torch", "python"} <= record["versions"].keys()
    assert record["seconds"] > 0
    assert record["peak_memory"] > 0


def test_an_answer_to_a_question_renews_the_atlas_alone(finished, tmp_path):
    recipe, run, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    record_question(RunStore(copy), "effects", options={"edit": "clamp=3"}, seed=3, seconds=1.0,
                    written=[])  # fmt: skip
    row = {name: [1] for name in schema.EFFECTS} | {"name": ["liver"], "assay": ["CAGE"]}
    RunStore(copy).write_table("effects", pl.DataFrame(row))
    ran = [report.stage for report in run_recipe(recipe, copy) if not report.skipped]
    assert ran == ["atlas"]
    page = "".join(path.read_text() for path in (copy / "atlas" / "data").glob("*.js"))
    assert '["liver","CAGE",1.0' in page
    assert '"edit":"clamp=3"' in page
    assert all(report.skipped for report in run_recipe(recipe, copy))
    (copy / "effects.parquet").unlink()
    ran = [report.stage for report in run_recipe(recipe, copy) if not report.skipped]
    assert ran == ["atlas"]


def test_an_unchanged_run_is_skipped_whole(finished):
    recipe, run, _ = finished
    assert all(report.skipped for report in run_recipe(recipe, run))


def test_a_changed_option_runs_its_stage_and_what_depends_on_it(tmp_path):
    recipe, run = write_inputs(tmp_path), tmp_path / "run"
    run_recipe(recipe, run)
    recipe.write_text(recipe.read_text().replace("n_controls = 0", "n_controls = 30"))
    ran = [report.stage for report in run_recipe(recipe, run) if not report.skipped]
    assert ran == ["annotate", "atlas"]
    (run / "motifs.parquet").write_bytes((run / "features.parquet").read_bytes())
    ran = [report.stage for report in run_recipe(recipe, run) if not report.skipped]
    assert ran == ["motifs"]


def test_changed_weights_run_everything_again(tmp_path):
    recipe, run = write_inputs(tmp_path), tmp_path / "run"
    run_recipe(recipe, run, last="stats")
    model = tmp_path / "model.py"
    model.write_text(model.read_text().replace("manual_seed(5)", "manual_seed(6)"))
    reports = run_recipe(recipe, run, last="stats")
    assert [report.skipped for report in reports] == [False, False]


def test_a_cached_run_has_the_activations_of_a_streamed_one(finished, tmp_path):
    _, streamed, _ = finished
    recipe = write_inputs(tmp_path)
    recipe.write_text(recipe.read_text() + '\n[capture]\ncache = "hdf5"\ndtype = "float32"\n')
    run_recipe(recipe, tmp_path / "run", last="stats")
    assert (tmp_path / "run" / LAYOUT["activations"]).is_file()
    # Blocks are of another size, so sums are rounded elsewhere.
    assert_frame_equal(
        pl.read_parquet(streamed / "stats.parquet"),
        pl.read_parquet(tmp_path / "run" / "stats.parquet"),
        rel_tol=1e-6,
    )


def test_from_and_to_choose_stages_and_force_runs_them_again(finished):
    recipe, run, _ = finished
    reports = run_recipe(recipe, run, first="match", last="relate", force=True)
    assert [report.stage for report in reports] == ["match", "annotate", "relate"]
    assert not any(report.skipped for report in reports)
    assert all(report.skipped for report in run_recipe(recipe, run))


def test_a_stage_without_its_inputs_names_the_stage_that_writes_them(tmp_path):
    recipe = write_inputs(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"windows\.parquet, which capture writes"):
        run_recipe(recipe, tmp_path / "run", first="train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": "motif"}, "from must be one of .*did you mean 'motifs'"),
        ({"first": "atlas", "last": "stats"}, "--from atlas comes after --to stats"),
    ],
)
def test_a_wrong_stage_is_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_recipe(write_inputs(tmp_path), tmp_path / "run", **arguments)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('layer = "1"', 'layer = "11"', ValueError, "11"),
        ("steps = 120", "stepz = 120", ValueError, "train.stepz: unknown key; did you mean"),
        ("k = 3", "k = 0", ValueError, "k must be"),
        ("genome.fa", "genom.fa", FileNotFoundError, "genom.fa"),
        ('["chr2"]', '["2"]', ValueError, "chr2"),
        ("sites.bed", "site.bed", FileNotFoundError, "site.bed"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(finished, tmp_path, old, new, error, message):
    recipe = write_inputs(tmp_path)
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(error, match=message):
        run_recipe(recipe, tmp_path / "run")


def test_a_corrupt_manifest_stops_the_run(tmp_path):
    recipe, run = write_inputs(tmp_path), tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match=r"manifest\.json"):
        run_recipe(recipe, run)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_an_unbroken_one(finished, tmp_path):
    _, unbroken, _ = finished
    recipe, run = write_inputs(tmp_path), tmp_path / "run"
    command = [sys.executable, "-m", "saers", "run", str(recipe), "-o", str(run)]
    # Later each time: while it imports, captures, trains, searches motifs, embeds.
    for seconds in (4.0, 6.0, 8.0, 11.0):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert_same_tables(unbroken, run)
    weights = Path("sae") / "sae_weights.safetensors"
    assert (run / weights).read_bytes() == (unbroken / weights).read_bytes()
    assert not list(run.rglob(".saers-tmp-*"))

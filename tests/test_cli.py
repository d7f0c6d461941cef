"""The command line: help, exit status, one clear line on failure, plain files."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from saers.cli import _PANELS, app

VERBS = [name for verbs in _PANELS.values() for name in verbs]


def saers(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb):
    result = saers(verb, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"saers {verb}" in result.output


def test_help_and_version_do_not_import_torch():
    code = (
        "import sys; from saers.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'umap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_package_is_imported_without_torch():
    code = "import saers, sys; assert 'torch' not in sys.modules; saers.Genome; saers.tomtom"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_public_name_can_be_had():
    import saers

    assert all(getattr(saers, name) is not None for name in saers.__all__)
    assert set(saers.__all__) <= set(dir(saers))


def test_a_failure_is_one_line_and_exit_status_1(tmp_path):
    result = saers("run", tmp_path / "no.toml")
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("saers: recipe: no file at")


def test_wrong_usage_is_exit_status_2():
    assert saers("topk").exit_code == 2
    assert saers("no-such-verb").exit_code == 2


def test_a_traceback_is_there_for_who_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("SAERS_DEBUG", "1")
    assert isinstance(saers("run", tmp_path / "no.toml").exception, FileNotFoundError)


def test_init_does_not_overwrite(tmp_path):
    path = tmp_path / "recipe.toml"
    assert saers("init", path).exit_code == 0
    assert saers("init", path).exit_code == 1
    assert saers("init", path, "--force", "--preset", "sae-borzoi").exit_code == 0
    assert 'preset = "sae-borzoi"' in path.read_text()
    wrong = saers("init", path, "--force", "--preset", "sae-borzio")
    assert "did you mean 'sae-borzoi'" in wrong.stderr


def test_doctor_says_what_is_installed():
    result = saers("doctor", "--json")
    facts = json.loads(result.stdout)
    assert {"saers", "torch", "device", "meme", "databases"} <= facts.keys()


@pytest.fixture
def activations(tmp_path):
    import h5py

    path = tmp_path / "acts.h5"
    values = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["activations"] = values
    return path, values


def test_stats_works_on_a_plain_file(activations, tmp_path):
    path, values = activations
    out = tmp_path / "stats.parquet"
    assert saers("stats", path, "-o", out).exit_code == 0
    assert pl.read_parquet(out)["max"].to_numpy() == pytest.approx(values.max(axis=(0, 1)))


def test_topk_works_on_a_plain_file(activations, tmp_path):
    path, values = activations
    out = tmp_path / "top.parquet"
    result = saers("topk", path, "-k", 2, "--min-distance", 5, "-o", out, "--json")
    assert result.exit_code == 0
    top = pl.read_parquet(out)
    assert json.loads(result.stdout)["rows"] == top.height == 2 * 3 * 2
    first = top.filter((pl.col("window") == 1) & (pl.col("channel") == 2) & (pl.col("rank") == 1))
    assert first["position"].item() == values[1, :, 2].argmax()


def test_a_wrong_dataset_is_named(activations):
    path, _ = activations
    result = saers("stats", path, "--dataset", "activatoins")
    assert result.exit_code == 1
    assert "acts.h5" in result.stderr


def test_fasta_motifs_match_annotate_relate_work_on_plain_files(tmp_path):
    rng = np.random.default_rng(1)
    bases = rng.choice(list("ACGT"), size=60_000)
    starts = np.arange(100, 59_000, 200)
    for start in starts:
        bases[start + 10 : start + 20] = list("TGACTCATGC")
    (tmp_path / "g.fa").write_text(">chr1\n" + "".join(bases) + "\n")
    bed = "".join(f"chr1\t{s}\t{s + 34}\tpeak\n" for s in starts)
    (tmp_path / "r.bed").write_text(bed)
    seqs, motifs, tsv = tmp_path / "s.fa", tmp_path / "m.meme", tmp_path / "t.tsv"
    assert saers("fasta", tmp_path / "g.fa", tmp_path / "r.bed", "-o", seqs).exit_code == 0
    assert seqs.read_text().startswith(">chr1:100-134\n")
    assert saers("motifs", seqs, "--count", 1, "-o", motifs).exit_code == 0
    result = saers("match", motifs, "JASPAR2024_CORE_vertebrates", "--tsv", tsv)
    assert result.exit_code == 0
    assert "MA0099" in tsv.read_text() or "MA1130" in tsv.read_text()  # AP-1

    seqlets = tmp_path / "seqlets.parquet"
    pl.DataFrame(
        {"feature": [0] * len(starts), "chrom": "chr1", "start": starts, "end": starts + 34},
        schema_overrides={"feature": pl.UInt32},
    ).write_parquet(seqlets)
    out = tmp_path / "a.parquet"
    result = saers(
        "annotate",
        seqlets,
        "--bed",
        f"peaks={tmp_path / 'r.bed'}",
        "--genome",
        tmp_path / "g.fa",
        "--gc-match",
        0.1,
        "-o",
        out,
    )
    assert result.exit_code == 0, result.stderr
    row = pl.read_parquet(out).row(0, named=True)
    assert row["observed"] == len(starts)
    assert row["fold"] > 1.5
    out = tmp_path / "r.parquet"
    result = saers("relate", tmp_path / "r.bed", tmp_path / "r.bed", "-o", out)
    assert result.exit_code == 0
    assert pl.read_parquet(out)["jaccard"].item() == 1.0


def test_relate_compares_features_of_one_motif_by_regions(tmp_path):
    seqlets, matches, out = (tmp_path / f"{name}.parquet" for name in ("s", "m", "d"))
    pl.DataFrame(
        {"feature": [0, 0, 1], "chrom": "chr1", "start": [0, 90, 5], "end": [9, 99, 14]}
    ).write_parquet(seqlets)
    pl.DataFrame({"feature": [0, 1], "target_id": "SPI1", "p_value": 0.001}).write_parquet(matches)
    result = saers("relate", seqlets, "--directed", "--groups", matches, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert pl.read_parquet(out).select("group", "share").rows() == [("SPI1", 0.5), ("SPI1", 1.0)]
    assert saers("relate", seqlets, "--directed", "-o", out).exit_code == 2
    assert saers("relate", seqlets, "--groups", matches, "-o", out).exit_code == 2


def test_a_bed_without_a_name_is_wrong_usage(tmp_path):
    (tmp_path / "s.parquet").write_bytes(b"")
    (tmp_path / "g.fa").write_text(">a\nA\n")
    result = saers(
        "annotate", tmp_path / "s.parquet", "--bed", "x.bed", "--genome", tmp_path / "g.fa"
    )
    assert result.exit_code == 2


def test_view_says_which_stage_is_missing(tmp_path):
    result = saers("view", tmp_path)
    assert result.exit_code == 1
    assert "run `saers atlas" in result.stderr

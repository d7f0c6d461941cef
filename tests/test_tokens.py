"""A run on a model of tokens: every seqlet lies where its token lies."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from saers import Genome, schema
from saers.bigwig import signal
from saers.cli import app
from saers.layer import LayerInfo
from saers.models import load
from saers.pipeline import run_recipe
from saers.recipe import load_recipe
from saers.seqlets import distance_of, seqlets_table
from saers.store import RunStore
from saers.tokens import TokenActivations
from tests.tiny_run import write_inputs
from tests.token_models import bert, bpe

LAYER = "bert.encoder.layer.1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = bpe()
    bert(len(tokenizer)).save_pretrained(folder / "dna")
    tokenizer.save_pretrained(folder / "dna")
    recipe = write_inputs(folder, steps=30)
    source = 'adapter = "huggingface"\nsource = "dna"'
    text = recipe.read_text().replace('source = "model.py:build"', source)
    text = text.replace("options = { extra = 6 }", "options = { max_tokens = 700 }")
    text = text.replace('layer = "1"', f'layer = "{LAYER}"')
    text = text.replace(
        "length = 1000", 'length = 1000\nchromosomes = ["chr2", "chr1"]\nlimit = 24'
    )
    recipe.write_text(text.replace("max_n = 0.5", ""))
    run_recipe(recipe, folder / "run", last="seqlets")
    return folder


def test_every_seqlet_is_the_token_at_its_place(finished):
    store = RunStore(finished / "run")
    seqlets, windows = store.read_table("seqlets"), store.read_table("windows")
    genome, tokenizer = Genome(finished / "genome.fa"), bpe()
    assert seqlets.height > 100
    lengths = set()
    for row in seqlets.sample(60, seed=0).iter_rows(named=True):
        chrom, start, end = windows.row(row["window"])[1:4]
        told = tokenizer(genome.fetch(chrom, start, end), return_offsets_mapping=True)
        first, last = told["offset_mapping"][1 + row["position"]]  # behind [CLS]
        assert (row["chrom"], row["start"], row["end"]) == (chrom, start + first, start + last)
        token = tokenizer.convert_ids_to_tokens(told["input_ids"])[1 + row["position"]]
        assert row["sequence"] == token == genome.fetch(chrom, row["start"], row["end"])
        lengths.add(len(token))
    assert len(lengths) >= 3


def test_tokens_with_n_and_blacklisted_ones_are_not_used(finished):
    store = RunStore(finished / "run")
    windows, genome = store.read_table("windows"), Genome(finished / "genome.fa")
    black = pl.DataFrame({"chrom": ["chr1"], "start": [20_000], "end": [30_100]})
    model = load(finished / "dna", options={"max_tokens": 700})
    source = TokenActivations(model, LAYER, genome, windows, blacklist=black, edge=50)
    checked = 0
    for block in source.blocks():
        for number, mask in zip(block.windows, block.mask, strict=True):
            chrom, start, end = windows.row(int(number))[1:4]
            text = genome.fetch(chrom, start, end).upper()
            spans = bpe()(text, return_offsets_mapping=True)["offset_mapping"][1:-1]
            wanted = [
                "N" not in text[a:b] and a >= 50 and b <= 950
                and not (chrom == "chr1" and start + b > 20_000 and start + a < 30_100)
                for a, b in spans
            ]  # fmt: skip
            assert mask[: len(spans)].tolist() == wanted
            assert not mask[len(spans) :].any()
            checked += sum(wanted)
    assert checked > 1000


def test_questions_are_asked_of_tokens_too(finished):
    def ask(*command):
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    run = str(finished / "run")
    assert ask("faithfulness", run, "--limit", "2", "--split", "all")["windows"] == 2
    table = pl.read_parquet(finished / "run" / "faithfulness.parquet")
    assert table.height == len(bpe())
    assert table["n"][0] < 2 * 1000  # bins are tokens
    found = ask("perturb", run, "--top", "2", "--limit", "2", "--split", "all")
    assert max(abs(row["effect"]) for row in found["strongest"]) > 0


@pytest.mark.parametrize("key, value", [("cache", "hdf5"), ("parts", 2), ("precision", "float16")])
def test_what_tokens_do_not_have_is_refused(finished, key, value):
    recipe = load_recipe(finished / "recipe.toml")
    changed = recipe.model_copy(update={"capture": recipe.capture.model_copy(update={key: value})})
    with pytest.raises(ValueError, match=rf"capture\.{key}: positions of .* are tokens"):
        run_recipe(changed, finished / "other", last="capture")


def test_both_strands_of_tokens_are_refused(finished):
    recipe = load_recipe(finished / "recipe.toml")
    changed = recipe.model_copy(
        update={"encode": recipe.encode.model_copy(update={"strands": "max"})}
    )
    shutil.copytree(finished / "run", finished / "both")
    with pytest.raises(ValueError, match="strands must be forward"):
        run_recipe(changed, finished / "both", first="encode", last="encode")


def test_tokens_without_places_are_refused(tmp_path):
    layer = LayerInfo("block", 8, 4, 0, 3, tokens=True)
    top = pl.DataFrame(
        {"feature": [0], "rank": [1], "window": [0], "position": [2], "activation": [1.0]}
    )
    features = pl.DataFrame({"feature": [0], "selected": [True]})
    windows = pl.DataFrame({"window": [0], "chrom": ["c"], "start": [4], "end": [24]})
    (tmp_path / "g.fa").write_text(">c\nAACCGGTTAACCGGTTAACCGGTTAACC\n")
    genome = Genome(tmp_path / "g.fa")
    given = (top, features, windows, layer, genome)
    with pytest.raises(ValueError, match="places are needed: positions of 'block' are tokens"):
        seqlets_table(*given)
    places = {"window": [0], "position": [2], "start": [3], "end": [8]}
    found = seqlets_table(*given, places=pl.DataFrame(places))
    assert found.select("start", "end", "sequence").row(0) == (7, 12, "TAACC")
    found = seqlets_table(*given, places=pl.DataFrame(places), width=3)
    assert found.select("start", "end", "sequence").row(0) == (8, 11, "AAC")
    with pytest.raises(ValueError, match="places must hold window 0, position 2"):
        seqlets_table(*given, places=pl.DataFrame(places | {"position": [1]}))
    with pytest.raises(ValueError, match="width of tokens must be 'rf' or base pairs, got 'paper'"):
        seqlets_table(*given, places=pl.DataFrame(places), width="paper")
    with pytest.raises(ValueError, match="positions of 'block' are tokens"):
        signal(schema.empty(schema.FEATURE_TRACK), windows, layer, {"c": 28})
    assert distance_of(layer) == 1
    assert np.isfinite(layer.receptive_field)

"""examples/explainn: a trained network that is not ours, on real sequence, end to end."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from saers.genome import Genome
from saers.matches import motifs_of, tomtom
from saers.models import load
from saers.motifs.databases import load_database
from saers.pipeline import run_recipe
from saers.recipe import load_recipe
from saers.windows import from_bed

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "explainn"
LAYER = "linears.2"

pytestmark = [
    pytest.mark.data,
    # Features of near-constant sequence have motifs that say nothing.
    pytest.mark.filterwarnings("ignore:.*without information"),
]


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    """Every twentieth window of the background and 300 sites of each factor."""
    spec = importlib.util.spec_from_file_location("prepare", EXAMPLE / "prepare.py")
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    out = tmp_path_factory.mktemp("explainn")
    prepare.prepare(data, out, sites=300, background=20)
    return out


@pytest.fixture(scope="module")
def model(data):
    weights = data / "models" / "explainn_MAX_JUND_FOXA1.pth"
    return load(f"{EXAMPLE / 'model.py'}:build", LAYER, weights=weights)


def test_the_layer_holds_the_units_filters(model):
    layer = model.layers[LAYER]
    assert (layer.channels, layer.stride, layer.window_lo, layer.window_hi) == (100, 1, 0, 18)
    assert model.capture(torch.zeros(2, 200, 4), LAYER).shape == (2, 182, 100)
    assert model.layers["linears.3"].stride == 7


def test_all_of_the_authors_weights_are_used(model):
    assert sum(tensor.numel() for tensor in model.module.state_dict().values()) == 328_906
    assert model(torch.zeros(1, 200, 4)).shape == (1, 3)


def test_sites_lie_in_the_middle_of_windows_of_n(prepared, data):
    genome = Genome(prepared / "genome.fa")
    windows = from_bed(prepared / "windows.bed", genome)
    sites = windows.filter(pl.col("chrom") == "FOXA1_MA0148.3")
    assert sites.height == 300
    first = genome.slice(sites.head(1).select("chrom", "start", "end"))[0]
    left, right = len(first) - len(first.lstrip("N")), len(first) - len(first.rstrip("N"))
    assert abs(left - right) <= 1
    assert (windows["end"] - windows["start"]).unique().to_list() == [200]


@pytest.mark.parametrize(
    "sites, output, least",
    [("MAX_MA0058.2", 0, 0.7), ("FOXA1_MA0148.3", 1, 0.93), ("JUNB_MA0490.1", 2, 0.95)],
)
def test_the_network_tells_its_factors_sites_from_background(model, prepared, sites, output, least):
    genome = Genome(prepared / "genome.fa")
    windows = from_bed(prepared / "windows.bed", genome)

    def scores(chrom):
        rows = windows.filter(pl.col("chrom") == chrom).select("chrom", "start", "end")
        return model(torch.from_numpy(genome.onehot(rows)))[:, output].numpy()

    assert auc(scores(sites), scores("chr2")) > least


@pytest.fixture(scope="module")
def run(prepared, data, tmp_path_factory):
    """The recipe up to the matches, with fewer windows and steps, and one motif a feature."""
    (prepared / "model.py").write_text((EXAMPLE / "model.py").read_text())
    (prepared / "recipe.toml").write_text((EXAMPLE / "recipe.toml").read_text())
    recipe = load_recipe(prepared / "recipe.toml")
    weights = str(data / "models" / "explainn_MAX_JUND_FOXA1.pth")
    smaller = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"weights": weights}),
            "train": recipe.train | {"steps": 250},
            "motifs": recipe.motifs.model_copy(update={"count": 1, "max_sequences": 300}),
        }
    )
    out = tmp_path_factory.mktemp("run")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that wait for each other on a busy machine take far longer
    run_recipe(smaller, out, last="match")
    torch.set_num_threads(threads)
    return out


def named_by(run, *stems):
    """Features with a motif that matches a factor of these names at E < 0.05."""
    matches = pl.read_parquet(run / "matches.parquet").filter(pl.col("e_value") < 0.05)
    name = pl.col("target_name").str.to_uppercase()
    return matches.filter(name.str.contains("|".join(stems)))["feature"].n_unique()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "family, stems, least",
    [  # three seeds gave 14 to 22, 10 to 14 and 3 or 4 features
        ("FOX", ["^FOX"], 8),
        ("AP-1", ["^FOS", "^JUN", "^BATF"], 6),
        ("E-box", ["^MAX", "^MYC", "^MXI1", "^MNT", "^USF", "^HEY", "^ARNT"], 2),
    ],
)
def test_the_families_that_the_network_was_trained_on_come_out(run, family, stems, least):
    assert named_by(run, *stems) >= least


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_motifs_with_shuffled_columns_match_as_rarely_as_chance_says(run):
    motifs = motifs_of(pl.read_parquet(run / "motifs.parquet"))
    targets = load_database("JASPAR2020_CORE_vertebrates")
    found = sum(
        tomtom(
            [motif.shuffle_columns(seed) for motif in motifs], targets, thresh=0.05, evalue=True
        )["query_id"].n_unique()
        for seed in range(5)
    )
    tried = 5 * len(motifs)
    assert found <= 0.05 * tried + 4 * np.sqrt(tried * 0.05)
    named = pl.read_parquet(run / "matches.parquet").filter(pl.col("e_value") < 0.05)
    assert named["query_id"].n_unique() / len(motifs) > 3 * found / tried


def auc(positives, negatives):
    """Chance that a positive scores above a negative."""
    return float(np.mean(positives[:, None] > negatives[None]))

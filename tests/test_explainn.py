"""examples/explainn: a trained network that is not ours, on real sequence, end to end."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from saers.genome import Genome
from saers.models import load
from saers.windows import from_bed

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "explainn"
LAYER = "linears.2"

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    """A twentieth of the background and 400 sites of each factor."""
    spec = importlib.util.spec_from_file_location("prepare", EXAMPLE / "prepare.py")
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    out = tmp_path_factory.mktemp("explainn")
    prepare.prepare(data, out, sites=400, background=10)
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
    assert sites.height == 400
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


def auc(positives, negatives):
    """Chance that a positive scores above a negative."""
    return float(np.mean(positives[:, None] > negatives[None]))

"""What several test modules share: where the outside data and programs are."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from saers.capture import ModelActivations
from saers.genome import Genome
from saers.models.module import ModuleModel
from saers.windows import tile
from tests.tiny_capture import LENGTH

# A busy machine must not fail a property for being slow; pytest has its own time-out.
# Where `CI` is set the examples are always the same; elsewhere they are new in every run.
settings.register_profile("saers", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("saers")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    data = Path(os.environ.get("SAERS_TEST_DATA", ROOT / ".." / "shared" / "data"))
    for item in items:
        if item.get_closest_marker("data") and not data.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no test data at {data} (SAERS_TEST_DATA)"))
        if item.get_closest_marker("meme") and shutil.which("meme") is None:
            item.add_marker(pytest.mark.skip(reason="the MEME Suite is not on PATH"))


@pytest.fixture(scope="session")
def data():
    """Folder of the shared test data; use it with the marker ``data``."""
    return Path(os.environ.get("SAERS_TEST_DATA", ROOT / ".." / "shared" / "data")).resolve()


@pytest.fixture
def genome(tmp_path):
    bases = np.random.default_rng(0).choice(list("ACGTacgt"), 400)
    bases[130:137] = "N"
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\n" + "".join(bases) + "\n")
    return Genome(path)


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 3, 5, padding=2), nn.MaxPool1d(2), nn.Conv1d(3, 1, 3))
    return ModuleModel(net, input_length=LENGTH)


@pytest.fixture
def windows(genome):
    return tile(genome, LENGTH)


@pytest.fixture
def source(model, genome, windows):
    return ModelActivations(model, "1", genome, windows, batch_size=3)

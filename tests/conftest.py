"""What several test modules share: where the outside data and programs are."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine must not fail a property for being slow; pytest has its own time-out.
settings.register_profile("saers", deadline=None)
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

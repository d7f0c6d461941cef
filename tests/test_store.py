"""Whole-or-nothing writes, the manifest, and what a killed run leaves."""

import errno
import json

import polars as pl
import pytest

from saers import FormatError, schema
from saers.store import LAYOUT, TABLES, RunStore, atomic_directory, atomic_path


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path):
    target = tmp_path / "table.txt"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


def test_a_full_disk_names_the_file_and_the_way_out(tmp_path):
    target = tmp_path / "table.txt"
    with (
        pytest.raises(OSError, match=r"no space left while writing .*table\.txt") as caught,
        atomic_path(target),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert not target.exists()


def test_a_directory_is_replaced_whole(tmp_path):
    target = tmp_path / "site"
    target.mkdir()
    (target / "stale.html").write_text("old")
    with atomic_directory(target) as temporary:
        (temporary / "index.html").write_text("new")
    assert [p.name for p in target.iterdir()] == ["index.html"]
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_failed_directory_leaves_the_old_one(tmp_path):
    target = tmp_path / "site"
    target.mkdir()
    with pytest.raises(RuntimeError), atomic_directory(target):
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_every_table_round_trips_with_its_schema(tmp_path):
    store = RunStore(tmp_path)
    for name, columns in TABLES.items():
        store.write_table(name, schema.empty(columns))
        assert dict(store.read_table(name).schema) == dict(columns)


def test_a_table_without_a_column_is_named(tmp_path):
    store = RunStore(tmp_path)
    store.path("stats").write_bytes(b"not parquet")
    with pytest.raises(FormatError, match=r"stats\.parquet"):
        store.read_table("stats")
    pl.DataFrame({"channel": [0]}).write_parquet(store.path("stats"))
    with pytest.raises(FormatError, match=r"stats\.parquet: stats: missing columns"):
        store.read_table("stats")


def test_a_missing_table_says_that_its_stage_has_not_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="has not run"):
        RunStore(tmp_path).read_table("stats")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 1}', '{"version": 99, "stages": {}}', "\x00"]
)
def test_a_corrupt_manifest_names_the_file_and_the_way_out(tmp_path, text):
    store = RunStore(tmp_path)
    store.path("manifest").write_text(text)
    with pytest.raises(FormatError, match=r"manifest\.json.*move .* away"):
        store.read_manifest()


def test_a_manifest_round_trips(tmp_path):
    store = RunStore(tmp_path)
    assert store.read_manifest() == {}
    store.write_manifest({"stats": {"seconds": 1.5}})
    assert store.read_manifest() == {"stats": {"seconds": 1.5}}
    assert json.loads(store.path("manifest").read_text())["version"] == 1


def test_one_writer_at_a_time(tmp_path):
    with (
        RunStore(tmp_path).locked(),
        pytest.raises(BlockingIOError, match="another saers is working in"),
        RunStore(tmp_path).locked(),
    ):
        pass


def test_leftovers_of_a_killed_run_are_swept(tmp_path):
    store = RunStore(tmp_path)
    (tmp_path / ".saers-tmp-x.parquet").write_text("half")
    (tmp_path / ".saers-tmp-y").mkdir()
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / ".saers-tmp-z.h5").write_text("half")
    with store.locked():
        assert not list(tmp_path.rglob(".saers-tmp-*"))


def test_no_two_artefacts_share_a_place():
    assert len(set(LAYOUT.values())) == len(LAYOUT)

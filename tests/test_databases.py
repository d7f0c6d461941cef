"""saers.motifs.databases: JASPAR by name is JASPAR's own file, and wrong names are helped."""

import functools
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import polars as pl
import pytest

from saers import FormatError
from saers.motif import Motif, read_motifs, write_motifs
from saers.motifs.databases import DEFAULT, database_names, families, load_database, with_families
from saers.motifs.library import add_database, added


@pytest.mark.data
@pytest.mark.parametrize("name", ["JASPAR2024_CORE_vertebrates", "JASPAR2026_CORE_vertebrates"])
def test_jaspar_by_name_equals_its_meme_file(data, name):
    by_name = load_database(name)
    by_path = read_motifs(data / "motifdb" / f"{name}_nr.meme.gz")
    assert [(m.id, m.name, m.n_sites) for m in by_name] == [
        (m.id, m.name, m.n_sites) for m in by_path
    ]
    for ours, theirs in zip(by_name, by_path, strict=True):
        np.testing.assert_array_equal(ours.matrix, theirs.matrix)


def test_all_taxa_hold_each_group_and_the_latest_versions_only():
    every = [motif.id for motif in load_database("JASPAR2024_CORE")]
    bases = [id.split(".")[0] for id in every]
    assert len(every) == 2346
    assert bases == sorted(set(bases))
    assert {motif.id for motif in load_database("JASPAR2024_CORE_plants")} <= set(every)


def test_the_default_is_known_and_every_listed_name_loads():
    names = database_names()
    assert DEFAULT in names
    assert len(load_database(names[0])) > 100


def test_a_path_is_read_as_a_file(tmp_path):
    path = tmp_path / "own.meme"
    write_motifs([Motif("mine", "", [[1, 0, 0, 0]])], path)
    assert [motif.id for motif in load_database(path)] == ["mine"]
    assert [motif.id for motif in load_database(str(path))] == ["mine"]


@pytest.mark.parametrize(
    "name, hint",
    [
        ("JASPAR2024_CORE_vertebrate", "'JASPAR2024_CORE_vertebrates'"),
        ("JASPAR2025_CORE_vertebrates", "JASPAR202"),
        ("JASPAR2024_CORE_", "'JASPAR2024_CORE'"),
        ("JASPAR2024", "'JASPAR2024_CORE'"),
        ("", "neither a file nor one of"),
        ("motifs/none.meme", "neither a file nor one of"),
    ],
)
def test_a_wrong_name_lists_the_known_ones_and_the_nearest(name, hint):
    with pytest.raises(ValueError, match="neither a file nor one of JASPAR2014") as caught:
        load_database(name)
    assert hint in str(caught.value)


def test_loading_imports_neither_pyjaspar_nor_biopython_and_leaves_nothing_open():
    code = (
        "import sys, gc; from saers.motifs.databases import load_database;"
        "load_database('JASPAR2024_CORE_vertebrates'); gc.collect();"
        "assert not {'pyjaspar', 'Bio', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAERS_DATABASES", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_an_added_file_is_known_by_its_name(own_folder, tmp_path):
    path = tmp_path / "own.meme"
    write_motifs([Motif("M1", "one", [[1, 0, 0, 0]]), Motif("M2", "", [[0, 1, 0, 0]])], path)
    (tmp_path / "families.tsv").write_text("# id family\nM1\tbHLH factors\n")
    entry = add_database(path, name="mine", families=tmp_path / "families.tsv")
    path.unlink()
    assert (entry["motifs"], [e["name"] for e in added()]) == (2, ["mine"])
    assert [motif.id for motif in load_database("mine")] == ["M1", "M2"]
    matches = with_families(pl.DataFrame({"target_id": ["M2", "M1"]}), "mine")
    assert matches["family"].to_list() == [None, "bHLH factors"]
    with pytest.raises(ValueError, match="did you mean 'mine'"):
        load_database("mine2")


def test_ids_that_are_repeated_are_named_when_a_file_is_added(own_folder, tmp_path):
    path = tmp_path / "own.meme"
    motifs = [Motif(f"M{i % 7}", str(i), np.eye(4)[[i % 4, 1]]) for i in range(16)]
    write_motifs(motifs, path)
    with pytest.warns(UserWarning, match=r"^mine: 7 ids occur .*: M0, M1, M2, M3, M4, …$"):
        assert add_database(path, name="mine")["motifs"] == 16
    write_motifs([*motifs[:3], motifs[8]], path)
    with pytest.warns(UserWarning, match=r"^mine: 1 ids occur .*: M1$"):
        add_database(path, name="mine")
    assert [motif.name for motif in load_database("mine")] == ["0", "1", "2", "8"]


def test_a_hash_that_differs_leaves_what_was_there(own_folder, tmp_path):
    path = tmp_path / "own.meme"
    write_motifs([Motif("M1", "", [[1, 0, 0, 0]])], path)
    first = add_database(path, name="mine")
    assert add_database(path, name="mine", sha256=first["sha256"].upper()) == first
    write_motifs([Motif("M2", "", [[1, 0, 0, 0]])], path)
    with pytest.raises(ValueError, match=r"own\.meme: expected sha256 .*, found"):
        add_database(path, name="mine", sha256=first["sha256"])
    assert [motif.id for motif in load_database("mine")] == ["M1"]


def test_what_is_no_database_is_not_added(own_folder, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<html>not found</html>\n")
    with pytest.raises(FormatError, match="not a motif file"):
        add_database(path, name="mine")
    path.write_text("MEME version 4\nMOTIF a\nletter-probability matrix: w= 1\n1 0 0 0\n")
    for name in ("", "a/b", "..", "JASPAR1999_CORE"):
        with pytest.raises(ValueError, match="name m"):
            add_database(path, name=name)
    (tmp_path / "families.tsv").write_text("M1 no tab\n")
    with pytest.raises(FormatError, match="line 1: expected an id, a tab and a family"):
        add_database(path, name="mine", families=tmp_path / "families.tsv")
    assert added() == []


def test_an_address_is_fetched_once(own_folder, tmp_path):
    write_motifs([Motif("M1", "", [[1, 0, 0, 0]])], tmp_path / "served.meme")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/served.meme"
        entry = add_database(address, name="served")
        with pytest.raises(ValueError, match="hash of downloaded file"):
            add_database(address, name="wrong", sha256="0" * 64)
        server.shutdown()
    assert entry["source"] == address
    assert [motif.id for motif in load_database("served")] == ["M1"]
    assert [e["name"] for e in added()] == ["served"]


def test_jaspar_tells_the_families_of_its_factors():
    frame = families("JASPAR2024_CORE_vertebrates")
    assert frame["target_id"].is_unique().all()
    assert frame.height > 1000
    assert families("some.meme").is_empty()

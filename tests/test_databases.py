"""saers.motifs.databases: JASPAR by name is JASPAR's own file, and wrong names are helped."""

import subprocess
import sys

import numpy as np
import pytest

from saers.motif import Motif, read_motifs, write_motifs
from saers.motifs.databases import DEFAULT, database_names, load_database


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

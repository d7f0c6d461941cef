"""Tracks have names, assays and measured values; what does not exist is named."""

import h5py
import numpy as np
import polars as pl
import pytest

from saers import FormatError
from saers.tracks import chosen, find, label, read_targets, read_tracks


def test_tracks_of_borzoi_are_read(tmp_path):
    file = tmp_path / "targets.txt"
    file.write_text(
        "\tidentifier\tfile\tdescription\n"
        "0\tCNhs1\ta.bw\tCAGE:liver, adult\n1\tENC1\tb.bw\tDNASE:K562\n"
        "2\tENC2\tc.bw\tCHIP:H3K27ac:heart\n3\tENC3\td.bw\t\n"
    )
    assert read_tracks(file).rows() == [
        ("CNhs1", "CAGE"), ("ENC1", "DNASE"), ("ENC2", "CHIP"), ("ENC3", ""),
    ]  # fmt: skip


def test_a_table_of_numbers_is_read_as_text(tmp_path):
    file = tmp_path / "tracks.tsv"
    file.write_text("assay\tname\nRNA\t7\nRNA\t8\n")
    assert read_tracks(file).rows() == [("7", "RNA"), ("8", "RNA")]


@pytest.mark.parametrize("text", ["a\tb\n1\t2\n", "", "name\n"])
def test_a_table_of_something_else_is_refused(tmp_path, text):
    file = tmp_path / "targets.txt"
    file.write_text(text)
    with pytest.raises(FormatError, match=str(file)):
        read_tracks(file)


def test_names_come_before_numbers():
    tracks = pl.DataFrame({"name": ["1", "0", "x", "x"], "assay": [""] * 4})
    assert find(["0"], tracks) == [1]
    assert find(["2", "x"], tracks) == [2, 3]
    assert find(["7"], None) == [7]


def test_a_track_that_does_not_exist_is_named():
    tracks = pl.DataFrame({"name": ["ENCFF833POA", "ENCFF110QGM"], "assay": ["", ""]})
    with pytest.raises(ValueError, match="no track 'ENCFF833POB' among 2; did you mean 'ENCFF833P"):
        find(["ENCFF833POB"], tracks)
    with pytest.raises(ValueError, match="no track '2' among 2"):
        find(["2"], tracks)
    with pytest.raises(ValueError, match="no track 'liver'; give --tracks to name them"):
        find(["liver"], None)
    assert chosen(None, 2) == [0, 1]
    with pytest.raises(ValueError, match="tracks must have 3 rows, one a track, got 2"):
        label(tracks, 3)


def test_targets_are_read_by_window(tmp_path):
    file, values = tmp_path / "targets.h5", np.arange(30, dtype=np.float16).reshape(5, 2, 3)
    with h5py.File(file, "w") as out:
        out["targets"] = values
    found = list(read_targets(file, [4, 0, 1], 2))
    assert [batch.shape for batch in found] == [(2, 2, 3), (1, 2, 3)]
    np.testing.assert_array_equal(np.concatenate(found), values[[4, 0, 1]])
    with pytest.raises(FormatError, match="holds 5 windows, the run has window 5"):
        next(read_targets(file, [5], 1))
    with h5py.File(file, "w") as out:
        out["targets"] = values[0]
    with pytest.raises(FormatError, match="a dataset 'targets'"):
        next(read_targets(file, [0], 1))
    file.write_text("no HDF5")
    with pytest.raises(FormatError, match="not a readable HDF5 file"):
        next(read_targets(file, [0], 1))

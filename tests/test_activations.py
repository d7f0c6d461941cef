"""saers.activations: caches of saers and the files of SAE-Borzoi."""

import h5py
import numpy as np
import polars as pl
import pytest

from saers import FormatError
from saers.activations import ActivationSource, LayerInfo, open_activations, open_sae_borzoi

LAYER = LayerInfo("conv", channels=3, stride=2, window_lo=1, window_hi=2)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)


@pytest.fixture
def cache(tmp_path, values):
    """A cache of five windows of 12 bp."""
    path = tmp_path / "acts.h5"
    with h5py.File(path, "w") as file:
        file["activations"] = values
        file["mask"] = np.arange(30).reshape(5, 6) % 7 != 0
        file["done"] = [5]
        file.attrs.update(layer="conv", stride=2, window_lo=1, window_hi=2, model="m")
        table = file.create_group("windows")
        table["chrom"] = np.array(["chr1"] * 5, dtype=h5py.string_dtype())
        table["split"] = np.array(["train"] * 4 + ["holdout"], dtype=h5py.string_dtype())
        table["start"] = np.arange(5) * 12
        table["end"] = np.arange(5) * 12 + 12
    return path


@pytest.fixture
def borzoi(tmp_path, values):
    """Two files of SAE-Borzoi's layout; the lines of the BED are shuffled."""
    folder = tmp_path / "borzoi"
    folder.mkdir()
    for chunk, rows in ((0, values[:3]), (11, values[3:])):
        with h5py.File(folder / f"activations_{chunk}.h5", "w") as file:
            file["acts"] = rows.astype(np.float16)
    lines = [(f"chr{i // 3 + 1}", i * 12, i * 12 + 12, i // 3 * 11, i % 3) for i in range(5)]
    write_bed(folder, [lines[i] for i in (3, 0, 4, 2, 1)])
    return folder


def write_bed(folder, lines):
    header = "\t0\t1\t2\tchunk_ind\tinner_ind\n"
    text = "".join(f"{i}\t" + "\t".join(map(str, line)) + "\n" for i, line in enumerate(lines))
    (folder / "train_seqs.bed").write_text(header + text)


def read(source, **options):
    blocks = list(source.blocks(**options))
    return tuple(np.concatenate(part) for part in zip(*blocks, strict=True))


def test_a_cache_gives_back_values_mask_and_windows(cache, values):
    source = open_activations(cache)
    assert isinstance(source, ActivationSource)
    assert (source.layer, source.n_positions) == (LAYER, 6)
    windows, found, mask = read(source)
    assert windows.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(found, values)
    assert np.array_equal(mask, np.arange(30).reshape(5, 6) % 7 != 0)
    assert source.windows.row(4) == (4, "chr1", 48, 60, "holdout")


def test_windows_come_in_the_order_asked_for(cache, values):
    windows, found, _ = read(open_activations(cache), windows=[4, 1, 2])
    assert windows.tolist() == [4, 1, 2]
    assert np.array_equal(found, values[[4, 1, 2]])


def test_blocks_hold_whole_windows_within_a_budget(cache, values, monkeypatch):
    monkeypatch.setattr("saers.activations._BLOCK_BYTES", 2 * values[0].nbytes)
    assert [len(block.windows) for block in open_activations(cache).blocks()] == [2, 2, 1]


def test_a_folder_with_one_cache_is_that_cache(cache):
    assert open_activations(cache.parent).layer == LAYER


def test_an_unfinished_cache_says_how_much_is_there(cache):
    with h5py.File(cache, "r+") as file:
        file["done"][0] = 3
    with pytest.raises(FormatError, match=r"acts\.h5: unfinished, 3 of 5 windows"):
        open_activations(cache)


def test_a_truncated_file_is_named(cache):
    content = cache.read_bytes()
    cache.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"acts\.h5: not a readable HDF5 file"):
        open_activations(cache)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3, 1), (0, 6, 3)])
def test_a_dataset_of_the_wrong_rank_is_refused(cache, shape):
    with h5py.File(cache, "r+") as file:
        del file["activations"]
        file["activations"] = np.zeros(shape, np.float32)
    with pytest.raises(FormatError, match=r"dataset 'activations' must be floats of \(windows"):
        open_activations(cache)


def test_integers_are_no_activations(cache):
    with h5py.File(cache, "r+") as file:
        del file["activations"]
        file["activations"] = np.zeros((5, 6, 3), np.int32)
    with pytest.raises(FormatError, match="must be floats"):
        open_activations(cache)


def test_a_missing_dataset_is_named(cache):
    with h5py.File(cache, "r+") as file:
        del file["activations"]
    with pytest.raises(FormatError, match="no dataset 'activations', has"):
        open_activations(cache)


def test_nan_is_named_with_file_window_position_and_channel(cache):
    with h5py.File(cache, "r+") as file:
        file["activations"][3, 4, 2] = np.nan
    with pytest.raises(FormatError, match=r"acts\.h5: .*nan in window 3, position 4, channel 2"):
        list(open_activations(cache).blocks())


def test_bare_activations_ask_for_coordinates(tmp_path, values):
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["activations"] = values
    with pytest.raises(FormatError, match=r"it lacks layer, stride, .*train_seqs\.bed"):
        open_activations(tmp_path / "bare.h5")


def test_an_empty_folder_is_no_source(tmp_path):
    with pytest.raises(FormatError, match=r"neither train_seqs\.bed nor a single HDF5 file"):
        open_activations(tmp_path)


def test_borzoi_rows_are_found_through_chunk_and_inner_index(borzoi, values):
    source = open_activations(borzoi, layer=LAYER)
    _, found, mask = read(source)
    assert np.array_equal(found, values.astype(np.float16).astype(np.float32))
    assert source.windows["start"].to_list() == [0, 12, 24, 36, 48]
    assert source.windows["chrom"].to_list() == ["chr1"] * 3 + ["chr2"] * 2
    assert np.array_equal(mask, np.tile(LAYER.inside(6, 12), (5, 1)))


def test_the_pad_widens_windows_on_both_sides(borzoi):
    wide = LayerInfo("conv", channels=3, stride=4, window_lo=1, window_hi=2)
    source = open_sae_borzoi(borzoi, layer=wide, pad=6)
    assert source.windows.row(0) == (0, "chr1", -6, 18, "train")


def test_borzois_own_layers_are_known_by_stride_and_channels(tmp_path):
    with h5py.File(tmp_path / "activations_0.h5", "w") as file:
        file.create_dataset("x", (1, 32768, 1056), np.float16, chunks=(1, 64, 1056))
    write_bed(tmp_path, [("chr1", 200_000, 396_608, 0, 0)])
    source = open_sae_borzoi(tmp_path)
    assert source.layer == LayerInfo("conv1d_4", 1056, 16, 67, 82)
    assert source.windows.row(0) == (0, "chr1", 36_160, 560_448, "train")


def test_an_unknown_layer_must_be_stated(borzoi):
    with pytest.raises(FormatError, match=r"none of Borzoi's conv1d_1\.\.5; give the layer"):
        open_activations(borzoi)


def test_a_layer_with_other_channels_is_refused(borzoi):
    with pytest.raises(FormatError, match="3 channels, layer has 4"):
        open_activations(borzoi, layer=LayerInfo("conv", 4, 2, 1, 2))


@pytest.mark.parametrize(
    "line, message",
    [
        (("chr1", 0, 12, 5, 0), r"train_seqs\.bed: line 2: no file .*activations_5\.h5"),
        (("chr1", 0, 12, 0, 3), r"line 2: inner_ind 3 lies outside .*activations_0\.h5 \(3 rows\)"),
        (("chr1", 0, "x", 0, 0), r"train_seqs\.bed: "),
    ],
)
def test_bad_lines_of_the_bed_are_named(borzoi, line, message):
    write_bed(borzoi, [line])
    with pytest.raises(FormatError, match=message):
        open_activations(borzoi, layer=LAYER)


def test_intervals_of_different_lengths_are_refused(borzoi):
    write_bed(borzoi, [("chr1", 0, 12, 0, 0), ("chr1", 0, 14, 0, 1)])
    with pytest.raises(FormatError, match=r"intervals of different lengths \[12, 14\]"):
        open_activations(borzoi, layer=LAYER)


def test_a_bed_without_indices_is_refused(borzoi):
    pl.DataFrame({"0": ["chr1"], "1": [0], "2": [12]}).write_csv(
        borzoi / "train_seqs.bed", separator="\t"
    )
    with pytest.raises(FormatError, match="lacks chunk_ind, inner_ind"):
        open_activations(borzoi, layer=LAYER)


def test_files_of_different_shapes_are_refused(borzoi):
    with h5py.File(borzoi / "activations_11.h5", "w") as file:
        file["acts"] = np.zeros((2, 7, 3), np.float16)
    with pytest.raises(FormatError, match=r"activations_11\.h5: shape \(2, 7, 3\), but"):
        open_activations(borzoi, layer=LAYER)

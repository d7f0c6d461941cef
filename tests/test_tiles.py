import tracemalloc

import h5py
import numpy as np
import polars as pl
import pytest

import saers
from saers import tiles as tiles_module
from saers.layer import ActivationBlock, LayerInfo
from saers.tiles import open_tiles


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of few values, so that small arrays come in many."""
    monkeypatch.setattr(tiles_module, "TILE_VALUES", 64)


def values_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def put_together(tiles):
    whole = np.full((tiles.n_windows, tiles.n_positions, tiles.n_channels), np.nan, np.float32)
    for tile in tiles:
        end = tile.first_position + tile.values.shape[1]
        assert np.isnan(whole[tile.windows, tile.first_position : end]).all()  # seen once
        assert tile.values.flags.c_contiguous
        whole[tile.windows, tile.first_position : end] = tile.values
    return whole


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("shape", [(1, 3, 2), (7, 5, 3), (2, 100, 4), (3, 50, 70)])
@pytest.mark.parametrize("chunks", [None, True, (1, 7, 1), (2, 3, 2)])
def test_every_value_of_a_file_comes_once(tmp_path, shape, chunks):
    values = values_of(shape)
    if isinstance(chunks, tuple):
        chunks = tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=chunks)
    with open_tiles(tmp_path / "a.h5") as tiles:
        np.testing.assert_array_equal(put_together(tiles), values)
    with open_tiles(values) as tiles:
        np.testing.assert_array_equal(put_together(tiles), values)


@pytest.mark.usefixtures("small_tiles")
def test_tiles_are_small_and_end_where_chunks_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values_of((2, 100, 4)), chunks=(1, 5, 4))
    with open_tiles(tmp_path / "a.h5") as tiles:
        read = list(tiles)
    assert all(tile.values.size <= 64 for tile in read)
    assert all(tile.first_position % 5 == 0 for tile in read)


def test_rank_two_is_one_window():
    values = values_of((9, 4))
    with open_tiles(values) as tiles:
        assert (tiles.n_windows, tiles.n_positions, tiles.n_channels) == (1, 9, 4)
        np.testing.assert_array_equal(put_together(tiles)[0], values)


def test_the_dataset_called_activations_comes_before_the_first(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["aaa"], file["activations"] = np.zeros((1, 1, 1)), np.ones((1, 2, 3))
    with open_tiles(tmp_path / "a.h5") as tiles:
        assert tiles.n_channels == 3
    with open_tiles(tmp_path / "a.h5", dataset="aaa") as tiles:
        assert tiles.n_channels == 1


def test_half_precision_integers_and_doubles_come_as_single_precision(tmp_path):
    for kind in ("float16", "int8", "float64"):
        with open_tiles(np.arange(6).reshape(3, 2).astype(kind)) as tiles:
            (tile,) = tiles
        assert tile.values.dtype == np.float32
        np.testing.assert_array_equal(tile.values.ravel(), np.arange(6))


def test_a_source_of_activations_brings_its_mask():
    class Source:
        layer = LayerInfo("conv", 2, 1, 0, 0)
        windows = pl.DataFrame({"window": [4]})
        n_positions = 3

        def blocks(self, *, windows=None):
            mask = np.array([[True, False, True]])
            yield ActivationBlock(np.array([4]), np.ones((1, 3, 2), np.float32), mask)

    with open_tiles(Source()) as tiles:
        (tile,) = tiles
    assert tile.windows.tolist() == [4]
    assert tile.mask.tolist() == [[True, False, True]]


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2, 2), ()])
def test_a_wrong_rank_names_file_and_dataset(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["acts"] = np.zeros(shape)
    with (
        pytest.raises(ValueError, match=r"a\.h5: dataset '/acts' must have rank 2"),
        open_tiles(tmp_path / "a.h5"),
    ):
        pass


def test_what_holds_no_numbers_or_channels_is_refused():
    with pytest.raises(ValueError, match="must hold numbers"), open_tiles(np.full((2, 2), "a")):
        pass
    with pytest.raises(ValueError, match="no channels"), open_tiles(np.zeros((2, 0))):
        pass


def test_an_unknown_dataset_is_named_with_the_nearest(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["activations"] = np.zeros((1, 1))
        file.create_group("group")
    message = r"a\.h5: no dataset 'activation', has activations; did you mean 'activations'\?"
    with (
        pytest.raises(ValueError, match=message),
        open_tiles(tmp_path / "a.h5", dataset="activation"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="no dataset 'group'"),
        open_tiles(tmp_path / "a.h5", dataset="group"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="dataset names a dataset"),
        open_tiles(np.zeros((1, 1)), dataset="x"),
    ):
        pass


def test_a_file_without_datasets_is_a_format_error(tmp_path):
    h5py.File(tmp_path / "a.h5", "w").close()
    with (
        pytest.raises(saers.FormatError, match=r"a\.h5: no dataset"),
        open_tiles(tmp_path / "a.h5"),
    ):
        pass


def test_damaged_and_missing_files_are_named(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(FileNotFoundError, match=r"a\.h5"), open_tiles(path):
        pass
    path.write_text("not HDF5")
    with (
        pytest.raises(saers.FormatError, match=r"a\.h5: not a readable HDF5 file"),
        open_tiles(path),
    ):
        pass
    with h5py.File(path, "w") as file:
        file["x"] = values_of((10, 100, 10))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(saers.FormatError, match=r"a\.h5: .*truncated"), open_tiles(path):
        pass


def test_a_chunk_that_cannot_be_decompressed_names_its_place(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "x", data=values_of((2, 64, 8)), chunks=(1, 64, 8), compression="gzip"
        )
        chunk = made.id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * (chunk.size // 2))
    with (
        pytest.raises(saers.FormatError, match=r"a\.h5: chunk at window 1, position 0, channel 0"),
        open_tiles(path) as tiles,
    ):
        list(tiles)


def test_a_long_file_is_read_in_the_memory_of_a_few_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles_module, "TILE_VALUES", 2**16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        ones = np.ones((2, 100_000, 16), dtype=np.float16)
        file.create_dataset("x", data=ones, chunks=(1, 512, 16))
    saers.channel_stats(np.ones((2, 1)))  # imports before memory is counted
    saers.top_positions(np.ones((2, 1)), 1)
    tracemalloc.start()
    try:
        stats = saers.channel_stats(tmp_path / "a.h5")
        top = saers.top_positions(tmp_path / "a.h5", 4, min_distance=30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stats["count"].to_list() == [200_000] * 16
    assert top["position"].to_list() == [0, 30, 60, 90] * 32
    assert peak < 4 * 4 * 2**16  # the file holds 12.8 MB as float32

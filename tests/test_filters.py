"""Chunks decoded by the core against the HDF5 library and its plugins."""

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saers import _core

DTYPES = ["f2", "f4", "f8", "u1", "i2", "c16"]
SIZES = [1, 7, 8, 1009, 4096, 70_001]
"""Elements; below and above the blocks of the filters, mostly no multiple of anything."""

BLOSC = ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"]
FILTERS = {
    "none": {},
    "shuffle": {"shuffle": True},
    "fletcher32": {"fletcher32": True},
    "gzip": {"compression": "gzip"},
    "gzip 6, shuffle": {"compression": "gzip", "compression_opts": 6, "shuffle": True},
    "gzip, shuffle, fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "lzf, shuffle, fletcher32": {"compression": "lzf", "shuffle": True, "fletcher32": True},
    "lz4": hdf5plugin.LZ4(),
    "lz4, blocks of 1000": hdf5plugin.LZ4(nbytes=1000),
    "lz4, shuffle": {"shuffle": True, **hdf5plugin.LZ4()},
    "zstd": hdf5plugin.Zstd(),
    "zstd 9, shuffle, fletcher32": {
        "shuffle": True,
        "fletcher32": True,
        **hdf5plugin.Zstd(clevel=9),
    },
}
for codec in ("none", "lz4", "zstd"):
    for block in (0, 8, 64, 1024):
        bitshuffle = hdf5plugin.Bitshuffle(nelems=block, cname=codec)
        FILTERS[f"bitshuffle {codec}, blocks of {block}"] = bitshuffle
for codec in BLOSC:
    for shuffle in (0, 1, 2):
        FILTERS[f"blosc {codec}, shuffle {shuffle}"] = hdf5plugin.Blosc(codec, 5, shuffle)
for level in (0, 1, 9):
    FILTERS[f"blosc lz4 {level}"] = hdf5plugin.Blosc("lz4", level, 1)


def activations(dtype, size, seed=0):
    """Values half of which are 0, some of them repeated."""
    values = np.maximum(np.random.default_rng(seed).standard_normal(size), 0) * 20
    values[size // 3 : size // 2] = 3
    return values.astype(dtype)


def stored(values, filters):
    """The filters of a dataset, and its only chunk with its mask, as HDF5 writes them."""
    with h5py.File.in_memory() as file:
        dataset = file.create_dataset("x", data=values, chunks=values.shape, **filters)
        mask, chunk = dataset.id.read_direct_chunk((0,) * values.ndim)
        return pipeline(dataset), mask, chunk


def pipeline(dataset):
    listed = dataset.id.get_create_plist()
    found = [listed.get_filter(place) for place in range(listed.get_nfilters())]
    return [(number, list(values)) for number, _, values, _ in found]


def decode(chunk, filters, mask, values):
    return _core.decode_chunk(chunk, filters, mask, values.nbytes, values.itemsize)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_decode_to_what_was_written(name, dtype):
    for size in SIZES:
        values = activations(dtype, size)
        filters, mask, chunk = stored(values, FILTERS[name])
        assert decode(chunk, filters, mask, values) == values.tobytes(), (size, mask)


@pytest.mark.parametrize("name", FILTERS)
def test_noise_that_no_filter_shrinks_comes_back(name):
    values = np.random.default_rng(1).integers(0, 256, 30_000, dtype="u1").view("f4")
    filters, mask, chunk = stored(values, FILTERS[name])
    assert decode(chunk, filters, mask, values) == values.tobytes()


@pytest.mark.parametrize("name", ["gzip 6, shuffle", "lzf, shuffle, fletcher32", "zstd"])
def test_rows_of_channels_in_partial_chunks_come_back(name):
    values = activations("f4", 3 * 100 * 19).reshape(3, 100, 19)
    with h5py.File.in_memory() as file:
        dataset = file.create_dataset("x", data=values, chunks=(1, 64, 19), **FILTERS[name])
        for chunk in range(dataset.id.get_num_chunks()):
            info = dataset.id.get_chunk_info(chunk)
            mask, packed = dataset.id.read_direct_chunk(info.chunk_offset)
            raw = _core.decode_chunk(packed, pipeline(dataset), mask, 64 * 19 * 4, 4)
            window, row, _ = info.chunk_offset
            rows = values[window, row : row + 64]
            assert raw[: rows.nbytes] == rows.tobytes()


@pytest.mark.parametrize("mask", range(8))
def test_filters_in_the_mask_were_not_applied(mask, tmp_path):
    values = activations("f4", 1009)
    options = {"shuffle": True, "compression": "gzip", "fletcher32": True}
    left = {name: on for bit, (name, on) in enumerate(options.items()) if not mask >> bit & 1}
    _, _, chunk = stored(values, left)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", values.shape, "f4", chunks=values.shape, **options)
        dataset.id.write_direct_chunk((0,), chunk, mask)
    with h5py.File(tmp_path / "x.h5") as file:  # a mask just written is not seen by HDF5 2.0
        dataset = file["x"]
        np.testing.assert_array_equal(dataset[:], values)
        assert dataset.id.get_chunk_info(0).filter_mask == mask
        assert decode(chunk, pipeline(dataset), mask, values) == values.tobytes()


def test_a_sum_with_its_bytes_swapped_is_taken_as_hdf5_takes_it():
    values = activations("f4", 1009)
    filters, mask, chunk = stored(values, {"fletcher32": True})
    swapped = chunk[:-4] + chunk[-3:-2] + chunk[-4:-3] + chunk[-1:] + chunk[-2:-1]
    with h5py.File.in_memory() as file:
        options = {"fletcher32": True, "chunks": values.shape}
        dataset = file.create_dataset("x", values.shape, "f4", **options)
        dataset.id.write_direct_chunk((0,), swapped, 0)
        np.testing.assert_array_equal(dataset[:], values)
    assert decode(swapped, filters, mask, values) == values.tobytes()
    with pytest.raises(_core.FormatError, match="fletcher32"):
        decode(chunk[:-4] + chunk[:-5:-1], filters, mask, values)


@pytest.mark.parametrize("size", [1, 2, 3, 500, 8191, 8192, 8193, 65_537])
@pytest.mark.parametrize("fill", [0, 255])
def test_sums_of_even_and_odd_sizes_and_of_extremes_agree(size, fill):
    for values in (np.full(size, fill, "u1"), activations("u1", size)):
        filters, mask, chunk = stored(values, {"fletcher32": True})
        assert decode(chunk, filters, mask, values) == values.tobytes()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(list(FILTERS)), st.data())
def test_a_damaged_chunk_is_an_error_or_has_its_size(name, data):
    values = activations(data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 3000)))
    filters, mask, chunk = stored(values, FILTERS[name])
    chunk = bytearray(chunk[: data.draw(st.integers(0, len(chunk)))])
    for _ in range(data.draw(st.integers(0, 4)) if chunk else 0):
        place = data.draw(st.integers(0, min(len(chunk), 64) - 1) | st.integers(0, len(chunk) - 1))
        chunk[place] ^= data.draw(st.integers(1, 255))
    try:
        raw = decode(bytes(chunk), filters, mask, values)
    except _core.FormatError:
        return
    assert len(raw) == values.nbytes


def test_a_chunk_of_another_size_is_an_error():
    values = activations("f4", 1000)
    for filters in FILTERS.values():
        listed, mask, chunk = stored(values, filters)
        for size in (0, 3999, 4001):
            with pytest.raises(_core.FormatError):
                _core.decode_chunk(chunk, listed, mask, size, 4)


def test_a_filter_that_is_not_known_is_named():
    with pytest.raises(ValueError, match="id: 4"):
        _core.decode_chunk(b"", [(4, [])], 0, 0, 4)

"""HDF5 files of any layout give the numbers that h5py gives; broken ones give FormatError."""

import logging
import os
import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest

import saers
from saers import _core, hdf5
from saers.hdf5 import locate, read_ahead

FILTERS = [
    {},
    {"compression": "gzip", "compression_opts": 1},
    {"compression": "gzip", "compression_opts": 9, "shuffle": True},
    {"compression": "lzf"},
    {"compression": "lzf", "shuffle": True, "fletcher32": True},
    {"shuffle": True},
    {"fletcher32": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True},
    dict(hdf5plugin.LZ4()),
    dict(hdf5plugin.LZ4(nbytes=64)),
    dict(hdf5plugin.Zstd(clevel=2)),
    {**hdf5plugin.Zstd(), "shuffle": True},
    dict(hdf5plugin.Bitshuffle(cname="none")),
    dict(hdf5plugin.Bitshuffle(cname="lz4")),
    dict(hdf5plugin.Bitshuffle(cname="zstd", nelems=64)),
    *(
        dict(hdf5plugin.Blosc(cname=name, clevel=5, shuffle=shuffle))
        for name in ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
        for shuffle in (0, 1, 2)
    ),
]
DTYPES = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


def values_of(rng, shape, dtype):
    """Numbers of many kinds: zeros, infinities, NaN, whole and broken ones."""
    values = rng.normal(size=shape).round(rng.integers(0, 5))
    values[rng.random(shape) < rng.choice([0, 0.5, 1])] = 0
    if rng.random() < 0.1:
        values[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    return values.astype(dtype)


def create(file, rng):
    """One dataset of a random layout; some of its chunks may never be written."""
    shape = tuple(int(n) for n in rng.integers(1, [4, 50, 12]))
    dtype = rng.choice(DTYPES)
    if rng.random() < 0.15:
        shape = shape[1:]
    options = {}
    if rng.random() < 0.9:
        options = dict(FILTERS[rng.integers(len(FILTERS))])
        options["chunks"] = tuple(int(rng.integers(1, n + 1)) for n in shape)
        options["maxshape"] = tuple(None if rng.random() < 0.2 else n for n in shape)
    if rng.random() < 0.3:
        options["fillvalue"] = float(rng.integers(-3, 4))
    made = file.create_dataset("x", shape, dtype, **options)
    last = shape[0] if rng.random() < 0.7 else int(rng.integers(0, shape[0] + 1))
    if last:
        made[:last] = values_of(rng, shape, dtype)[:last]
    if made.chunks and options.keys() >= {"chunks", "shuffle"} and last:
        leave_filters_out(made, rng)
    return made


def leave_filters_out(made, rng):
    """Write one chunk again, uncompressed, with all filters masked."""
    place = (0,) * made.ndim
    raw = rng.normal(size=made.chunks).astype(made.dtype).tobytes()
    count = made.id.get_create_plist().get_nfilters()
    made.id.write_direct_chunk(place, raw, filter_mask=2**count - 1)


@pytest.mark.parametrize("seed", range(20))
def test_random_layouts_give_the_numbers_of_h5py(tmp_path, seed):
    for number in range(50):
        rng = np.random.default_rng([seed, number])
        path = tmp_path / f"{number}.h5"
        userblock = int(rng.choice([0, 0, 512, 1024]))
        with h5py.File(path, "w", userblock_size=userblock) as file:
            create(file, rng)
        with h5py.File(path) as file:
            stored = file["x"]
            with np.errstate(over="ignore"):
                expected = stored[()].astype(np.float32)
            expected = expected.reshape(-1, *expected.shape[-2:])
            found = locate(stored)
            assert found is not None, (seed, number, stored.id.get_create_plist().get_nfilters())
        for threads in (1, 2):
            out = np.full_like(expected, 7)
            found.read((0, out.shape[0]), (0, out.shape[1]), out, threads)
            np.testing.assert_array_equal(out, expected)
        windows, positions = (np.sort(rng.integers(0, n + 1, 2)) for n in out.shape[:2])
        part = np.empty((*map(int, [np.ptp(windows), np.ptp(positions)]), out.shape[2]), "f4")
        found.read(tuple(map(int, windows)), tuple(map(int, positions)), part)
        np.testing.assert_array_equal(part, expected[slice(*windows), slice(*positions)])
        path.unlink()


@pytest.fixture
def bfloat16():
    """The type under which others store bfloat16."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def test_bfloat16_is_read_as_hdf5_reads_it(tmp_path, bfloat16):
    bits = np.arange(2**16, dtype=np.uint16).reshape(1, 256, 256)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(bits.shape)
        made = h5py.h5d.create(file.id, b"x", bfloat16, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, bits, mtype=bfloat16)
    with h5py.File(tmp_path / "a.h5") as file:
        out = np.empty(bits.shape, np.float32)
        _core.Dataset.read(locate(file["x"]), (0, 1), (0, 256), out)
        np.testing.assert_array_equal(out, (bits.astype(np.uint32) << 16).view(np.float32))


def one_line(caplog):
    (record,) = caplog.records
    assert "is read through h5py, one chunk at a time" in record.message
    return record.message


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32)


def statistics(source):
    return saers.channel_stats(source).rows()


def test_what_lies_in_other_files_goes_through_h5py(tmp_path, values, caplog):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    layout = h5py.VirtualLayout(values.shape, "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "a.h5", "x", values.shape)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    assert statistics(tmp_path / "b.h5") == statistics(values)
    assert "other files" in one_line(caplog)


def test_external_storage_goes_through_h5py(tmp_path, values, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", data=values, external=[("raw.bin", 0, values.nbytes)])
    assert statistics("a.h5") == statistics(values)
    assert "other files" in one_line(caplog)


def test_an_unknown_filter_goes_through_h5py(tmp_path, values, caplog):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(1, 5, 4), scaleoffset=3)
    with h5py.File(tmp_path / "a.h5") as file:
        expected = statistics(file["x"][()])
    assert statistics(tmp_path / "a.h5") == expected
    assert "filters" in one_line(caplog)


def test_integers_go_through_h5py(tmp_path, caplog):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    assert statistics(tmp_path / "a.h5") == statistics(values)
    assert "int16" in one_line(caplog)


def test_a_file_that_is_open_for_writing_goes_through_h5py(tmp_path, values, caplog):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(1, 20, 4))
        assert statistics(file["x"]) == statistics(values)
    assert "open for writing" in one_line(caplog)


def test_a_file_in_memory_goes_through_h5py(values, caplog):
    with h5py.File("a.h5", "w", driver="core", backing_store=False) as file:
        file["x"] = values
        assert statistics(file["x"]) == statistics(values)
    assert len(caplog.records) == 1


def test_compact_and_empty_datasets_need_no_word(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((1, 3, 2))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, layout)
        file["compact"][()] = np.arange(6).reshape(1, 3, 2)
        file.create_dataset("empty", (0, 3, 2), "f4", chunks=(1, 3, 2), maxshape=(None, 3, 2))
        file.create_dataset("never", (2, 3, 2), "f4", fillvalue=4)
    compact = saers.channel_stats(tmp_path / "a.h5", dataset="compact")
    assert compact["max"].to_list() == [4, 5]
    assert saers.channel_stats(tmp_path / "a.h5", dataset="empty")["count"].to_list() == [0, 0]
    assert saers.channel_stats(tmp_path / "a.h5", dataset="never")["mean"].to_list() == [4, 4]
    assert not caplog.records


def test_a_sample_that_differs_sends_the_file_through_h5py(tmp_path, values, caplog, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    monkeypatch.setattr(hdf5, "read_rows", lambda *_: np.zeros((20, 4), np.float32))
    with h5py.File(tmp_path / "a.h5") as file:
        assert locate(file["x"]) is None
    assert "sampled" in one_line(caplog)


def test_filters_that_hdf5_lacks_here_are_undone_all_the_same(tmp_path, values):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(1, 7, 3), **hdf5plugin.LZ4())
    # A process that never heard of hdf5plugin.
    script = "import sys, saers; print(saers.channel_stats(sys.argv[1])['max'].to_list())"
    found = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.h5"], capture_output=True, text=True
    )
    assert found.stdout.strip() == str([float(v) for v in values.max((0, 1))]), found.stderr


def test_known_layouts_are_not_read_through_h5py(tmp_path, values, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(1, 7, 3), compression="gzip")
    monkeypatch.setattr("saers.tiles._slices", None)
    assert saers.channel_stats(tmp_path / "a.h5")["max"].to_list() == values.max((0, 1)).tolist()
    top = saers.top_positions(tmp_path / "a.h5", 1)
    assert top["value"].to_list() == values.max(1).ravel().tolist()


def test_several_files_make_one_source(tmp_path, values):
    for number, part in enumerate((values[:1], values[1:])):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["x"] = part
    paths = [tmp_path / "0.h5", str(tmp_path / "1.h5")]
    assert saers.channel_stats(paths)["max"].to_list() == values.max((0, 1)).tolist()
    assert saers.top_positions(paths, 2).equals(saers.top_positions(values, 2))
    with h5py.File(tmp_path / "2.h5", "w") as file:
        file["x"] = values[:, :-1]
    with pytest.raises(saers.FormatError, match=r"2\.h5.*must have the same positions"):
        saers.channel_stats([*paths, tmp_path / "2.h5"])


def test_the_mask_of_our_own_files_is_respected(tmp_path, values, monkeypatch):
    mask = np.random.default_rng(1).random(values.shape[:2]) < 0.7
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["activations"], file["mask"] = values, mask
    monkeypatch.setattr("saers.tiles._MASK_BYTES", 45)  # two windows at a time
    kept = saers.channel_stats(tmp_path / "a.h5")
    assert kept["max"].to_list() == values[mask].max(0).tolist()
    assert kept["count"].to_list() == [mask.sum()] * 4
    top = saers.top_positions(tmp_path / "a.h5", 20)
    taken = set(zip(top["window"], top["position"], strict=True))
    assert taken == set(zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True))


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, values):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = values
    with h5py.File(path) as file:
        found = locate(file["x"])
    os.truncate(path, 2100)
    with pytest.raises(saers.FormatError, match=r"a\.h5: byte \d+: the file ends"):
        found.read((0, 3), (0, 20), np.empty((3, 20, 4), np.float32))


@pytest.mark.parametrize("filters", [FILTERS[2], FILTERS[4], *FILTERS[9:14], FILTERS[16]])
def test_mutated_files_give_numbers_or_a_format_error(tmp_path, filters):
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        values = values_of(rng, (2, 40, 5), "f4")
        file.create_dataset("x", data=values, chunks=(1, 16, 5), **filters)
    good = path.read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(250):
        broken = bytearray(good)
        kind = rng.integers(3)
        if kind == 0:
            broken = broken[: rng.integers(len(broken))]
        for place in rng.integers(len(good), size=kind * 4):
            if place < len(broken):
                broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            assert saers.channel_stats(path, allow_nan=True).height > 0
            outcomes["read"] += 1
        except (saers.FormatError, ValueError):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0


def test_a_chunk_table_that_points_past_the_end_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(bytes(100))
    first = np.zeros((1, 3), np.uint64)
    for offset, size in [(90, 11), (2**64 - 1, 2), (0, 2**64 - 1)]:
        table = first, np.array([offset], "u8"), np.array([size], "u8"), np.zeros(1, "u4")
        with pytest.raises(saers.FormatError, match=r"a\.h5: chunk at window 0"):
            _core.Dataset(tmp_path / "a.h5", (1, 4, 4), "<f4", chunked=((1, 4, 4), [], table))


def test_reading_ahead_keeps_the_order_and_the_errors():
    def read(part):
        if part == 3:
            raise saers.FormatError("broken")
        return part

    seen = []
    with pytest.raises(saers.FormatError, match="broken"):
        seen.extend(read_ahead(read, range(5)))
    assert list(read_ahead(read, [])) == []
    assert list(read_ahead(read, [1, 2])) == [1, 2]

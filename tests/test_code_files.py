import h5py
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import saers
from saers import code_files as module
from saers import code_tracks, schema
from saers.code_files import (
    Places,
    feature_track,
    index_codes,
    read_codes,
    read_places,
    write_codes,
)
from saers.codes import Codes
from saers.layer import LayerInfo


def random_codes(shape, n_features, seed=0):
    rng = np.random.default_rng(seed)
    return Codes(rng.integers(0, n_features, shape), rng.random(shape).astype(np.float32))


@pytest.mark.parametrize("n_features, width", [(65_536, "uint16"), (65_537, "uint32")])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_codes_come_back_from_their_file(tmp_path, monkeypatch, n_features, width, dtype):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 100)
    codes = random_codes((7, 20, 3), n_features)
    path = tmp_path / "deep" / "codes.h5"
    with write_codes(path, n_features=n_features, n_positions=20, k=3, dtype=dtype) as writer:
        writer.append([5, 3], Codes(codes.indices[:2], codes.values[:2]))
        writer.append(np.arange(10, 15), Codes(codes.indices[2:], torch.tensor(codes.values[2:])))
    with h5py.File(path) as file:
        assert file["indices"].dtype == width
        assert file["values"].dtype == dtype
    blocks = list(read_codes(path))
    assert len(blocks) > 1
    assert np.concatenate([windows for windows, _ in blocks]).tolist() == [5, 3, *range(10, 15)]
    np.testing.assert_array_equal(np.concatenate([c.indices for _, c in blocks]), codes.indices)
    values = np.concatenate([c.values for _, c in blocks])
    np.testing.assert_allclose(values, codes.values, rtol=1e-3 if dtype == "float16" else 0)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "codes.h5"
    with write_codes(path, n_features=9, n_positions=2, k=1) as writer:
        writer.append([0], random_codes((1, 2, 1), 9))
    before = path.read_bytes()

    def write_and_fail():
        with write_codes(path, n_features=9, n_positions=2, k=1) as writer:
            writer.append([1], random_codes((1, 2, 1), 9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "codes, message",
    [
        (random_codes((1, 2, 2), 9), r"codes must be \(1, 2, 1\)"),
        (Codes(np.full((1, 2, 1), 9), np.ones((1, 2, 1))), r"indices must lie in 0\.\.8"),
        (Codes(np.zeros((1, 2, 1), int), np.full((1, 2, 1), 1e5)), "values must fit in float16"),
    ],
)
def test_codes_that_do_not_fit_are_refused(tmp_path, codes, message):
    with (
        pytest.raises(ValueError, match=message),
        write_codes(tmp_path / "codes.h5", n_features=9, n_positions=2, k=1) as writer,
    ):
        writer.append([0], codes)
    assert not (tmp_path / "codes.h5").exists()


def test_other_files_are_no_codes(tmp_path):
    path = tmp_path / "codes.h5"
    with pytest.raises(FileNotFoundError, match="codes: no file at"):
        next(read_codes(path))
    path.write_text("ACGT")
    with pytest.raises(saers.FormatError, match=r"codes\.h5: no readable file of codes"):
        next(read_codes(path))
    with h5py.File(path, "w") as file:
        file["windows"], file["indices"], file["values"] = [0], [[[1]]], [[1.0]]
    with pytest.raises(saers.FormatError, match="do not fit together"):
        next(read_codes(path))


def write(path, windows, codes, *, n_features=9, blocks=(), **options):
    """Write codes in blocks that end at some rows."""
    n, n_positions, k = codes.values.shape
    options = {"n_features": n_features, "n_positions": n_positions, "k": k, **options}
    with write_codes(path, **options) as writer:
        for first, last in zip((0, *blocks), (*blocks, n), strict=True):
            part = slice(first, last)
            writer.append(windows[part], Codes(codes.indices[part], codes.values[part]))


def dense_track(path, feature):
    """The definition: read all codes and look for the feature."""
    rows = []
    for windows, codes in read_codes(path):
        for window, indices, values in zip(windows, codes.indices, codes.values, strict=True):
            for position, entries in enumerate(zip(indices, values, strict=True)):
                for number, strength in zip(*entries, strict=True):
                    if number == feature and strength > 0:
                        rows.append((window, position, strength))
    return pl.DataFrame(rows, schema=dict(schema.FEATURE_TRACK), orient="row")


value = st.sampled_from([0.0, 0.0, -1.0, 1e-9, 0.5, 3.0]) | st.floats(0, 60_000, width=16)


@settings(max_examples=30)
@given(
    arrays.arrays(np.int64, (5, 4, 3), elements=st.integers(0, 8)),
    arrays.arrays(np.float32, (5, 4, 3), elements=value.map(np.float32)),
    st.sampled_from([1, 24, 30, 1000]),
    st.sampled_from([(), (1,), (2, 3)]),
    st.sampled_from(["float16", "float32"]),
)
def test_tracks_are_those_of_the_dense_scan(
    tmp_path_factory, indices, values, block_values, blocks, dtype
):
    path = tmp_path_factory.mktemp("codes") / "codes.h5"
    windows = [7, 3, 12, 0, 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_tracks, "_BLOCK_VALUES", block_values)
        patch.setattr(code_tracks, "_START_ROWS", 2)
        write(path, windows, Codes(indices, values), blocks=blocks, dtype=dtype)
        other = path.with_name("other.h5")
        write(other, windows, Codes(indices, values), dtype=dtype, index=False)
        scanned = [feature_track(other, feature) for feature in range(9)]
        index_codes(other)
    for feature, scan in enumerate(scanned):
        assert scan.equals(dense_track(path, feature))
        assert feature_track(path, feature).equals(scan)
    with h5py.File(path) as one, h5py.File(other) as two:
        for name in ("starts", "place", "value"):
            np.testing.assert_array_equal(one["by_feature"][name], two["by_feature"][name])


def test_a_track_reads_nothing_of_the_codes_themselves(tmp_path):
    path = tmp_path / "codes.h5"
    write(path, [4], random_codes((1, 50, 3), 9))
    expected = feature_track(path, 5)
    with h5py.File(path, "r+") as file:
        file["values"][:] = 0
    assert feature_track(path, 5).equals(expected)
    assert expected.height > 0
    index_codes(path)  # which is made of the codes as they are now
    assert feature_track(path, 5).is_empty()


def test_a_feature_that_does_not_exist_has_no_track(tmp_path):
    path = tmp_path / "codes.h5"
    write(path, [4], random_codes((1, 5, 2), 9))
    for feature in (-1, 9):
        with pytest.raises(ValueError, match=rf"feature must lie in 0\.\.8, got {feature}"):
            feature_track(path, feature)


def test_a_file_without_windows_has_empty_tracks(tmp_path):
    path = tmp_path / "codes.h5"
    with write_codes(path, n_features=9, n_positions=5, k=2):
        pass
    assert feature_track(path, 0).schema == dict(schema.FEATURE_TRACK)
    assert feature_track(path, 0).is_empty()


def lie(name, change):
    """Make a test's lie about a dataset of the index."""

    def tell(file):
        values = file["by_feature"][name][:]
        del file["by_feature"][name]
        file["by_feature"][name] = change(values)

    return tell


def forget_windows(file):
    for name in ("windows", "indices", "values"):
        file[name].resize(1, axis=0)


def grow_starts(values):
    values[0, 3] = 10**6
    return values


def grow_place(values):
    return np.full_like(values, 10**6)


LIES = {
    "is not that of its 1 windows": forget_windows,
    "is not that of its 4 windows": lie("starts", lambda v: v[:, :-1]),
    "codes.h5: the index by feature": lie("value", lambda v: v[:-1]),
    "feature 2: entries .* to 1000000 of": lie("starts", grow_starts),
    "feature 2: place .* lies beyond the block": lie("place", grow_place),
    "no readable file of codes": lambda file: file["by_feature"].pop("starts"),
    "no readable file of codes: ": lambda file: file["by_feature"].attrs.pop("block"),
    "codes.h5: no readable file": lambda file: file.attrs.pop("n_features"),
    "index by feature is not": lambda file: file["by_feature"].attrs.modify("block", 0),
}


@pytest.mark.parametrize("message", LIES)
def test_an_index_that_lies_is_found_out(tmp_path, monkeypatch, message):
    monkeypatch.setattr(code_tracks, "_BLOCK_VALUES", 120)
    path = tmp_path / "codes.h5"
    write(path, np.arange(4), random_codes((4, 20, 3), 9))
    with h5py.File(path, "r+") as file:
        LIES[message](file)
    with pytest.raises(saers.FormatError, match=message):
        feature_track(path, 2)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_a_format_error(tmp_path, share):
    path = tmp_path / "codes.h5"
    write(path, np.arange(4), random_codes((4, 500, 3), 9))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    for read in (lambda: feature_track(path, 2), lambda: index_codes(path)):
        with pytest.raises(saers.FormatError, match=r"codes\.h5: no readable file of codes"):
            read()


def test_codes_that_name_no_feature_get_no_index(tmp_path):
    path = tmp_path / "codes.h5"
    write(path, [0], random_codes((1, 20, 3), 9), index=False)
    with h5py.File(path, "r+") as file:
        file["indices"][0, 7, 1] = 9
    before = path.read_bytes()
    with pytest.raises(saers.FormatError, match=r"codes\.h5: .*indices must lie in 0\.\.8"):
        index_codes(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_places_come_back_with_the_codes(tmp_path):
    windows = pl.DataFrame(
        {"window": [3, 4], "chrom": ["chr1", "chr2"], "start": [-5, 10], "end": [95, 110]}
    ).with_columns(split=pl.lit("train"))
    places = Places(windows, LayerInfo("conv", 8, stride=2, window_lo=3, window_hi=4))
    path = tmp_path / "codes.h5"
    write(path, [4], random_codes((1, 5, 2), 9), places=places)
    found = read_places(path)
    assert found.layer == places.layer
    assert found.windows.equals(windows)
    write(path, [4], random_codes((1, 5, 2), 9))
    assert read_places(path) is None


def test_places_that_lack_a_column_are_a_format_error(tmp_path):
    path = tmp_path / "codes.h5"
    windows = pl.DataFrame({"window": [0], "chrom": ["c"], "start": [0], "end": [9], "split": [""]})
    places = Places(windows, LayerInfo("conv", 8, 2, 3, 4))
    write(path, [4], random_codes((1, 5, 2), 9), places=places)
    with h5py.File(path, "r+") as file:
        del file["places"]["chrom"]
    with pytest.raises(saers.FormatError, match="no readable file of codes"):
        read_places(path)

import h5py
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import saers
from saers import schema
from saers import tiles as tiles_module
from saers.layer import ActivationBlock, LayerInfo
from saers.stats import stream_stats

FINITE = st.floats(-1e6, 1e6, width=32)
ACTIVATIONS = npst.arrays(
    np.float32, npst.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=FINITE
)


def plain(values):
    """The definitions, by numpy in double precision."""
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return pl.DataFrame(
        {
            "channel": np.arange(flat.shape[1]),
            "max": flat.max(axis=0),
            "min": flat.min(axis=0),
            "mean": flat.mean(axis=0),
            "std": flat.std(axis=0),
            "nonzero": np.count_nonzero(flat, axis=0),
            "count": np.full(flat.shape[1], len(flat)),
            "nan": np.zeros(flat.shape[1]),
        },
        schema=dict(schema.STATS),
    )


def assert_close(found, expected):
    assert found.schema == dict(schema.STATS)
    exact = ["channel", "max", "min", "nonzero", "count"]
    assert found.select(exact).equals(expected.select(exact))
    for name in ("mean", "std"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-7)


@given(ACTIVATIONS)
def test_statistics_are_those_of_numpy(values):
    assert_close(saers.channel_stats(values), plain(values))


@given(ACTIVATIONS, st.data())
def test_any_order_and_merge_gives_the_same(values, data):
    order = data.draw(st.permutations(range(len(values))))
    cut = data.draw(st.integers(0, len(values)))
    one, two = (saers.ChannelStats(values.shape[-1]) for _ in range(2))
    for window in order[:cut]:
        one.update(values[window])
    two.update(values[list(order[cut:])])
    one.merge(two)
    assert_close(one.finish(), plain(values))


@given(ACTIVATIONS, st.data())
def test_masked_rows_do_not_count(values, data):
    mask = data.draw(npst.arrays(np.bool_, values.shape[:2]))
    stats = saers.ChannelStats(values.shape[-1])
    stats.update(values, mask=mask)
    if mask.any():
        assert_close(stats.finish(), plain(values[mask]))
    else:
        assert stats.finish()["count"].sum() == 0
        assert stats.finish()["max"].is_nan().all()


def test_a_small_example_comes_out_by_hand():
    found = saers.channel_stats(np.array([[1.0, 0.0], [3.0, -2.0]]))
    assert found.rows() == [(0, 3.0, 1.0, 2.0, 1.0, 2, 2, 0), (1, 0.0, -2.0, -1.0, 1.0, 1, 2, 0)]


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_files_datasets_and_arrays_agree(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tiles_module, "TILE_VALUES", 2000)
    values = np.random.default_rng(1).normal(size=(3, 500, 7)).astype(kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", data=values, chunks=(1, 64, 7), compression="gzip")
        assert_close(saers.channel_stats(made), plain(values))
    assert_close(saers.channel_stats(tmp_path / "a.h5", dataset="x"), plain(values))
    assert_close(saers.channel_stats(str(tmp_path / "a.h5"), threads=2), plain(values))


def test_the_number_of_threads_does_not_change_a_bit():
    values = np.random.default_rng(2).normal(size=(20_000, 33)).astype(np.float32)
    one, four = (saers.channel_stats(values, threads=n) for n in (1, 4))
    assert one.equals(four)
    with pytest.raises(ValueError, match="threads must be positive, got 0"):
        saers.channel_stats(values, threads=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_value_names_file_window_position_and_channel(tmp_path, bad):
    values = np.zeros((3, 40, 5), dtype=np.float32)
    values[2, 17, 3] = bad
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["acts"] = values
    place = "at window 2, position 17, channel 3"
    with pytest.raises(saers.FormatError, match=rf"a\.h5: .* {place}"):
        saers.channel_stats(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=place):
        saers.channel_stats(values)
    allowed = saers.channel_stats(values, allow_nan=True)
    assert allowed["count"].to_list() == [120, 120, 120, 119, 120]


def test_values_left_out_are_counted():
    stats = saers.ChannelStats(2, allow_nan=True)
    assert stats.first_left_out is None
    stats.update([[1.0, np.nan], [np.inf, 2.0]], windows=[8], first_position=100)
    stats.update([[np.nan, 2.0]])
    assert stats.left_out == (2, 1)
    assert stats.first_left_out == "NaN at window 8, position 100, channel 1"
    assert stats.finish()["max"].to_list() == [1.0, 2.0]


def test_a_double_beyond_single_precision_is_refused():
    with pytest.raises(ValueError, match="inf at window 0, position 1, channel 0"):
        saers.channel_stats(np.array([[1.0], [1e300]]))


def test_the_mask_of_a_source_is_respected():
    class Source:
        layer = LayerInfo("conv", 1, 1, 0, 0)
        windows = pl.DataFrame({"window": [0]})
        n_positions = 2

        def blocks(self, *, windows=None):
            values = np.array([[[np.nan], [2.0]]], dtype=np.float32)
            yield ActivationBlock(np.array([0]), values, np.array([[False, True]]))

    assert saers.channel_stats(Source())["mean"].to_list() == [2.0]


def test_shapes_that_do_not_fit_are_refused():
    stats = saers.ChannelStats(2)
    with pytest.raises(ValueError, match=r"positions, 2\), got \(2, 3\)"):
        stats.update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="mask must be of shape"):
        stats.update(np.zeros((2, 2)), mask=[True])
    with pytest.raises(ValueError, match="windows must number 1"):
        stats.update(np.zeros((2, 2)), windows=[1, 2])
    with pytest.raises(ValueError, match="cannot merge 3 channels into 2"):
        stats.merge(saers.ChannelStats(3))
    with pytest.raises(ValueError, match="channels must lie in 1"):
        saers.ChannelStats(0)


def test_no_windows_give_a_row_of_nan_a_channel():
    found = saers.channel_stats(np.zeros((0, 10, 3)))
    assert found.height == 3
    assert found["mean"].is_nan().all()


class Source:
    """Random activations of five windows, one of them masked throughout."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.layer, self.n_positions = LayerInfo("conv", 3, 1, 0, 0), 20
        self.windows = pl.DataFrame({"window": range(5)})
        self.values = rng.normal(size=(5, 20, 3)).astype(np.float32)
        self.mask = rng.random((5, 20)) > 0.3
        self.mask[2] = False

    def blocks(self, *, windows=None):
        chosen = np.arange(5) if windows is None else np.asarray(windows)
        for part in np.array_split(chosen, 2):
            yield ActivationBlock(part, self.values[part], self.mask[part])


def test_a_source_is_streamed_over_the_usable_positions_of_chosen_windows():
    source = Source()
    chosen = [4, 2, 0]
    expected = plain(source.values[chosen][source.mask[chosen]])
    assert_close(stream_stats(source, chosen, threads=2), expected)
    assert_close(stream_stats(source), plain(source.values[source.mask]))
    assert saers.channel_stats(source).equals(stream_stats(source))


def test_a_source_tells_where_its_bad_value_is():
    source = Source()
    source.values[3, 7, 1], source.mask[3, 7] = np.nan, True
    with pytest.raises(ValueError, match="NaN at window 3, position 7, channel 1"):
        stream_stats(source)


def test_a_source_without_usable_positions_is_refused():
    with pytest.raises(ValueError, match="layer conv: all positions are masked"):
        stream_stats(Source(), [2])


def test_progress_is_told_of_every_window():
    told = []

    class Steps:
        def start(self, description, total):
            told.append(total)

        def advance(self, steps=1):
            told.append(steps)

    stream_stats(Source(), [0, 1, 3], progress=Steps())
    assert told[0] == sum(told[1:]) == 3

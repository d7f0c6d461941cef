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


def brute_force(values, k, min_distance):
    """The definition, word by word."""
    rows = []
    for window, channels in enumerate(np.moveaxis(values, 2, 1)):
        for channel, line in enumerate(channels):
            order = [p for p in range(len(line)) if not np.isnan(line[p])]
            order.sort(key=lambda p, line=line: (-line[p], p))
            taken = []
            for p in order:
                if len(taken) < k and all(abs(p - q) >= min_distance for q in taken):
                    taken.append(p)
            rows += [(window, channel, r, p, float(line[p])) for r, p in enumerate(taken, 1)]
    return pl.DataFrame(rows, schema=dict(schema.TOP_POSITIONS), orient="row")


def smooth(noise):
    return np.convolve(noise, np.ones(9) / 9)[4 : 4 + len(noise)]


KINDS = {
    "noise": lambda noise: noise,
    "smooth": smooth,
    "tied": lambda noise: np.round(2 * noise),
    "plateaus": lambda noise: np.round(6 * smooth(noise)),
    "constant": lambda noise: np.full_like(noise, -3),
    "rising": lambda noise: np.arange(len(noise), dtype=float),
    "falling": lambda noise: -np.arange(len(noise), dtype=float),
    "steps": lambda noise: np.arange(len(noise)) // 40 + np.round(noise),
    "relu": lambda noise: np.maximum(noise, 0),
    "mostly NaN": lambda noise: np.where(np.abs(noise) > 1.5, noise, np.nan),
    "all NaN": lambda noise: np.full_like(noise, np.nan),
    "infinite": lambda noise: np.where(noise > 1, np.inf, np.where(noise < 0, -np.inf, noise)),
}


@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5),
    length=st.integers(1, 700),
    k=st.integers(1, 8),
    min_distance=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_picks_are_those_of_the_definition(kinds, length, k, min_distance, seed):
    rng = np.random.default_rng(seed)
    lines = [KINDS[kind](rng.normal(size=length)) for kind in kinds]
    values = np.stack(lines, axis=1)[None].astype(np.float32)
    found = saers.top_positions(values, k, min_distance=min_distance)
    assert found.equals(brute_force(values, k, min_distance))


@given(
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=3, max_dims=3, max_side=12),
        elements=st.sampled_from([-1.0, -0.0, 0.0, 1.0, 2.0, np.nan, np.inf, -np.inf]),
    ),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_picks_among_few_values_are_those_of_the_definition(values, k, min_distance):
    found = saers.top_positions(values, k, min_distance=min_distance)
    assert found.equals(brute_force(values, k, min_distance))


@pytest.mark.parametrize("tile", [90, 500, 4000, 10**6])
def test_the_cut_into_tiles_changes_nothing(tmp_path, monkeypatch, tile):
    monkeypatch.setattr(tiles_module, "TILE_VALUES", tile)
    rng = np.random.default_rng(0)
    lines = [KINDS[kind](rng.normal(size=400)) for kind in sorted(KINDS)]
    values = np.stack([np.stack(lines, axis=1), np.stack(lines[::-1], axis=1)] * 2)
    values = values.astype(np.float32)
    expected = brute_force(values, 4, 11)
    assert saers.top_positions(values, 4, min_distance=11).equals(expected)
    for chunks in ((1, 64, 12), (2, 50, 5), None):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("x", data=values, chunks=chunks)
        assert saers.top_positions(tmp_path / "a.h5", 4, min_distance=11).equals(expected)


def test_ties_go_to_the_lower_position():
    found = saers.top_positions(np.ones((9, 1)), 3, min_distance=3)
    assert found["position"].to_list() == [0, 3, 6]


def test_the_distance_itself_is_allowed():
    values = np.array([[0.0], [5.0], [0.0], [4.0]])
    near, far = (saers.top_positions(values, 2, min_distance=d) for d in (2, 3))
    assert near["position"].to_list() == [1, 3]
    assert far["position"].to_list() == [1]


def test_negative_values_are_picked_too():
    found = saers.top_positions(np.array([[-3.0], [-1.0], [-2.0]]), 2)
    assert found["value"].to_list() == [-1.0, -2.0]


def test_half_precision_files_keep_their_values(tmp_path):
    values = np.random.default_rng(1).normal(size=(1, 300, 3)).astype(np.float16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    found = saers.top_positions(tmp_path / "a.h5", 5, dataset="x", threads=2)
    assert found.equals(brute_force(values.astype(np.float32), 5, 1))


def test_masked_positions_of_a_source_are_never_taken():
    class Source:
        layer = LayerInfo("conv", 1, 1, 0, 0)
        windows = pl.DataFrame({"window": [3, 1]})
        n_positions = 3

        def blocks(self, *, windows=None):
            values = np.array([[[9.0], [1.0], [2.0]]], dtype=np.float32)
            for window in (3, 1):
                yield ActivationBlock(np.array([window]), values, np.array([[False, True, True]]))

    found = saers.top_positions(Source(), 2)
    assert found.select("window", "position").rows() == [(1, 2), (1, 1), (3, 2), (3, 1)]


@pytest.mark.parametrize("shape", [(0, 5, 2), (5, 0, 2)])
def test_nothing_comes_of_nothing(shape):
    found = saers.top_positions(np.zeros(shape), 3)
    assert found.schema == dict(schema.TOP_POSITIONS)
    assert found.is_empty()


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": -1}, {"k": 1, "min_distance": 0}])
def test_arguments_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match="must be positive, got"):
        saers.top_positions(np.zeros((3, 1)), **wrong)

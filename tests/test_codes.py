import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saers import schema
from saers.codes import TopSeqlets


def brute_force(windows, n_features, per_window, per_feature, min_distance):
    """The definition, word by word; windows are (number, indices, values)."""
    rows = []
    for feature in range(n_features):
        found = []
        for number, indices, values in windows:
            active = [
                (-float(v), p)
                for p, (features, strengths) in enumerate(zip(indices, values, strict=True))
                for f, v in zip(features, strengths, strict=True)
                if f == feature and v > 0
            ]
            taken = []
            for value, position in sorted(active):
                if len(taken) < per_window and all(
                    abs(position - other) >= min_distance for _, other in taken
                ):
                    taken.append((value, position))
            found += [(value, number, position) for value, position in taken]
        found = sorted(found)[:per_feature]
        rows += [(feature, r, w, p, -v) for r, (v, w, p) in enumerate(found, 1)]
    return pl.DataFrame(rows, schema=dict(schema.TOP_SEQLETS), orient="row")


@st.composite
def encoded_windows(draw):
    """Windows of a few positions, 2 of 6 features at each, with ties and silence."""
    value = st.sampled_from([0.0, -1.0, 0.25, 1.0, 1.0, 2.0]) | st.floats(0, 1, width=32)
    position = st.tuples(
        st.permutations(range(6)).map(lambda order: order[:2]), st.tuples(value, value)
    )
    numbers = draw(st.lists(st.integers(-9, 9), min_size=1, max_size=8, unique=True))
    length = draw(st.integers(1, 14))
    windows = []
    for number in numbers:
        positions = draw(st.lists(position, min_size=length, max_size=length))
        indices = np.array([p[0] for p in positions], dtype=np.int64)
        windows.append((number, indices, np.array([p[1] for p in positions], dtype=np.float32)))
    return windows


@given(encoded_windows(), st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.data())
def test_any_order_and_merge_gives_the_seqlets_of_the_definition(
    windows, per_window, per_feature, min_distance, data
):
    limits = {"per_window": per_window, "per_feature": per_feature, "min_distance": min_distance}
    expected = brute_force(windows, 6, **limits)
    order = data.draw(st.permutations(windows))
    cut = data.draw(st.integers(0, len(windows)))
    one, two = TopSeqlets(6, **limits), TopSeqlets(6, **limits)
    for window, indices, values in order[:cut]:
        one.update(window, indices, values)
    if order[cut:]:
        numbers, indices, values = zip(*order[cut:], strict=True)
        two.update(numbers, np.stack(indices), np.stack(values))
    one.merge(two)
    assert one.finish().equals(expected)

    stats = one.feature_stats()
    dense = np.zeros((6, sum(v.size for _, _, v in windows)))
    at = 0
    for _, indices, values in windows:
        for feature, value in zip(indices.ravel(), values.ravel(), strict=True):
            dense[feature, at] = max(0, value)
            at += 1
    assert stats["n_nonzero"].to_list() == np.count_nonzero(dense, axis=1).tolist()
    assert stats["max"].to_list() == dense.max(axis=1).tolist()
    np.testing.assert_allclose(stats["sum"], dense.sum(axis=1), rtol=1e-12)
    assert one.n_tokens == sum(len(values) for _, _, values in windows)


@given(encoded_windows(), st.integers(0, 8))
def test_histograms_count_every_activation_in_its_bin_after_any_merge(windows, cut):
    one, two = TopSeqlets(6, 1, 1, 1), TopSeqlets(6, 1, 1, 1)
    for number, (window, indices, values) in enumerate(windows):
        (one if number < cut else two).update(window, indices, values)
    one.merge(two)
    edges, counts = one.histogram()
    assert edges.dtype == np.float32
    assert edges[0] == 0
    assert np.isinf(edges[-1])
    everything = np.concatenate([values.ravel() for _, _, values in windows])
    features = np.concatenate([indices.ravel() for _, indices, _ in windows])
    for feature in range(6):
        active = everything[(features == feature) & (everything > 0)]
        np.testing.assert_array_equal(counts[feature], np.histogram(active, edges)[0])


def test_bins_reach_from_the_smallest_to_the_largest_float():
    top = TopSeqlets(1, 1, 1, 1)
    values = np.array([1e-45, 2.0**-30, 1.0, 2.0**20, np.finfo(np.float32).max], np.float32)
    top.update(0, np.zeros((5, 1), np.int64), values[:, None])
    edges, counts = top.histogram()
    assert edges.shape == (203,)
    assert counts.shape == (1, 202)
    assert np.flatnonzero(counts[0]).tolist() == [0, 1, 121, 201]
    assert counts[0, 201] == 2


@pytest.mark.parametrize("threads", [1, 2, None])
def test_long_windows_agree_with_the_definition_on_any_number_of_threads(threads):
    rng = np.random.default_rng(5)
    numbers, shape = [4, 1, 7], (3, 900, 2)
    indices = np.stack([rng.permuted(np.arange(6)[None].repeat(900, 0), axis=1)[:, :2]] * 3)
    values = np.round(rng.gamma(1.0, 1.0, shape), 1).astype(np.float32)  # many ties
    top = TopSeqlets(6, 3, 7, 20)
    top.update(numbers, indices, values, threads=threads)
    windows = list(zip(numbers, indices, values, strict=True))
    assert top.finish().equals(brute_force(windows, 6, 3, 7, 20))


def test_totals_do_not_depend_on_the_order_to_the_bit():
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 9, size=(200, 30, 1)).astype(np.float32)
    indices = np.zeros(values.shape, dtype=np.uint32)
    sums = set()
    for order in (np.arange(200), np.arange(200)[::-1], rng.permutation(200)):
        top = TopSeqlets(1, 4, 10, 3)
        for window in order:
            top.update(int(window), indices[window], values[window])
        sums.add(top.feature_stats()["sum"][0])
    assert len(sums) == 1
    np.testing.assert_allclose(sums.pop(), values.astype(np.float64).sum(), rtol=1e-12)


@pytest.mark.parametrize("index", [np.uint16, np.uint32, np.int32, np.int64])
@pytest.mark.parametrize("value", [np.float16, np.float32, np.float64])
def test_types_of_arrays_do_not_matter(index, value):
    top = TopSeqlets(3, 1, 5, 1)
    top.update(4, np.array([[2, 0]], dtype=index), np.array([[0.5, 1.5]], dtype=value))
    assert top.finish()["activation"].to_list() == [1.5, 0.5]


def test_tensors_arrays_and_views_agree():
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.random((4, 50, 9), dtype=np.float32)).requires_grad_()
    kept, indices = values.topk(3)
    tensors, arrays, views = (TopSeqlets(9, 2, 20, 4) for _ in range(3))
    tensors.update(range(4), indices, kept)
    arrays.update(np.arange(4), indices.numpy(), kept.detach().numpy())
    for window in range(4):
        wide = np.repeat(kept[window].detach().numpy(), 2, axis=1)
        views.update(window, indices[window], wide[:, ::2])
    assert tensors.finish().equals(arrays.finish())
    assert tensors.finish().equals(views.finish())
    assert tensors.finish().height == 9 * 8


def test_the_tail_is_kept_where_fewer_are_found_than_asked_for():
    top = TopSeqlets(2, per_window=9, per_feature=1000, min_distance=2)
    top.update(0, [[0], [0], [0], [0], [0]], [[1.0], [2.0], [3.0], [1e-30], [0.5]])
    assert top.finish().select("rank", "position").rows() == [(1, 2), (2, 0), (3, 4)]


def test_a_feature_that_never_speaks_has_totals_but_no_seqlets():
    top = TopSeqlets(3, 1, 1, 1)
    top.update(0, [[1, 2]], [[1.0, 0.0]])
    assert top.finish()["feature"].to_list() == [1]
    assert top.feature_stats().schema == dict(schema.FEATURE_TOTALS)
    assert top.feature_stats()["n_nonzero"].to_list() == [0, 1, 0]


def test_what_does_not_fit_is_refused_and_leaves_no_trace():
    top = TopSeqlets(3, 1, 1, 1)
    zeros = np.zeros((5, 2), dtype=np.int64)
    with pytest.raises(ValueError, match=r"for one window or \(b, positions, k\)"):
        top.update(0, zeros, np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"got \(5, 2\) and \(5, 2\) for \(2,\)"):
        top.update([0, 1], zeros, np.ones((5, 2)))
    with pytest.raises(ValueError, match="indices must be integers, got float64"):
        top.update(0, zeros.astype(float), np.ones((5, 2)))
    with pytest.raises(ValueError, match="window 0, position 4: index 7 names none of 3 features"):
        top.update(0, np.array([[0], [0], [0], [0], [7]]), np.ones((5, 1)))
    with pytest.raises(ValueError, match="window 8, position 1, feature 0: activation is NaN"):
        top.update(8, zeros[:2, :1], [[1.0], [np.nan]])
    assert top.n_tokens == 0
    top.update(0, [[0]], [[1.0]])
    with pytest.raises(ValueError, match="window 0 has come before"):
        top.update(0, [[0]], [[1.0]])
    with pytest.raises(ValueError, match="window 0 is in both"):
        top.merge(top_of_window_zero())
    with pytest.raises(ValueError, match="per_window must lie in 1"):
        TopSeqlets(3, 0, 1, 1)


def top_of_window_zero():
    top = TopSeqlets(3, 1, 1, 1)
    top.update(0, [[0]], [[1.0]])
    return top


def test_no_module_of_the_stream_imports_torch():
    names = ("bigwig", "code_files", "codes", "seqlets", "stats", "topk")
    lines = [f"import saers.{name}" for name in names]
    lines += ["import sys", "assert 'torch' not in sys.modules"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)

"""The map: deterministic, quiet, defined for any number of features, and true to groups."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saers import schema
from saers.embedding import _clusters, _principal_plane, embed


@pytest.fixture(scope="module")
def grouped():
    """Six bundles of 20 directions each in 32 dimensions, and the bundle of each."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(6, 32))
    bundle = np.repeat(np.arange(6), 20)
    return centres[bundle] + 0.2 * random.normal(size=(120, 32)), bundle


@pytest.fixture(scope="module")
def placed(grouped):
    return embed(grouped[0], range(120))


def test_the_table_has_the_columns_of_its_schema(placed):
    assert dict(placed.schema) == dict(schema.EMBEDDING)
    assert placed["feature"].is_sorted()


def test_bundles_of_directions_become_clusters(grouped, placed):
    bundle = grouped[1]
    assert placed["cluster"].n_unique() == 6
    for cluster in range(6):
        members = placed.filter(pl.col("cluster") == cluster)["feature"].to_numpy()
        assert len(set(bundle[members])) == 1
        assert len(members) == 20


def test_the_same_seed_gives_the_same_map(grouped, placed):
    assert embed(grouped[0], range(120)).equals(placed)


def test_another_seed_gives_another_map(grouped, placed):
    assert not embed(grouped[0], range(120), seed=1).equals(placed)


def test_the_order_of_the_rows_does_not_matter(grouped, placed):
    assert embed(grouped[0][::-1], range(119, -1, -1)).equals(placed)


def test_the_length_of_a_direction_does_not_matter(grouped, placed):
    scaled = grouped[0] * np.linspace(0.5, 8.0, 120)[:, None]
    again = embed(scaled, range(120))
    assert again["cluster"].n_unique() == placed["cluster"].n_unique()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 6, 15, 16])
def test_any_number_of_features_has_a_map(n):
    directions = np.random.default_rng(n).normal(size=(n, 7))
    table = embed(directions, np.arange(n) + 10)
    assert table["feature"].to_list() == list(range(10, 10 + n))
    assert table.select(pl.col("x", "y").is_finite().all()).row(0) == (True, True)


def test_identical_opposite_and_zero_directions_are_placed():
    directions = np.ones((9, 4))
    directions[0] *= -1
    directions[3] = 0
    table = embed(directions, range(9))
    assert table.select(pl.col("x", "y").is_finite().all()).row(0) == (True, True)


def test_one_dimension_is_enough():
    assert embed(np.array([[1.0], [2.0], [-1.0]]), [0, 1, 2])["y"].to_list() == [0, 0, 0]


@pytest.mark.parametrize("metric", ["correlation", "euclidean", "manhattan"])
def test_other_metrics_work(grouped, metric):
    assert len(embed(grouped[0][:40], range(40), metric=metric)) == 40


def test_clusters_are_numbered_by_size_and_strays_are_minus_one():
    random = np.random.default_rng(0)
    small = random.normal(scale=0.1, size=(12, 2))
    large = random.normal(scale=0.1, size=(30, 2)) + 50
    stray = np.array([[1000.0, -1000.0]])
    labels = _clusters(np.vstack([small, large, stray]), 5)
    assert labels.tolist() == [1] * 12 + [0] * 30 + [-1]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 99))
def test_principal_axes_agree_with_the_covariance(n, d, seed):
    directions = np.random.default_rng(seed).normal(size=(n, d))
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    variances = np.linalg.eigvalsh(np.cov(units.T, bias=True).reshape(d, d))[::-1][:2]
    plane = _principal_plane(directions)
    np.testing.assert_allclose(plane.var(axis=0)[: len(variances)], variances, atol=1e-12)


def test_the_extent_of_the_plane_is_what_was_asked_for():
    plane = _principal_plane(np.eye(6), extent=10)
    assert np.abs(plane).max() == pytest.approx(10)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"W_dec": np.ones(3)}, r"W_dec must have shape \(n, d\), got \(3,\)"),
        ({"features": [1, 2]}, "features must have one id for each of the 3 rows"),
        ({"features": [1, 1, 2]}, "distinct"),
        ({"W_dec": np.array([[1.0], [np.nan], [2.0]])}, "NaN or infinity in feature 1"),
        ({"metric": "cosin"}, "did you mean 'cosine'"),
        ({"n_neighbors": 1}, "n_neighbors must lie in 2.."),
        ({"min_dist": 2}, r"min_dist must lie in 0..1, got 2"),
        ({"min_cluster_size": 1}, "min_cluster_size must lie in 2.."),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    given_arguments = {"W_dec": np.eye(3), "features": [0, 1, 2]} | arguments
    with pytest.raises(ValueError, match=message):
        embed(given_arguments.pop("W_dec"), given_arguments.pop("features"), **given_arguments)

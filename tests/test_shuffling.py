"""Seqlets are shuffled and compared as SAE-Borzoi does."""

import numpy as np
import polars as pl
import pytest
import torch

from saers import schema
from saers.models.borzoi import BorzoiModel
from saers.shuffling import shuffle_effects
from tests.borzoi import LENGTH, ours, sequences


@pytest.fixture(scope="module")
def borzoi():
    return BorzoiModel(ours(dtype=torch.float64), input_length=LENGTH)


def onehots(n):
    return list(sequences(n=n, dtype=torch.float64).split(1))


def by_hand(model, given, width, samples, seed):
    """logD2 of each window: how SAE-Borzoi's perturb_vector.py defines it."""
    rng, first, rows = np.random.default_rng(seed), (LENGTH - width) // 2, []
    for onehot in given:
        moved = torch.zeros(5, dtype=torch.float64)
        for _ in range(samples):
            changed = onehot.clone()
            order = first + rng.permutation(width)
            changed[:, first : first + width] = onehot[:, order]
            moved += (torch.log2(model(changed) + 1) - torch.log2(model(onehot) + 1)).norm(dim=2)[0]
        rows.append(moved / samples)
    return torch.stack(rows).numpy()


def test_distances_are_the_means_over_shuffles_and_seqlets(borzoi):
    given, tracks = onehots(5), pl.DataFrame({"name": list("abcde"), "assay": ["RNA"] * 5})
    table = shuffle_effects(
        borzoi, [7, 7, 7, 2, 2], given, width=30, n_samples=2, tracks=tracks, seed=4
    )
    assert dict(table.schema) == dict(schema.SHUFFLED)
    wanted = by_hand(borzoi, given, 30, 2, 4)
    assert table["feature"].to_list() == [2] * 5 + [7] * 5
    assert table["n_seqlets"].to_list() == [2] * 5 + [3] * 5
    assert table["name"].to_list() == list("abcde") * 2
    np.testing.assert_allclose(table["log_d2"][:5], wanted[3:].mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(table["log_d2"][5:], wanted[:3].mean(axis=0), rtol=1e-9)
    inside = (table["log_d2_low"] <= table["log_d2"]) & (table["log_d2"] <= table["log_d2_high"])
    assert inside.all()
    assert (table["log_d2_low"] < table["log_d2_high"]).all()


def test_three_bases_and_three_shuffles_are_the_papers(borzoi):
    given = onehots(2)
    table = shuffle_effects(borzoi, [0, 0], given, n_bootstrap=0)
    wanted = by_hand(borzoi, given, 3, 3, 0).mean(axis=0)
    np.testing.assert_allclose(table["log_d2"], wanted, rtol=1e-9)
    assert table["log_d2_low"].is_null().all()


def test_one_base_cannot_be_shuffled(borzoi):
    table = shuffle_effects(borzoi, [0], onehots(1), width=1)
    assert table["log_d2"].to_list() == [0.0] * 5


def test_nothing_and_wrong_sizes_are_refused(borzoi):
    with pytest.raises(ValueError, match="at least one window, got none"):
        shuffle_effects(borzoi, [], [])
    with pytest.raises(ValueError, match=r"width must lie in 1\.\.2048, got 0"):
        shuffle_effects(borzoi, [0], onehots(1), width=0)
    with pytest.raises(ValueError, match="n_samples must lie in"):
        shuffle_effects(borzoi, [0], onehots(1), n_samples=0)
    with pytest.raises(ValueError, match="zip"):
        shuffle_effects(borzoi, [0, 1], onehots(1))

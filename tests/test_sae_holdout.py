import h5py
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saers.sae.config import TrainConfig
from saers.sae.holdout import choose_windows, divide
from saers.sae.sources import open_tokens
from saers.sae.training import train_sae
from tests.test_sae_training import Windows, rows, small


def table(*chroms):
    return pl.DataFrame({"window": range(len(chroms)), "chrom": chroms})


def test_a_whole_chromosome_is_held_out_the_one_nearest_to_the_share():
    windows = table(*["1"] * 10, *["2"] * 8, *["3"] * 2)
    assert choose_windows(windows, 0.1) == [18, 19]
    assert choose_windows(windows, 0.5) == list(range(10, 20))


@given(st.lists(st.sampled_from("123456"), min_size=2, max_size=40), st.floats(0.01, 0.95))
def test_chromosomes_are_never_split_and_something_is_left(chroms, share):
    windows = table(*chroms)
    held_out = set(choose_windows(windows, share))
    assert 0 < len(held_out) < len(chroms)
    if len(set(chroms)) > 1:
        outside = {c for w, c in enumerate(chroms) if w not in held_out}
        assert not outside & {chroms[w] for w in held_out}


def test_of_one_chromosome_the_last_windows_are_held_out():
    assert choose_windows(table(*"1111111111"), 0.2) == [8, 9]
    assert choose_windows(table("1"), 0.2) == []
    assert choose_windows(table("1", "2"), 0.0) == []


def test_what_a_source_marks_itself_is_taken():
    source = Windows(5, holdout=[1])
    division = divide(source, 0.5)
    assert division.train is source
    assert division.held_out is source


def test_held_out_windows_are_not_trained_on():
    division = divide(Windows(10), 0.2)
    tokens = open_tokens(division.train, TrainConfig())
    held_out = open_tokens(division.held_out, TrainConfig(), split="holdout")
    assert sum(len(pool) for pool in tokens.pools(0)) == 8 * 39
    assert sum(len(pool) for pool in held_out.pools(0)) == 2 * 39


def test_held_out_rows_of_an_array_have_no_part_in_the_weights():
    x, other = rows(), rows()
    other[-60:] = 100 * torch.randn(60, 6)
    one, two = (train_sae(array, small()).sae for array in (x, other))
    assert torch.equal(one.W_dec, two.W_dec)
    assert train_sae(x, small()).metrics["tokens"] == 60


def test_rows_under_a_mask_are_not_used_even_if_they_are_nan():
    x = rows()
    mask = np.ones(len(x), bool)
    mask[::7] = False
    dirty = x.clone()
    dirty[::7] = torch.nan
    found = train_sae(dirty, small(), mask=mask)
    clean = train_sae(x, small(), mask=mask)
    assert torch.equal(found.sae.W_dec, clean.sae.W_dec)
    assert found.metrics["tokens"] == int(mask[-60:].sum())


@pytest.mark.parametrize("mask", [np.ones(5, bool), np.ones(600)])
def test_a_mask_that_does_not_fit_is_refused(mask):
    with pytest.raises(ValueError, match=r"mask must be \(\d+,\) of true and false"):
        train_sae(rows(), small(holdout=0.0), mask=mask)
    with pytest.raises(ValueError, match="only an array takes one"):
        train_sae([rows()], small(), mask=mask)


@pytest.mark.parametrize("shape", [(300, 4), (6, 50, 4)])
def test_a_mask_in_a_file_is_heeded(tmp_path, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    mask = np.random.default_rng(1).random(shape[:-1]) < 0.8
    values[~mask] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["activations"], file["mask"] = values, mask
    tokens = open_tokens(tmp_path / "a.h5", TrainConfig())
    assert sum(len(pool) for pool in tokens.pools(0)) == mask.sum()


def test_a_mask_of_another_shape_is_a_format_error(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["activations"], file["mask"] = np.ones((30, 4), np.float32), np.ones(29, bool)
    with pytest.raises(ValueError, match=r"dataset '/mask' must be of \(30,\)"):
        train_sae(tmp_path / "a.h5", small())

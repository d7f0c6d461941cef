"""Training on both strands of a model's windows."""

import numpy as np
import pytest
import torch

from saers.capture import ModelActivations
from saers.genome import Genome
from saers.models.borzoi import BorzoiModel
from saers.sae.config import TrainConfig
from saers.sae.sources import WindowTokens
from saers.sae.training import train_sae
from saers.windows import covered_bases, tile
from tests import borzoi
from tests.test_sae_training import Windows, small
from tests.tiny_capture import LENGTH, read

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def test_the_other_strand_is_the_reverse_complement(source, tmp_path):
    text = (tmp_path / "genome.fa").read_text().split("\n")[1].upper()
    turned = text.translate(COMPLEMENT)[::-1]
    (tmp_path / "turned.fa").write_text(f">chr1\n{turned}\n")
    genome = Genome(tmp_path / "turned.fa")
    other = ModelActivations(source._model, "1", genome, tile(genome, LENGTH), batch_size=3)
    _, values, mask = read(source.reverse())
    _, expected, usable = read(other)
    np.testing.assert_allclose(values, expected[::-1], atol=1e-6)
    assert np.array_equal(mask, usable[::-1])
    assert not mask.all()


def test_the_mask_is_of_what_a_position_saw_on_its_strand(source):
    """By its definition: position i of the other strand saw L - end to L - start."""
    _, _, mask = read(source.reverse())
    where = source.layer.interval(np.arange(source.n_positions), 0)
    runs = np.array([[130, 137]])
    for window, row in enumerate(mask):
        first = window * LENGTH
        starts, ends = first + LENGTH - where[:, 1], first + LENGTH - where[:, 0]
        inside = (where[:, 0] >= 0) & (where[:, 1] <= LENGTH)
        touched = [covered_bases(runs, starts[i : i + 1], ends[i : i + 1])[0] for i in range(20)]
        assert np.array_equal(row, inside & (np.array(touched) == 0))


def test_twice_turned_is_as_it_was(source):
    for one, other in zip(read(source), read(source.reverse().reverse()), strict=True):
        assert np.array_equal(one, other)


def tokens(source, strands, **changes):
    config = TrainConfig(strands=strands, batch_size=4, **changes)
    return WindowTokens(source, list(range(10)), config)


def rows_of(pool):
    return {tuple(np.round(row, 4)) for row in pool}


def test_pairs_are_of_the_same_places(source):
    (pool,) = tokens(source, "paired").pools(0)
    _, plus, usable = read(source)
    _, minus, turned = read(source.reverse())
    both = usable & turned[:, ::-1]
    expected = np.concatenate([plus[both], minus[:, ::-1][both]])
    assert len(pool) == len(expected)
    assert rows_of(pool) == rows_of(expected)


def test_a_lot_decides_the_strand_of_each_window_in_each_epoch(source):
    made = tokens(source, "augment")
    first, again, second = (next(iter(made.pools(epoch))) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert rows_of(first) != rows_of(second)
    _, plus, usable = read(source)
    _, minus, turned = read(source.reverse())
    either = rows_of(plus[usable]) | rows_of(minus[turned])
    assert rows_of(first) <= either
    assert rows_of(first) - rows_of(plus[usable])
    assert rows_of(first) & rows_of(plus[usable])


@pytest.mark.parametrize("strands", ["augment", "paired"])
def test_both_strands_are_trained_on_and_one_is_measured(source, strands):
    config = small(strands=strands, n_latents=8, k=2, steps=10)
    _, metrics = train_sae(source, config)
    assert metrics["split"] == "holdout"
    assert np.isfinite(metrics["fvu"])


def test_a_source_of_one_strand_is_refused():
    with pytest.raises(ValueError, match="strands must be forward, got 'paired': the source holds"):
        train_sae(Windows(4), small(strands="paired"))


@pytest.mark.parametrize("strands", ["forward", "augment", "paired"])
def test_pools_from_pieces_are_those_from_whole_windows(tmp_path, monkeypatch, strands):
    """A window's pieces go to the pool as they are made: the same positions, the same order."""
    bases = np.random.default_rng(1).choice(list("ACGT"), 4 * 512)
    bases[600:610] = "N"
    (tmp_path / "g.fa").write_text(">c\n" + "".join(bases) + "\n")
    genome = Genome(tmp_path / "g.fa")
    model = BorzoiModel(borzoi.ours(dtype=torch.float64), input_length=512)
    source = ModelActivations(model, "conv1d_1", genome, tile(genome, 512), parts=2)
    config = TrainConfig(strands=strands, batch_size=4, buffer_tokens=300, buffer_windows=3)

    def pools(chunk):
        monkeypatch.setattr("saers.models.borzoi.model._CHUNK", chunk)
        made = WindowTokens(source, list(range(8)), config)
        return [pool for epoch in range(2) for pool in made.pools(epoch)]

    whole, pieces = pools(2**20), pools(128)
    assert len(whole) == len(pieces) > 2
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-7, atol=1e-9)


def test_training_from_pieces_holds_no_window(source, monkeypatch):
    """The trainer never asks a model for whole windows."""

    def refuse(*_, **__):
        raise AssertionError("a whole window was asked for")

    monkeypatch.setattr(ModelActivations, "blocks", refuse)
    pools = list(tokens(source, "augment").pools(0))
    assert sum(map(len, pools)) > 0

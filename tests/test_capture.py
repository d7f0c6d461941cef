"""saers.capture: activations from a model, computed while they are read."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from saers import FormatError
from saers.capture import ModelActivations
from saers.layer import StreamedSource
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.windows import tile
from tests import borzoi
from tests.tiny_capture import LENGTH, read


def test_windows_in_a_pass_are_as_many_as_memory_is_meant_for(model, genome, windows, monkeypatch):
    def sizes(**options):
        source = ModelActivations(model, "1", genome, windows, **options)
        return [len(block.windows) for block in source.blocks()]

    n = windows.height
    assert sizes(batch_size=3)[0] == 3
    assert sizes() == [min(n, 16)] + [n - 16] * (n > 16)
    monkeypatch.setattr("saers.capture._BATCH_BYTES", 2 * 4 * 3 * (LENGTH // 2))
    assert sizes()[0] == 2
    monkeypatch.setattr("saers.capture._BATCH_BYTES", 1)
    assert set(sizes()) == {1}


def test_a_window_of_borzoi_becomes_activations(genome):
    network = BorzoiModel(borzoi.ours(), input_length=128)
    windows = tile(genome, 128)
    _, found, mask = read(ModelActivations(network, "conv1d_1", genome, windows))
    onehot = genome.onehot(windows.select("chrom", "start", "end"), np.float32, pad=True)
    assert (found == network.capture(torch.from_numpy(onehot), "conv1d_1").numpy()).all()
    assert not mask[:, :5].any()  # what sees beyond the window


def test_the_source_gives_what_the_model_computes(source, model, genome, windows):
    assert isinstance(source, StreamedSource)
    assert (source.n_positions, source.layer.stride) == (20, 2)
    numbers, values, _ = read(source)
    onehot = torch.from_numpy(genome.onehot(windows.select("chrom", "start", "end")))
    assert numbers.tolist() == list(range(10))
    expected = [model.capture(batch, "1").numpy() for batch in onehot.split(3)]
    assert np.array_equal(values, np.concatenate(expected))


def test_chosen_windows_come_in_their_order(source):
    _, every, _ = read(source)
    numbers, values, _ = read(source, windows=[7, 2, 5, 0])
    assert numbers.tolist() == [7, 2, 5, 0]
    # The last bit depends on the size of the batch.
    assert np.allclose(values, every[[7, 2, 5, 0]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels_first", [True, False])
def test_a_layer_that_hands_its_input_on_keeps_what_it_gave(genome, windows, channels_first):
    net = nn.Sequential(nn.Identity(), nn.Flatten())
    layout = {"channels_first": channels_first, "positions_last": channels_first}
    model = ModuleModel(net, input_length=LENGTH, **layout)
    source = ModelActivations(model, "0", genome, windows, batch_size=3)
    onehot = genome.onehot(windows.select("chrom", "start", "end"))
    assert np.array_equal(read(source)[1], onehot)


@pytest.mark.parametrize("edge", [0, 6])
def test_a_position_is_usable_when_all_it_sees_is(model, genome, windows, edge):
    black = pl.DataFrame({"chrom": ["1"], "start": [210], "end": [211]})
    source = ModelActivations(model, "1", genome, windows, blacklist=black, edge=edge)
    _, _, mask = read(source)
    bad = set(range(130, 137)) | {210}
    for window in range(windows.height):
        first = window * LENGTH
        allowed = set(range(first + edge, first + LENGTH - edge)) - bad
        for position in range(20):
            seen = range(first + 2 * position - 2, first + 2 * position + 4)
            assert mask[window, position] == (set(seen) <= allowed)


def test_places_outside_the_chromosome_are_not_used(model, genome):
    rows = {"window": [0], "chrom": ["chr1"], "start": [-10], "end": [30], "split": ["train"]}
    _, _, mask = read(ModelActivations(model, "1", genome, pl.DataFrame(rows)))
    assert np.flatnonzero(mask[0]).tolist() == [i for i in range(20) if 2 * i - 2 >= 10 and i < 19]


def test_an_edge_that_leaves_nothing_is_refused(model, genome, windows):
    with pytest.raises(ValueError, match="edge must leave usable positions: with 19 bp"):
        ModelActivations(model, "1", genome, windows, edge=19)


def test_windows_of_another_length_than_the_models_are_refused(model, genome):
    with pytest.raises(ValueError, match="windows must be 40 bp long, as the model's input"):
        ModelActivations(model, "1", genome, tile(genome, 50))
    uneven = pl.concat([tile(genome, 50), tile(genome, 40)])
    with pytest.raises(ValueError, match=r"windows must have one length, got \[40, 50\]"):
        ModelActivations(model, "1", genome, uneven)


def test_nan_from_the_model_is_named_with_window_and_channel(model, genome, windows):
    with torch.no_grad():
        model.module[0].weight[2] = float("nan")
    source = ModelActivations(model, "0", genome, windows)
    with pytest.raises(FormatError, match=r"layer '0': .*nan in window 0, position 0, channel 2"):
        list(source.blocks())

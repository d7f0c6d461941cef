"""Parts of windows, several layers and pieces: all are the numbers of whole windows."""

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from torch import nn

from saers.capture import ModelActivations, ModelLayers
from saers.genome import Genome
from saers.layer import LayersSource, StreamedSource, tiles_of
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.stats import stream_stats
from saers.windows import in_parts, tile, whole_windows
from tests import borzoi

LENGTH = 2048
LAYERS = ["conv1d_1", "conv1d_3", "transformer.0"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 256)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    bases = np.random.default_rng(0).choice(list("ACGT"), 4 * LENGTH + 100)
    bases[700:720] = "N"
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(">chr1\n" + "".join(bases) + "\n")
    return Genome(path)


@pytest.fixture(scope="module")
def windows(genome):
    return tile(genome, LENGTH)


@pytest.fixture(scope="module")
def model():
    return BorzoiModel(borzoi.ours(dtype=torch.float64), input_length=LENGTH)


@pytest.fixture
def source(model, genome, windows):
    return ModelActivations(model, "conv1d_1", genome, windows)


@pytest.fixture
def module():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 3, 5, padding=2), nn.MaxPool1d(2), nn.Conv1d(3, 5, 3))
    return ModuleModel(net, input_length=LENGTH)


def read(source, **options):
    blocks = list(source.blocks(**options))
    return tuple(np.concatenate(part) for part in zip(*blocks, strict=True))


def put_together(tiles, n_positions):
    """Whole windows out of tiles, in the order in which they end."""
    whole, done = {}, []
    for numbers, first, values, mask in tiles:
        assert values.flags.c_contiguous
        assert mask.shape == values.shape[:2]
        for window, rows, usable in zip(numbers.tolist(), values, mask, strict=True):
            kept = whole.setdefault(window, [])
            assert sum(len(part[0]) for part in kept) == first
            kept.append((rows, usable))
            if first + len(rows) == n_positions:
                done.append(window)
    joined = [[np.concatenate(p) for p in zip(*whole[w], strict=True)] for w in done]
    return done, *(np.stack(part) for part in zip(*joined, strict=True))


def test_a_source_of_a_model_streams(source):
    assert isinstance(source, StreamedSource)


@pytest.mark.parametrize("options", [{}, {"parts": 4}, {"crop": 256}, {"crop": 256, "parts": 3}])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("turned", [False, True])
def test_tiles_are_blocks(model, genome, windows, layer, options, turned):
    source = ModelActivations(model, layer, genome, windows, **options)
    source = source.reverse() if turned else source
    asked = [5, 0, 1, 3] if "parts" in options else [3, 0, 1]
    numbers, values, mask = read(source, windows=asked)
    assert numbers.tolist() == asked
    found = put_together(source.tiles(windows=asked), source.n_positions)
    for one, other in zip(found, (asked, values, mask), strict=True):
        assert np.array_equal(one, other)
    for row, window in zip(mask, asked, strict=True):
        assert np.array_equal(source.mask(window), row)


def test_tiles_are_smaller_than_windows(source):
    assert {tile.values.shape for tile in source.tiles()} == {(4, 128, 19)}
    assert {t.values.shape[1] for t in source.at("conv1d_3").tiles()} == {32}


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_position_lies_where_it_lies_in_the_whole_window(
    model, genome, windows, layer, parts
):
    """Parts and crops, by the places of what their positions have seen."""
    whole = ModelActivations(model, layer, genome, windows)
    cut = ModelActivations(model, layer, genome, windows, crop=256, parts=parts)

    def by_place(source):
        found = {}
        for window, values, mask in zip(*read(source), strict=True):
            start = source.windows["start"][int(window)]
            seen = source.layer.interval(np.arange(source.n_positions), start)
            for place, row, usable in zip(map(tuple, seen.tolist()), values, mask, strict=True):
                found[place] = (usable, *row.tolist())
        return found

    every, some = by_place(whole), by_place(cut)
    assert len(some) == 4 * (LENGTH - 512) // cut.layer.stride
    assert all(every[place] == row for place, row in some.items())
    first = windows["start"][0] + 256 - cut.layer.window_lo
    assert min(some) == (first, first + cut.layer.receptive_field)


@pytest.mark.parametrize("parts", [1, 4])
def test_the_other_strand_is_that_of_the_same_part(model, genome, windows, parts):
    options = {"crop": 128, "parts": parts} if parts == 1 else {"parts": parts}
    cut = ModelActivations(model, "conv1d_1", genome, windows, **options).reverse()
    whole = ModelActivations(model, "conv1d_1", genome, windows).reverse()
    _, values, mask = read(whole)
    crop = options.get("crop", 0) // 2
    size = cut.n_positions
    for row, found, usable in zip(*read(cut), strict=True):
        window, part = divmod(int(row), parts)
        first = crop + (parts - 1 - part) * size
        assert np.array_equal(found, values[window, first : first + size])
        assert np.array_equal(usable, mask[window, first : first + size])


def test_a_model_that_gives_whole_windows_is_cut_too(genome, windows, module):
    net = nn.Sequential(nn.Conv1d(4, 3, 5, padding=2), nn.MaxPool1d(2))
    model = ModuleModel(net, input_length=LENGTH)
    _, values, mask = read(ModelActivations(model, "1", genome, windows, batch_size=1))
    cut = ModelActivations(model, "1", genome, windows, crop=24, parts=5)
    numbers, parts, usable = read(cut)
    assert numbers.tolist() == list(range(20))
    assert np.array_equal(parts.reshape(4, -1, 3), values[:, 12:-12])
    assert np.array_equal(usable.reshape(4, -1), mask[:, 12:-12])


def test_positions_that_no_stride_counts_are_not_cut(genome, windows, module):
    message = r"crop and parts must cut layer '2' between positions, 2 bp .* and 1022 in 2048 bp"
    with pytest.raises(ValueError, match=message):
        ModelActivations(module, "2", genome, windows, parts=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 1}, "crop and parts must cut layer 'conv1d_1' between positions, 2 bp"),
        ({"parts": 3}, "parts must divide the 2,048 bp that are read of a window, got 3"),
        ({"crop": 1024}, "crop must lie in"),
        ({"parts": 0}, "parts must lie in"),
        ({"parts": 1024, "crop": 512}, "cut layer 'conv1d_1' between positions"),
    ],
)
def test_what_cannot_be_cut_is_refused(model, genome, windows, options, message):
    with pytest.raises(ValueError, match=message):
        ModelActivations(model, "conv1d_1", genome, windows, **options)


def test_parts_keep_their_split_and_find_back_to_their_windows(genome):
    table = tile(genome, LENGTH).with_columns(
        split=pl.Series(["train", "holdout", "train", "train"])
    )
    cut = in_parts(table, crop=100, parts=2)
    assert cut["split"].to_list()[:4] == ["train", "train", "holdout", "holdout"]
    assert cut["window"].to_list() == list(range(8))
    assert whole_windows(cut, crop=100, parts=2).equals(table)


def test_a_part_costs_a_part(model, genome, windows, monkeypatch):
    computed = []
    advance = model.module.advance

    def counted(state, *names):
        computed.append(state.values.shape[2])
        return advance(state, *names)

    monkeypatch.setattr(model.module, "advance", counted)
    source = ModelActivations(model, "conv1d_1", genome, windows, parts=8)
    read(source, windows=[9])
    assert sum(computed) <= 256 + 2 * 12


@pytest.mark.parametrize("options", [{}, {"crop": 256, "parts": 3}])
def test_several_layers_are_what_each_is_alone(model, genome, windows, options):
    head = ModelActivations(model, "conv1d_1", genome, windows, **options)
    layers: LayersSource = ModelLayers(head, LAYERS)
    assert list(layers.sources) == LAYERS
    asked = [1, 0]
    found = {layer: [] for layer in LAYERS}
    for layer, piece in layers.tiles(windows=asked):
        found[layer].append(piece)
    for layer in LAYERS:
        alone = layers.sources[layer]
        whole = put_together(found[layer], alone.n_positions)
        expected = read(alone, windows=asked)
        assert whole[0] == expected[0].tolist()
        assert np.allclose(whole[1], expected[1], rtol=2e-7, atol=1e-9)
        assert np.array_equal(whole[2], expected[2])


def test_several_layers_take_one_pass(model, genome, windows, monkeypatch):
    runs = []
    pieces = model.pieces
    monkeypatch.setattr(model, "pieces", lambda *a: runs.append(a[1]) or pieces(*a))
    layers = ModelLayers(ModelActivations(model, "conv1d_1", genome, windows), LAYERS)
    list(layers.tiles(layers=LAYERS[:2]))
    assert runs == [LAYERS[:2]]


def test_layers_of_a_model_that_gives_one_at_a_time(genome, windows, module):
    layers = ModelLayers(ModelActivations(module, "0", genome, windows), ["0", "2"])
    found = dict(layers.tiles())
    for layer in ("0", "2"):
        assert np.array_equal(found[layer].values, read(layers.sources[layer])[1])


@pytest.mark.parametrize("layers", [[], ["conv1d_1", "conv1d_1"], ["conv1d_1", "res_tower.0"]])
def test_layers_are_named_once(source, layers):
    with pytest.raises(ValueError, match="layers must be one or more, each once"):
        ModelLayers(source, layers)


def test_statistics_of_tiles_are_those_of_blocks(source):
    class Blocks:
        layer, windows, n_positions = source.layer, source.windows, source.n_positions

        def blocks(self, *, windows=None):
            return source.blocks(windows=windows)

    assert len(list(tiles_of(Blocks()))) == 1
    found, expected = stream_stats(source), stream_stats(Blocks())
    exact = ["max", "min", "nonzero", "count"]  # sums are folded tile by tile
    assert found.select(exact).equals(expected.select(exact))
    assert_frame_equal(found, expected, rel_tol=1e-12)


def test_nan_in_a_piece_is_named_with_its_place_in_the_window(genome, windows, model):
    network = borzoi.ours()
    bad = BorzoiModel(network, input_length=LENGTH)
    pieces = bad.pieces

    def spoiled(*arguments):
        for layer, first, values in pieces(*arguments):
            if first == 256:
                values[0, 3, 2] = float("nan")
            yield type(next(pieces(*arguments)))(layer, first, values)

    bad.pieces = spoiled
    with pytest.raises(ValueError, match="nan in window 0, position 259, channel 2"):
        read(ModelActivations(bad, "conv1d_1", genome, windows))


def test_what_was_read_is_counted(source):
    read(source, windows=[0, 1])
    found = source.throughput
    assert (found.bases, found.positions) == (2 * LENGTH, LENGTH)
    assert found.bytes == 4 * 19 * LENGTH
    facts = found.facts()
    assert facts["Mbp/s"] == pytest.approx(2 * LENGTH / found.seconds / 1e6)
    assert facts["positions/s"] == pytest.approx(LENGTH / found.seconds)
    assert source.at("conv1d_2").throughput is found


def test_a_part_counts_as_its_own_bases(model, genome, windows):
    source = ModelActivations(model, "conv1d_1", genome, windows, crop=256, parts=3)
    read(source, windows=[0, 4])
    assert source.throughput.bases == 2 * 512

import h5py
import numpy as np
import polars as pl
import pytest
import torch

from saers import FormatError, schema
from saers.layer import ActivationBlock, LayerInfo
from saers.sae.buffer import Feed, Place
from saers.sae.config import TrainConfig
from saers.sae.sources import open_tokens


class Windows:
    """Activations whose value tells where they lie: 1000 * window + position."""

    def __init__(self, n_windows=6, n_positions=10, masked=(), holdout=()):
        self.layer = LayerInfo("layer", 2, 1, 0, 0)
        self.n_positions = n_positions
        self.masked = set(masked)
        self.read = []
        split = ["holdout" if w in holdout else "train" for w in range(n_windows)]
        columns = {"window": range(n_windows), "chrom": "chr1", "start": 0, "end": n_positions}
        table = pl.DataFrame(columns).with_columns(split=pl.Series(split))
        self.windows = schema.conform(table, schema.WINDOWS, table="windows")

    def blocks(self, *, windows=None):
        for window in range(self.windows.height) if windows is None else windows:
            self.read.append(window)
            place = 1000 * window + np.arange(self.n_positions)
            values = np.stack([place, -place], axis=1).astype(np.float32)
            mask = np.array([position not in self.masked for position in range(self.n_positions)])
            yield ActivationBlock(np.array([window]), values[None], mask[None])


def config(**changes):
    return TrainConfig(**({"batch_size": 4, "buffer_tokens": 40, "buffer_windows": 3} | changes))


def numbered(count):
    return torch.arange(count, dtype=torch.float32).unsqueeze(1).expand(count, 2).contiguous()


def draw(feed, count):
    return [feed.next_batch()[:, 0].tolist() for _ in range(count)]


def epoch_of(source, settings, epoch=0, **options):
    pools = open_tokens(source, settings, **options).pools(epoch)
    return [sorted(int(row[0]) for row in pool) for pool in pools]


def everything(n_windows, n_positions):
    return {1000 * w + p for w in range(n_windows) for p in range(n_positions)}


def test_an_epoch_of_windows_holds_every_usable_position_once():
    pools = epoch_of(Windows(masked=[0, 9]), config())
    seen = [place for pool in pools for place in pool]
    assert set(seen) == {place for place in everything(6, 10) if place % 1000 not in (0, 9)}
    assert len(seen) == len(set(seen)) == 48


def test_the_holdout_is_left_out_of_training_and_found_by_its_name():
    source = Windows(holdout=[1, 4])
    train = {place // 1000 for pool in epoch_of(source, config()) for place in pool}
    held = {place // 1000 for pool in epoch_of(source, config(), split="holdout") for place in pool}
    assert train == {0, 2, 3, 5}
    assert held == {1, 4}


def test_long_windows_share_the_buffer_each_with_a_random_part():
    source = Windows(n_windows=6, n_positions=500)
    for pool in epoch_of(source, config(buffer_tokens=60, buffer_windows=3)):
        windows = [place // 1000 for place in pool]
        assert len(pool) == 60
        assert sorted(map(windows.count, set(windows))) == [20, 20, 20]
    other = epoch_of(source, config(buffer_tokens=60, buffer_windows=3), epoch=1)
    assert other != epoch_of(source, config(buffer_tokens=60, buffer_windows=3))


def test_a_pool_never_exceeds_the_buffer():
    for n_windows in (1, 2, 3, 7, 20):
        for pool in epoch_of(Windows(n_windows=n_windows), config()):
            assert len(pool) <= 40


def test_windows_that_fit_in_the_buffer_are_read_once():
    source = Windows(n_windows=3)
    feed = Feed(open_tokens(source, config()), 4, seed=0)
    draw(feed, 30)
    assert feed.place.epoch >= 3
    assert source.read == [0, 1, 2]


def test_windows_of_a_pool_are_read_forwards():
    source = Windows(n_windows=4)
    epoch_of(source, config())
    assert source.read == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda: numbered(50),
        lambda: numbered(50).numpy(),
        lambda: Windows(),
        lambda: Windows(n_positions=100),
        lambda: [numbered(50)[i : i + 7] for i in range(0, 50, 7)],
    ],
    ids=["tensor", "array", "windows", "long windows", "batches"],
)
def test_a_feed_goes_on_from_any_place_as_if_it_had_never_stopped(make):
    whole = Feed(open_tokens(make(), config()), 4, seed=5)
    places, batches = [], []
    for _ in range(40):
        places.append(whole.place)
        batches.append(whole.next_batch())
    assert whole.place.epoch >= 2
    for stop in range(0, 40, 3):
        resumed = Feed(open_tokens(make(), config()), 4, seed=5, place=places[stop])
        for expected in batches[stop : stop + 14]:
            assert torch.equal(resumed.next_batch(), expected)


def test_a_batch_mixes_windows_and_seeds_change_the_order():
    feed = Feed(open_tokens(Windows(), config(batch_size=12)), 12, seed=0)
    assert len({place // 1000 for place in draw(feed, 1)[0]}) >= 2
    first, second = (draw(Feed(open_tokens(numbered(50), config()), 4, seed=s), 1) for s in (1, 2))
    assert first != second


def test_half_precision_arrays_are_read_as_float32():
    batch = Feed(open_tokens(numbered(8).numpy().astype(np.float16), config()), 4, seed=0)
    assert batch.next_batch().dtype == torch.float32


def test_an_iterator_that_outgrows_the_buffer_gives_one_epoch():
    feed = Feed(open_tokens(iter([numbered(30), numbered(30)]), config()), 4, seed=0)
    assert len(draw(feed, 15)) == 15
    assert feed.next_batch() is None
    assert len(feed.look()) == 4


def test_an_iterator_that_fits_in_the_buffer_is_kept():
    feed = Feed(open_tokens(iter([numbered(10), numbered(10)]), config()), 4, seed=0)
    assert len(draw(feed, 50)) == 50


def test_batches_of_any_length_fill_pools_exactly():
    pools = epoch_of([numbered(100), numbered(1), numbered(19)], config())
    assert [len(pool) for pool in pools] == [40, 40, 40]


def test_looking_does_not_move_on():
    feed = Feed(open_tokens(numbered(50), config()), 4, seed=0)
    assert len(feed.look()) == 50
    assert feed.place == Place()


def test_fewer_positions_than_a_batch_are_refused():
    for source in (numbered(3), Windows(n_windows=1, masked=range(7)), [numbered(3)]):
        feed = Feed(open_tokens(source, config()), 4, seed=0)
        with pytest.raises(ValueError, match="must fill one batch of 4 positions"):
            feed.next_batch()


def test_a_source_without_usable_positions_is_refused():
    feed = Feed(open_tokens(Windows(masked=range(10)), config()), 4, seed=0)
    with pytest.raises(ValueError, match="holds no usable position"):
        feed.look()


def test_nan_in_an_array_is_named_by_row_and_channel():
    rows = numbered(8).numpy().copy()
    rows[5, 1] = np.inf
    with pytest.raises(ValueError, match="activation inf in row 5, channel 1"):
        draw(Feed(open_tokens(rows, config(batch_size=8)), 8, seed=0), 1)


def test_nan_in_a_window_is_named_by_window_position_and_channel():
    class Broken(Windows):
        def blocks(self, *, windows=None):
            for block in super().blocks(windows=windows):
                if block.windows[0] == 2:
                    block.values[0, 7, 1] = np.nan
                yield block

    with pytest.raises(ValueError, match="nan in window 2, position 7, channel 1"):
        epoch_of(Broken(), config())
    assert epoch_of(Broken(masked=[7]), config())


def test_nan_in_a_batch_is_named_by_its_number():
    bad = numbered(5).clone()
    bad[3, 0] = torch.nan
    with pytest.raises(ValueError, match="batch 1 of the source: activation nan in row 3"):
        epoch_of([numbered(5), bad], config())


@pytest.mark.parametrize(
    "source, message",
    [
        (np.zeros(5, np.float32), r"source must be \(positions, channels\), got shape \(5,\)"),
        (np.zeros((0, 5), np.float32), "got shape"),
        ([], "at least one batch"),
        ([numbered(3)[:, 0]], "batch 0 must be"),
        (7, "must be an array, a path, an ActivationSource or an iterable of batches, got int"),
    ],
)
def test_a_source_that_is_none_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        open_tokens(source, config())


def test_batches_of_different_widths_are_refused():
    with pytest.raises(ValueError, match="batch 1 must have 2 channels, got 3"):
        epoch_of([numbered(3), torch.zeros(3, 3)], config())


@pytest.mark.parametrize("shape", [(5000, 3), (4, 50, 3)])
def test_a_bare_hdf5_dataset_gives_each_of_its_rows(tmp_path, shape):
    rows = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    with h5py.File(tmp_path / "acts.h5", "w") as file:
        file["acts"] = rows
    settings = config(buffer_tokens=100_000)
    pools = list(open_tokens(tmp_path / "acts.h5", settings).pools(0))
    found = np.concatenate(pools)
    np.testing.assert_array_equal(found[found[:, 0].argsort()], rows.reshape(-1, 3))


def test_a_broken_hdf5_file_is_a_format_error(tmp_path):
    path = tmp_path / "acts.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(FormatError, match=r"acts\.h5: not a readable HDF5 file"):
        open_tokens(path, config())
    with h5py.File(path, "w") as file:
        file["acts"] = np.zeros((2, 2), np.int64)
    with pytest.raises(FormatError, match="must be floats"):
        open_tokens(path, config())
    with h5py.File(path, "w"):
        pass
    with pytest.raises(FormatError, match="no dataset at the top"):
        open_tokens(path, config())
    with pytest.raises(FileNotFoundError, match="no file at"):
        open_tokens(tmp_path / "none.h5", config())

"""saers.cache: activations in files, which no interruption spoils."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from saers.activations import open_activations
from saers.cache import write_cache, write_caches
from saers.capture import ModelActivations, ModelLayers
from saers.genome import Genome
from saers.layer import ActivationBlock, LayerInfo
from saers.models.borzoi import BorzoiModel
from saers.windows import tile
from tests import borzoi
from tests.tiny_capture import LENGTH, read


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_cache_gives_back_what_was_written(source, tmp_path, dtype):
    path = tmp_path / "new" / "acts.h5"
    write_cache(source, path, dtype=dtype, model="net")
    cached = open_activations(path)
    assert (cached.layer, cached.n_positions) == (source.layer, source.n_positions)
    assert cached.windows.equals(source.windows)
    for ours, theirs in zip(read(cached), read(source), strict=True):
        assert np.array_equal(ours, theirs.astype(dtype) if theirs.dtype == np.float32 else theirs)
    assert not path.with_name("acts.h5.part").exists()


def test_progress_is_told_of_every_window(source, tmp_path):
    class Log:
        steps = 0

        def start(self, description, total):
            assert (description, total) == ("capture", 10)

        def advance(self, steps=1):
            self.steps += steps

        def say(self, message):
            raise AssertionError(message)

    log = Log()
    write_cache(source, tmp_path / "acts.h5", progress=log)
    assert log.steps == 10


class Stopping:
    """A source that fails after some windows and notes what it was asked for."""

    def __init__(self, source, after=None):
        self.layer, self.windows, self.n_positions = (
            source.layer,
            source.windows,
            source.n_positions,
        )
        self.source, self.after, self.asked = source, after, []

    def blocks(self, *, windows=None):
        self.asked = list(windows)
        for count, block in enumerate(self.source.blocks(windows=windows)):
            if count == self.after:
                raise RuntimeError("stopped")
            yield block


def test_an_interrupted_cache_is_continued_where_it_ended(source, tmp_path):
    whole, path = tmp_path / "whole.h5", tmp_path / "acts.h5"
    write_cache(source, whole)
    with pytest.raises(RuntimeError, match="stopped"):
        write_cache(Stopping(source, after=2), path)
    assert not path.exists()
    rest = Stopping(source)
    write_cache(rest, path)
    assert rest.asked == [6, 7, 8, 9]
    assert path.read_bytes() == whole.read_bytes()


def test_a_complete_cache_of_the_same_is_left_alone(source, tmp_path):
    path = tmp_path / "acts.h5"
    write_cache(source, path)
    again = Stopping(source, after=0)
    write_cache(again, path)
    assert again.asked == []
    with pytest.raises(RuntimeError, match="stopped"):
        write_cache(again, path, resume=False)


def test_a_complete_cache_of_something_else_is_replaced(source, tmp_path):
    path = tmp_path / "acts.h5"
    write_cache(source, path, dtype="float32")
    write_cache(source, path, dtype="float16")
    with h5py.File(path) as file:
        assert file["activations"].dtype == np.float16


@pytest.mark.parametrize("changed", [{"model": "other"}, {"dtype": "float32"}])
def test_a_file_begun_for_something_else_is_not_continued(source, tmp_path, changed):
    path = tmp_path / "acts.h5"
    with pytest.raises(RuntimeError):
        write_cache(Stopping(source, after=1), path)
    with pytest.raises(ValueError, match=r"acts\.h5\.part was begun for something else \("):
        write_cache(source, path, **changed)
    write_cache(source, path, resume=False, **changed)
    assert path.exists()


def test_other_windows_are_something_else(source, model, genome, tmp_path):
    path = tmp_path / "acts.h5"
    with pytest.raises(RuntimeError):
        write_cache(Stopping(source, after=1), path)
    other = ModelActivations(model, "1", genome, tile(genome, LENGTH, step=LENGTH // 2)[:10])
    with pytest.raises(ValueError, match="other windows"):
        write_cache(other, path)


def test_an_unreadable_part_is_begun_anew(source, tmp_path):
    path = tmp_path / "acts.h5"
    path.with_name("acts.h5.part").write_bytes(b"not HDF5")
    write_cache(source, path)
    assert open_activations(path).windows.height == 10


def test_values_too_large_for_float16_are_named(source, tmp_path):
    class Large(Stopping):
        def blocks(self, *, windows=None):
            for block in self.source.blocks(windows=windows):
                values = block.values.copy()
                values[1, 2, 0] = 1e5
                yield ActivationBlock(block.windows, values, block.mask)

    message = "dtype must be float32: activation 100000 in window 1, channel 0 is too large"
    with pytest.raises(ValueError, match=message):
        write_cache(Large(source), tmp_path / "acts.h5")


def test_too_little_space_is_said_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match=r"No space left.*GB are free.*acts\.h5\.part") as caught:
        write_cache(source, tmp_path / "acts.h5")
    assert caught.value.errno == 28


CONSTANT = """
    import os, resource, signal, sys
    import numpy as np, polars as pl
    from saers.cache import write_cache
    from saers.layer import ActivationBlock, LayerInfo

    class Constant:
        layer = LayerInfo("conv", 8, 1, 0, 0)
        n_positions = 1000
        windows = pl.DataFrame({"window": range(40), "chrom": ["c"] * 40,
            "start": range(0, 40000, 1000), "end": range(1000, 41000, 1000),
            "split": ["train"] * 40})
        kill_at = int(sys.argv[2])

        def blocks(self, *, windows=None):
            for window in windows:
                if window == self.kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                values = np.full((1, 1000, 8), window, np.float32)
                yield ActivationBlock(np.array([window]), values, np.ones((1, 1000), bool))

    write_cache(Constant(), sys.argv[1])
"""


def run_constant(*arguments):
    command = [sys.executable, "-c", textwrap.dedent(CONSTANT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_killed_process_loses_only_its_last_window(tmp_path):
    path = tmp_path / "acts.h5"
    assert run_constant(path, 17).returncode == -signal.SIGKILL
    with h5py.File(f"{path}.part") as file:
        assert file["done"][0] == 17
    assert run_constant(path, 31).returncode == -signal.SIGKILL
    assert run_constant(path, -1).returncode == 0
    _, values, mask = read(open_activations(path))
    assert np.array_equal(values[:, 0, 0], np.arange(40))
    assert (values == values[:, :1, :1]).all()
    assert mask.all()


def test_a_full_disk_names_the_file_and_keeps_what_is_there(source, tmp_path, monkeypatch):
    path = tmp_path / "acts.h5"
    monkeypatch.setattr("saers.cache._write", full_after(5))
    with pytest.raises(OSError, match=r"No space left on device.*acts\.h5\.part") as caught:
        write_cache(source, path)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    rest = Stopping(source)
    write_cache(rest, path)
    assert rest.asked == list(range(10))
    for ours, theirs in zip(read(open_activations(path)), read(source), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-3)


def full_after(writes):
    """Stand in for `_write` on a disk with room for so many writes."""
    count = 0

    def write(file, offset, content):
        nonlocal count
        count += 1
        if count > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.seek(offset)
        file.write(content.data.cast("B"))

    return write


def test_the_layer_stands_in_the_files_attributes(source, tmp_path):
    write_cache(source, tmp_path / "acts.h5", model="net")
    with h5py.File(tmp_path / "acts.h5") as file:
        attributes = dict(file.attrs)
        assert file["activations"].chunks[0] == 1
    assert attributes == {
        "layer": "1",
        "stride": 2,
        "window_lo": 2,
        "window_hi": 3,
        "model": "net",
        "dtype": "float16",
        "precision": "float32",
    }
    assert source.layer == LayerInfo("1", 3, 2, 2, 3)


def test_a_folder_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_cache(source, tmp_path / "file" / "acts.h5")


@pytest.fixture
def layers(source):
    return ModelLayers(source, ["0", "1"])


def test_several_layers_are_written_in_one_pass(layers, tmp_path):
    files = write_caches(layers, tmp_path / "new", dtype="float32", model="net")
    assert files == {"0": tmp_path / "new" / "0.h5", "1": tmp_path / "new" / "1.h5"}
    for layer, file in files.items():
        alone = tmp_path / "alone.h5"
        write_cache(layers.sources[layer], alone, dtype="float32", model="net", resume=False)
        assert file.read_bytes() == alone.read_bytes()


class StoppingLayers:
    """Layers that fail after some tiles, and note what they were asked for."""

    def __init__(self, layers, after=None):
        self.sources, self.layers, self.after, self.asked = layers.sources, layers, after, []

    def tiles(self, *, windows=None, layers=None):
        self.asked.append((list(windows), list(layers)))
        for count, made in enumerate(self.layers.tiles(windows=windows, layers=layers)):
            if count == self.after:
                raise RuntimeError("stopped")
            yield made


def test_interrupted_layers_go_on_from_the_first_window_that_one_lacks(layers, tmp_path):
    whole = write_caches(layers, tmp_path / "whole")
    for after in (1, 5):  # one layer is a batch of three windows ahead of the other
        with pytest.raises(RuntimeError, match="stopped"):
            write_caches(StoppingLayers(layers, after), tmp_path / "acts")
    rest = StoppingLayers(layers)
    files = write_caches(rest, tmp_path / "acts")
    assert rest.asked == [([6, 7, 8, 9], ["0", "1"])]
    for layer, file in files.items():
        assert file.read_bytes() == whole[layer].read_bytes()


def test_a_layer_that_is_complete_is_not_computed_again(layers, tmp_path):
    write_cache(layers.sources["0"], tmp_path / "0.h5")
    rest = StoppingLayers(layers)
    write_caches(rest, tmp_path)
    assert rest.asked == [(list(range(10)), ["1"])]
    again = StoppingLayers(layers)
    write_caches(again, tmp_path)
    assert again.asked == []


def test_pieces_are_written_as_the_whole_window(tmp_path, monkeypatch):
    """A file of Borzoi's pieces has the bytes of one written from whole windows."""
    monkeypatch.setattr("saers.models.borzoi.model._CHUNK", 128)
    monkeypatch.setattr("saers.cache._CHUNK_BYTES", 1000)  # chunks end within pieces
    bases = "".join(np.random.default_rng(1).choice(list("ACGT"), 1100))
    (tmp_path / "g.fa").write_text(f">c\n{bases}\n")
    genome = Genome(tmp_path / "g.fa")
    network = BorzoiModel(borzoi.ours(), input_length=512)
    source = ModelActivations(network, "conv1d_1", genome, tile(genome, 512))

    class Whole:
        layer, windows, n_positions = source.layer, source.windows, source.n_positions

        def blocks(self, *, windows=None):
            return source.blocks(windows=windows)

    assert len(list(source.tiles())) > len(list(source.blocks()))
    write_cache(source, tmp_path / "pieces.h5")
    write_cache(Whole(), tmp_path / "whole.h5")
    assert (tmp_path / "pieces.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    with h5py.File(tmp_path / "pieces.h5") as file:
        assert file["activations"].chunks[1] not in (1, 64, 256)
        stored = file["activations"][:]
    assert np.array_equal(stored, read(source)[1].astype(np.float16))

"""Streaming over activations in HDF5 files

Values are ReLU(normal) as in a freshly initialised layer: half of them 0, no structure along the
genome. (1, 4096, 608) chunks are compressed; peers read in pieces of 4,096 rows.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import torch

import saers
from benches.harness import Row, Timing, alternate

SHAPE = (4, 262_144, 608)
PIECE = 4096
CHUNKS = (1, PIECE, SHAPE[2])
SIZE = "2.55 GB"


def write(path, windows, dtype="f4", **options):
    """Write activations piece by piece; the same numbers for the same seed."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("activations", (windows, *SHAPE[1:]), dtype, **options)
        for window in range(windows):
            for first in range(0, SHAPE[1], PIECE):
                values = rng.standard_normal((PIECE, SHAPE[2]), dtype=np.float32)
                made[window, first : first + PIECE] = np.maximum(values, 0)
    return path


def pieces(path):
    """Read pieces into one buffer, as a careful user of h5py does."""
    with h5py.File(path) as file:
        stored = file["activations"]
        buffer = np.empty((PIECE, SHAPE[2]), stored.dtype)
        for window in range(stored.shape[0]):
            for first in range(0, SHAPE[1], PIECE):
                stored.read_direct(buffer, np.s_[window, first : first + PIECE])
                yield buffer


def read_only(path):
    for _ in pieces(path):
        pass


def pread_only(path):
    """Bytes of a contiguous file in tiles that stay in the cache, and nothing done with them."""
    tile = bytearray(128 * SHAPE[2] * 4)
    with path.open("rb", buffering=0) as file:
        while file.readinto(tile):
            pass


def numpy_maximum(path):
    maximum = np.full(SHAPE[2], -np.inf, np.float32)
    for piece in pieces(path):
        np.maximum(maximum, piece.max(axis=0), out=maximum)
    return maximum


def numpy_statistics(path):
    """The six statistics of channel_stats with NumPy, double sums."""
    maximum, minimum = np.full(SHAPE[2], -np.inf), np.full(SHAPE[2], np.inf)
    sums, squares, nonzero = (np.zeros(SHAPE[2]) for _ in range(3))
    for piece in pieces(path):
        np.maximum(maximum, piece.max(axis=0), out=maximum)
        np.minimum(minimum, piece.min(axis=0), out=minimum)
        wide = piece.astype(np.float64)
        sums += wide.sum(axis=0)
        squares += np.square(wide, out=wide).sum(axis=0)
        nonzero += np.count_nonzero(piece, axis=0)


def whole_read(path):
    """Maxima after reading everything at once, as SAE-Borzoi does."""
    with h5py.File(path) as file:
        return file["activations"][()].max(axis=(0, 1))


def torch_picks(path):
    """The top 400 by torch, then greedily 8 with the distance: exact only where 400 suffice."""
    with h5py.File(path) as file:
        values = torch.from_numpy(file["activations"][0])
    best, where = torch.topk(values, 400, dim=0)
    for channel in range(values.shape[1]):
        taken: list[int] = []
        for position in where[:, channel].tolist():
            if all(abs(position - other) >= 34 for other in taken):
                taken.append(position)
                if len(taken) == 8:
                    break
    return best


def run():
    with tempfile.TemporaryDirectory(dir=os.environ.get("SAERS_BENCH_DIR")) as folder:
        yield from float32(write(Path(folder) / "f32.h5", SHAPE[0]))
        (Path(folder) / "f32.h5").unlink()
        yield from float16(write(Path(folder) / "f16.h5", SHAPE[0], "f2"))
        (Path(folder) / "f16.h5").unlink()
        one = write(Path(folder) / "one.h5", 1)
        yield from picks(one)
        for name, options, aims in COMPRESSED:
            path = write(Path(folder) / "packed.h5", 1, chunks=CHUNKS, **options)
            yield from packed(name, path, *aims)


def float32(path):
    job, one = "channel_stats, float32", functools.partial(saers.channel_stats, path, threads=1)
    two = functools.partial(saers.channel_stats, path, threads=2)
    ours, bare, maxima, full = alternate(
        [
            one,
            lambda: pread_only(path),
            lambda: numpy_maximum(path),
            lambda: numpy_statistics(path),
        ]
    )
    yield Row(job, SIZE, ours, "pread of the same bytes, no compute", bare, 0.9)
    yield Row(job, SIZE, ours, "h5py + NumPy, maximum only", maxima, 1.4)
    yield Row(job, SIZE, ours, "h5py + NumPy, the same statistics", full, 1.4)
    ours, whole = alternate([one, lambda: whole_read(path)], repeats=3)
    yield Row(job, SIZE, ours, "h5py, whole read + maximum", whole, 12)
    ours, single = alternate([two, one])
    yield Row(f"{job}, 2 threads", SIZE, ours, "1 thread", single, by_wall=True)
    yield memory(SIZE, path)


def float16(path):
    job = "channel_stats, float16"
    ours, maxima, full = alternate(
        [
            functools.partial(saers.channel_stats, path, threads=1),
            lambda: numpy_maximum(path),
            lambda: numpy_statistics(path),
        ],
        repeats=3,
    )
    yield Row(job, "1.28 GB", ours, "h5py + NumPy, maximum only", maxima)
    yield Row(job, "1.28 GB", ours, "h5py + NumPy, the same statistics", full, 8)


def picks(path):
    ours, theirs = alternate(
        [
            functools.partial(saers.top_positions, path, 8, min_distance=34, threads=1),
            lambda: torch_picks(path),
        ]
    )
    yield Row("top_positions, k = 8, distance 34", "0.64 GB", ours, "torch.topk(400)", theirs, 12)


BOTH = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
COMPRESSED = [
    ("gzip-4 + shuffle", BOTH, (2.5, 1.7)),
    ("lzf", {"compression": "lzf"}, (1.8, 1.7)),
    ("zstd-3", dict(hdf5plugin.Zstd(clevel=3)), (1, 1.7)),
    ("lz4", dict(hdf5plugin.LZ4()), (1, 1.7)),
    ("blosc lz4 + shuffle", dict(hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=1)), (1, 1.7)),
    ("bitshuffle + lz4", dict(hdf5plugin.Bitshuffle(cname="lz4")), (1, 1.7)),
]


def packed(name, path, aim, scaling):
    job = f"channel_stats, {name}"
    one = functools.partial(saers.channel_stats, path, threads=1)
    two = functools.partial(saers.channel_stats, path, threads=2)
    ours, both, theirs = alternate([one, two, lambda: read_only(path)])
    size = f"0.64 GB in {path.stat().st_size / 1e9:.2f}"
    yield Row(job, size, ours, "h5py, read only", theirs, aim)
    yield Row(f"{job}, 2 threads", size, both, "1 thread", ours, scaling, by_wall=True)
    if name == "gzip-4 + shuffle":
        yield memory(f"{size}, chunks of 10 MB", path)


MEASURE = """
import sys
from pathlib import Path
import saers

def peak():
    # ru_maxrss would begin with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

small, large = sys.argv[1:]
saers.channel_stats(small, threads=2)
saers.top_positions(small, 1, threads=2)
before = peak()
saers.channel_stats(large, threads=2)
saers.top_positions(large, 8, min_distance=34, threads=2)
print(before, peak())
"""


def memory(size, path):
    """Peak memory over that of an interpreter that has imported everything."""
    small = path.with_name("small.h5")
    with h5py.File(small, "w") as file:
        file["activations"] = np.ones((1, 2, 3), np.float32)
    command = [sys.executable, "-c", MEASURE, str(small), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    before, after = (int(word) / 1024 for word in found)
    note = f"{after - before:.0f} MB over the interpreter's own {before:.0f} MB; at most 150"
    none = Timing(float("nan"), float("nan"))
    return Row("peak memory, stats + top-8, 2 threads", size, none, "–", none, note=note)

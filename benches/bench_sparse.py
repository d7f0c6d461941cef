"""Sparse codes

One core, k = 30 of 2,432 features whose frequencies fall as a power law, values as a gamma law
gives them; windows of 65,536 positions.
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np

from benches.harness import Row, alternate, scaled
from saers.code_files import feature_track, write_codes
from saers.codes import Codes, TopSeqlets

N_FEATURES, K, POSITIONS, WINDOWS = 2432, 30, 65_536, 8
PER_WINDOW, PER_FEATURE, MIN_DISTANCE = 16, 1000, 34


def run() -> list[Row]:
    """Time the accumulator, and a feature's track in a file of codes."""
    codes = _codes()
    return [*_accumulate(codes), _track(codes)]


def _codes() -> Codes:
    """Draw codes of distinct features at each position."""
    rng = np.random.default_rng(0)
    weights = rng.permutation(1 / np.arange(1, N_FEATURES + 1))
    steps = np.cumsum(weights / weights.sum())
    scale = rng.lognormal(size=N_FEATURES)
    parts = []
    for _ in range(WINDOWS):
        drawn = np.searchsorted(steps, rng.random((POSITIONS, 96))).clip(0, N_FEATURES - 1)
        drawn.sort(axis=1)
        again = np.zeros(drawn.shape, dtype=bool)
        again[:, 1:] = drawn[:, 1:] == drawn[:, :-1]
        first = np.argpartition(rng.random(drawn.shape) + again, K, axis=1)[:, :K]
        indices = np.take_along_axis(drawn, first, axis=1).astype(np.uint32)
        values = rng.gamma(1.5, size=indices.shape) * scale[indices]
        parts.append((indices, values.astype(np.float32)))
    indices, values = (np.stack(part) for part in zip(*parts, strict=True))
    return Codes(indices, values)


def _accumulate(codes: Codes) -> list[Row]:
    """Feed the accumulator, empty and full, and a plain numpy one."""
    shape = (N_FEATURES, PER_WINDOW, PER_FEATURE, MIN_DISTANCE)
    full = TopSeqlets(*shape)
    for window in range(160):
        _feed(full, codes, window)

    def fresh() -> None:
        top = TopSeqlets(*shape)
        for window in range(WINDOWS):
            _feed(top, codes, window)

    def later() -> None:
        first = full.n_tokens // POSITIONS
        for window in range(WINDOWS):
            _feed(full, codes, first + window)

    def numpy_loop() -> object:
        return _by_argpartition(codes.indices[0], codes.values[0])

    ours, steady, theirs = alternate([fresh, later, numpy_loop])
    theirs = scaled(theirs, WINDOWS)
    size = f"{WINDOWS} windows, {WINDOWS * POSITIONS:,} positions of {K} features"
    peer = "numpy: bincount, sort by feature, argpartition each"
    note = "{:.1f} million positions a CPU second; the peer keeps no distance, one window, times {}"
    return [
        Row(job, size, timing, peer, theirs, note=note.format(_rate(timing.cpu), WINDOWS))
        for job, timing in (
            ("top seqlets, an accumulator's first windows", ours),
            ("top seqlets, after 160 windows", steady),
        )
    ]


def _rate(seconds: float) -> float:
    return WINDOWS * POSITIONS / seconds / 1e6


def _feed(top: TopSeqlets, codes: Codes, window: int) -> None:
    place = window % WINDOWS
    top.update(window, codes.indices[place], codes.values[place], threads=1)


def _by_argpartition(indices, values):
    """Totals and the highest of each feature in one window, without a distance between them."""
    features, strengths = indices.ravel(), values.ravel()
    counts = np.bincount(features, minlength=N_FEATURES)
    sums = np.bincount(features, weights=strengths, minlength=N_FEATURES)
    order = np.argsort(features.astype(np.uint16), kind="stable")
    best = []
    for entries in np.split(order, np.cumsum(counts)[:-1]):
        most = min(PER_WINDOW, len(entries))
        if most:
            best.append(entries[np.argpartition(-strengths[entries], most - 1)[:most]])
    return counts, sums, best


def _track(codes: Codes) -> Row:
    """Read one feature of a file by its index, and by a scan."""
    feature = int(np.argsort(np.bincount(codes.indices.ravel(), minlength=N_FEATURES))[-100])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codes.h5"
        with write_codes(path, n_features=N_FEATURES, n_positions=POSITIONS, k=K) as writer:
            for window in range(WINDOWS):
                part = slice(window, window + 1)
                writer.append([window], Codes(codes.indices[part], codes.values[part]))

        def by_index() -> object:
            return feature_track(path, feature)

        def by_scan() -> list[object]:
            found = []
            with h5py.File(path) as file:
                for row in range(WINDOWS):
                    hits = (file["indices"][row] == feature).nonzero()
                    found.append((hits[0], file["values"][row][hits]))
            return found

        ours, theirs = alternate([by_index, by_scan])
    size = f"the 100th most frequent of {N_FEATURES} features, {codes.indices.size:,} entries"
    return Row("a feature's track in a file", size, ours, "h5py: read all codes", theirs)

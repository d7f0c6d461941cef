"""Types of the compiled kernels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ChannelStats",
    "Dataset",
    "DenseTop",
    "Fasta",
    "FormatError",
    "GcMatch",
    "MotifScanner",
    "NullShares",
    "Placement",
    "TimeoutExceeded",
    "TopSeqlets",
    "__version__",
    "count_overlaps",
    "decode_chunk",
    "discover_motifs",
    "jaccard",
    "largest",
    "merge",
    "motif_consensus",
    "motif_core",
    "motif_frequencies",
    "motif_information",
    "motif_offsets",
    "motif_shuffle",
    "motifs_text",
    "read_motifs",
    "shuffle_dinucleotides",
    "tomtom",
    "top_positions",
    "top_positions_from",
]

_U32: TypeAlias = NDArray[np.uint32]
_I64: TypeAlias = NDArray[np.int64]
_U64: TypeAlias = NDArray[np.uint64]
_F32: TypeAlias = NDArray[np.float32]
_F64: TypeAlias = NDArray[np.float64]

__version__: str

class FormatError(ValueError): ...
class TimeoutExceeded(TimeoutError): ...

# fasta.rs
_Regions: TypeAlias = tuple[
    NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]
]

@final
class Fasta:
    def __new__(cls, path: Path) -> Fasta: ...
    def records(self) -> list[tuple[str, int]]: ...
    def n_runs(self, record: int) -> NDArray[np.int64]: ...
    def fetch(self, record: int, start: int, end: int) -> str: ...
    def slice(
        self, columns: _Regions, pad: bool, soft_mask: bool, threads: int | None
    ) -> list[str]: ...
    def onehot(
        self,
        columns: _Regions,
        out: NDArray[np.unsignedinteger],
        one: int,
        pad: bool,
        channels_first: bool,
        threads: int | None,
    ) -> None: ...

# discover.rs
def discover_motifs(
    sequences: Sequence[str],
    weights: Sequence[float] | None,
    controls: Sequence[str] | None,
    *,
    count: int,
    evalue: float,
    min_width: int,
    max_width: int,
    both_strands: bool,
    aligned: bool,
    seed: int,
    threads: int | None,
    time_limit: float | None,
) -> list[tuple[NDArray[np.float64], int, float]]: ...
def motif_offsets(
    sequences: Sequence[str],
    matrix: NDArray[np.float64],
    n_sites: int,
    both_strands: bool,
) -> tuple[float, float] | None: ...
def shuffle_dinucleotides(sequence: str, seed: int) -> str: ...

# motif.rs
def motif_consensus(matrix: NDArray[np.float64]) -> str: ...
def motif_core(matrix: NDArray[np.float64], min_information: float) -> tuple[int, int]: ...
def motif_frequencies(matrix: NDArray[np.float64]) -> NDArray[np.float64]: ...
def motif_information(matrix: NDArray[np.float64]) -> NDArray[np.float64]: ...
def motif_shuffle(matrix: NDArray[np.float64], seed: int) -> NDArray[np.float64]: ...

# formats.rs; a motif is id, name, matrix, n_sites, background, log10_evalue
_Motif: TypeAlias = tuple[
    str,
    str,
    NDArray[np.float64],
    float | None,
    Sequence[float],
    float | None,
]

def motifs_text(parts: Sequence[_Motif], *, jaspar: bool) -> str: ...
def read_motifs(path: str | Path) -> list[_Motif]: ...

# tomtom.rs
def tomtom(
    queries: Sequence[_Motif],
    targets: Sequence[_Motif],
    *,
    dist: str,
    min_overlap: int,
    internal: bool,
    complete: bool,
    reverse_complement: bool,
    pseudocount: float,
    thresh: float,
    criterion: Literal["p", "e", "q"],
    compat: bool,
    background: Sequence[float] | None,
    threads: int | None,
) -> dict[str, NDArray[np.generic] | list[str]]: ...

# scan.rs
@final
class MotifScanner:
    def __new__(
        cls,
        parts: Sequence[_Motif],
        *,
        thresh: float,
        pseudocount: float,
        background: Sequence[float],
        reverse_complement: bool,
    ) -> MotifScanner: ...
    def places(self, sequences: Sequence[bytes], starts: Sequence[int]) -> NDArray[np.uint64]: ...
    def scan(
        self, sequences: Sequence[bytes], starts: Sequence[int], *, threads: int | None
    ) -> dict[str, NDArray[np.generic]]: ...

@final
class NullShares:
    def __new__(cls, places: Sequence[int]) -> NullShares: ...
    def add(
        self,
        scanner: MotifScanner,
        sequences: Sequence[bytes],
        starts: Sequence[int],
        *,
        threads: int | None,
    ) -> None: ...
    def estimate(self, all: Sequence[bool]) -> list[float]: ...

# stats.rs
@final
class ChannelStats:
    def __new__(cls, channels: int, *, allow_nan: bool = False) -> ChannelStats: ...
    def update(
        self,
        values: _F32,
        windows: _I64,
        first_position: int = 0,
        mask: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> None: ...
    def update_from(
        self,
        dataset: Dataset,
        windows: tuple[int, int],
        first_window: int = 0,
        mask: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> None: ...
    def merge(self, other: ChannelStats) -> None: ...
    def summary(self) -> tuple[_F64, _F64, _F64, _F64, _U64, _U64, _U64]: ...
    def left_out(self) -> tuple[int, int]: ...
    def first_left_out(self) -> str | None: ...

# topk.rs
@final
class DenseTop:
    def __new__(cls, channels: int, k: int, min_distance: int) -> DenseTop: ...
    def update(self, values: _F32, threads: int | None = None) -> None: ...
    def finish(self) -> tuple[_U32, _U32, _I64, _F32]: ...

def top_positions(
    values: _F32, k: int, min_distance: int, threads: int | None = None
) -> tuple[_I64, tuple[_U32, _U32, _I64, _F32]]: ...
def top_positions_from(
    dataset: Dataset,
    windows: tuple[int, int],
    k: int,
    min_distance: int,
    mask: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> tuple[_I64, _U32, _U32, _I64, _F32]: ...

# topk/sparse.rs
@final
class TopSeqlets:
    def __new__(
        cls, n_features: int, per_window: int, per_feature: int, min_distance: int
    ) -> TopSeqlets: ...
    def update(
        self,
        windows: _I64,
        indices: NDArray[np.integer],
        values: _F32,
        threads: int | None = None,
    ) -> None: ...
    def merge(self, other: TopSeqlets) -> None: ...
    @property
    def n_tokens(self) -> int: ...
    def totals(self) -> tuple[_I64, _F64, _F32]: ...
    def histogram(self) -> tuple[_F32, _I64]: ...
    def finish(self) -> tuple[_U32, _U32, _I64, _I64, _F32]: ...

# intervals.rs: tag (feature or class; None: all are 0), chromosome, start, end
_Intervals: TypeAlias = tuple[
    NDArray[np.uint32] | None, NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]
]

def merge(
    intervals: _Intervals, shape: tuple[int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]: ...
def count_overlaps(
    intervals: _Intervals,
    annotation: _Intervals,
    shape: tuple[int, int, int],
    threads: int | None,
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...

# jaccard.rs
def jaccard(
    intervals: _Intervals, shape: tuple[int, int], threads: int | None
) -> tuple[
    NDArray[np.uint32],
    NDArray[np.uint32],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
]: ...

# shuffle.rs
@final
class GcMatch:
    def __new__(
        cls, genome: Fasta, records: list[int], tolerance: float, threads: int | None
    ) -> GcMatch: ...

@final
class Placement:
    def __new__(
        cls,
        intervals: _Intervals,
        annotation: _Intervals,
        room: tuple[_Intervals, _Intervals],
        shape: tuple[int, int, int],
        gc: GcMatch | None,
        threads: int | None,
    ) -> Placement: ...
    def observed(self) -> NDArray[np.uint32]: ...
    def controls(
        self, n_controls: int, seed: int
    ) -> tuple[
        NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32], int
    ]: ...
    def expected(
        self,
    ) -> tuple[
        NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int
    ]: ...

# source.rs
def largest(matrix: _F32, columns: _I64, values: _F32, threads: int = 1) -> None: ...
def decode_chunk(
    packed: bytes, filters: list[tuple[int, list[int]]], mask: int, raw_size: int, item_size: int
) -> bytes: ...

@final
class Dataset:
    def __new__(
        cls,
        path: str | Path,
        shape: tuple[int, int, int],
        element: str,
        *,
        fill: float = 0.0,
        offset: int | None = None,
        chunked: tuple[
            tuple[int, int, int],
            list[tuple[int, list[int]]],
            tuple[_U64, _U64, _U64, _U32],
        ]
        | None = None,
    ) -> Dataset: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    def read(
        self,
        windows: tuple[int, int],
        positions: tuple[int, int],
        out: _F32,
        threads: int | None = None,
    ) -> None: ...

"""Types of the compiled kernels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Fasta",
    "FormatError",
    "TimeoutExceeded",
    "__version__",
    "discover_motifs",
    "motif_consensus",
    "motif_core",
    "motif_frequencies",
    "motif_information",
    "motif_shuffle",
    "motifs_text",
    "read_motifs",
    "tomtom",
]

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
    def slice(self, columns: _Regions, pad: bool, soft_mask: bool) -> list[str]: ...
    def onehot_f32(self, columns: _Regions, pad: bool) -> NDArray[np.float32]: ...
    def onehot_u8(self, columns: _Regions, pad: bool) -> NDArray[np.uint8]: ...

# discover.rs
def discover_motifs(
    sequences: Sequence[str],
    controls: Sequence[str] | None,
    *,
    count: int,
    evalue: float,
    min_width: int,
    max_width: int,
    both_strands: bool,
    seed: int,
    threads: int | None,
    time_limit: float | None,
) -> list[tuple[NDArray[np.float64], int, float]]: ...

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
    reverse_complement: bool,
    pseudocount: float,
    thresh: float,
    evalue: bool,
    compat: bool,
    background: Sequence[float] | None,
    threads: int | None,
) -> dict[str, NDArray[np.generic] | list[str]]: ...

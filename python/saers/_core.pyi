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

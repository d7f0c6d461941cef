"""Peak memory of a stretch of work."""

import resource
import sys
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak_memory() -> None:
    """Start a new stretch; where the system has no such reset the peak is the process's."""
    if _CLEAR.exists():
        # 5: reset the high-water mark of the resident set (proc(5)).
        _CLEAR.write_text("5")


def peak_memory() -> int:
    """Return the greatest resident set since the last reset, in bytes.

    Examples
    --------
    >>> peak_memory() > 1_000_000
    True
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Ctrl-C ends a long call of a kernel within a second."""

import signal
import subprocess
import sys
import time

# Says that it has begun, then works for minutes in one call.
LONG_CALL = """
import numpy as np
from saers import _core
rows = np.arange(400_000)
columns = (
    np.zeros(rows.size, np.uint32), np.zeros(rows.size, np.uint32), 10 * rows, 10 * rows + 9
)
space = tuple(np.array([v], t) for v, t in ((0, "u4"), (0, "u4"), (0, "i8"), (10**9, "i8")))
none = tuple(column[:0] for column in columns)
placement = _core.Placement(columns, columns, (space, none), [1, 1], 2)
print("begun", flush=True)
placement.controls(100_000, 0)
"""


def test_an_interrupt_ends_a_long_call_within_a_second():
    with subprocess.Popen(
        [sys.executable, "-c", LONG_CALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, errors = child.communicate(timeout=60)
    assert time.monotonic() - started < 1.5  # the interpreter's own end included
    assert errors.strip().endswith("KeyboardInterrupt")

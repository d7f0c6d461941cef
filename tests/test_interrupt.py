"""Ctrl-C ends a long call of a kernel within a second."""

import signal
import subprocess
import sys
import time

import pytest

# A dataset of terabytes, of which nothing was ever written: one call would take hours.
LONG_CALL = """
import numpy as np
from saers import _core
table = np.empty((0, 3), "u8"), np.empty(0, "u8"), np.empty(0, "u8"), np.empty(0, "u4")
chunked = (1, 4096, 608), [], table
dataset = _core.Dataset(__file__, (10_000, 262_144, 608), "<f4", chunked=chunked)
print("begun", flush=True)
{call}
"""
CALLS = {
    "stats": "_core.ChannelStats(608).update_from(dataset, (0, 10_000))",
    "topk": "_core.top_positions_from(dataset, (0, 10_000), 8, 34)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_interrupt_ends_a_long_call_within_a_second(tmp_path, call):
    script = tmp_path / "long.py"
    script.write_text(LONG_CALL.format(call=call))
    child = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, errors = child.communicate(timeout=20)
        assert time.monotonic() - started < 1.5  # the interpreter's own end included
        assert errors.strip().endswith("KeyboardInterrupt")
    finally:
        child.kill()
        child.communicate()

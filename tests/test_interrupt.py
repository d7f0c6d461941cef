"""Ctrl-C ends a long call of a kernel within a second."""

import signal
import subprocess
import sys
import time

import pytest

# A dataset and a genome of terabytes, of which nothing was ever written: one call would take hours.
LONG_CALL = """
import os
from pathlib import Path
import numpy as np
from saers import _core
genome = Path(__file__).with_name("genome.fa")
genome.write_bytes(b">a\\n")
os.truncate(genome, 2**42)
size = 2**42 - 3
genome.with_name("genome.fa.fai").write_text(f"a\\t{{size}}\\t3\\t{{size}}\\t{{size + 1}}")
table = np.empty((0, 3), "u8"), np.empty(0, "u8"), np.empty(0, "u8"), np.empty(0, "u4")
chunked = (1, 4096, 608), [], table
dataset = _core.Dataset(__file__, (10_000, 262_144, 608), "<f4", chunked=chunked)
rows = np.arange(400_000)
columns = (
    np.zeros(rows.size, np.uint32), np.zeros(rows.size, np.uint32), 10 * rows, 10 * rows + 9
)
space = tuple(np.array([v], t) for v, t in ((0, "u4"), (0, "u4"), (0, "i8"), (10**9, "i8")))
none = tuple(column[:0] for column in columns)
placement = _core.Placement(columns, columns, (space, none), [1, 1, 1], None, 2)
print("begun", flush=True)
{call}
"""
CALLS = {
    "shuffles": "placement.controls(100_000, 0)",
    "stats": "_core.ChannelStats(608).update_from(dataset, (0, 10_000))",
    "genome": "_core.Fasta(genome).n_runs(0)",
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

"""Motif comparison: 300 queries with JASPAR CORE vertebrates

One thread unless the line says otherwise. memelite (tomtom-lite) merges like columns, so that its
p-values differ; Tomtom is timed on few queries, itself printing to a pipe.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benches.harness import Row, Timing, alternate, once, scaled
from saers.matches import tomtom
from saers.motif import Motif, write_motifs
from saers.motifs.databases import load_database

N_QUERIES, N_PROGRAM, N_FEATURES = 300, 6, 4864


def run() -> Iterator[Row]:
    """Time one call, two threads, first against second call, and all against all."""
    targets = load_database("JASPAR2024_CORE_vertebrates")
    queries = _queries(targets, N_QUERIES)
    size = f"{len(queries)} × {len(targets)}"
    yield _beside_memelite(queries, targets, size)
    if shutil.which("tomtom"):
        yield _beside_the_program(queries, targets, size)
    one, two = alternate(
        [lambda: tomtom(queries, targets, threads=1), lambda: tomtom(queries, targets, threads=2)],
        repeats=25,  # a tenth of a second each, on machines that others use as well
    )
    yield Row("compare, two threads", size, two, "one thread", one, aim=1.8, by_wall=True)
    yield _first_call(queries, targets, size)
    yield _all_against_all(targets)


def _queries(known: list[Motif], count: int) -> list[Motif]:
    """Resample known motifs by 20 to 800 sites, between up to three columns of background."""
    rng = np.random.default_rng(0)
    queries = []
    for index in range(count):
        motif = known[rng.integers(len(known))]
        flanks = [np.full((n, 4), 0.25) for n in rng.integers(0, 4, 2)]
        sites = int(rng.integers(20, 800))
        rows = np.vstack([flanks[0], motif.matrix, flanks[1]])[:30]
        counts = rng.multinomial(sites, rows / rows.sum(axis=1, keepdims=True))
        queries.append(Motif(f"q{index}", "", counts / sites, sites))
    return queries


def _beside_memelite(queries: list[Motif], targets: list[Motif], size: str) -> Row:
    import numba
    from memelite import tomtom as lite

    numba.set_num_threads(1)
    theirs = [[motif.matrix.T.copy() for motif in part] for part in (queries, targets)]
    ours, peer = alternate(
        [lambda: tomtom(queries, targets, threads=1), lambda: lite(*theirs, n_jobs=1)], repeats=7
    )
    note = f"{1000 * ours.cpu / len(queries):.2f} ms a query"
    return Row("compare", size, ours, "memelite, compiled before", peer, aim=1 / 0.6, note=note)


def _beside_the_program(queries: list[Motif], targets: list[Motif], size: str) -> Row:
    step = len(queries) // N_PROGRAM
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / file for file in ("q.meme", "t.meme")]
        write_motifs(queries[::step], files[0])
        write_motifs(targets, files[1])
        command = ["tomtom", "-text", "-verbosity", "1", "-thresh", "1", *files]
        seconds = _children(lambda: subprocess.run(command, capture_output=True, check=True))
    theirs = scaled(seconds, len(queries) / len(queries[::step]))
    ours = once(lambda: tomtom(queries, targets, thresh=1.0, q="compat", threads=1))
    note = f"the program timed on {len(queries[::step])} queries; its own q-values in both"
    return Row("compare, all rows", size, ours, "tomtom 5.4.1", theirs, aim=1000, note=note)


def _children(job: Callable[[], object]) -> Timing:
    """Time a program: its CPU seconds are those of children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = once(job).wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(cpu, wall)


def _first_call(queries: list[Motif], targets: list[Motif], size: str) -> Row:
    """Compare twice in a process of its own, several times."""
    code = (
        "import sys\n"
        "from benches.harness import once\n"
        "from saers.matches import tomtom\n"
        "from saers.motif import read_motifs\n"
        "files = [read_motifs(path) for path in sys.argv[1:]]\n"
        "for _ in range(2):\n"
        "    print(*once(lambda: tomtom(*files, threads=1)))"
    )
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / file for file in ("q.meme", "t.meme")]
        write_motifs(queries, files[0])
        write_motifs(targets, files[1])
        command = [sys.executable, "-c", code, *files]
        runs = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(7)]
    seconds = np.array([[float(value) for value in run.split()] for run in runs])
    first, second = (Timing(*np.median(part, axis=0)) for part in (seconds[:, :2], seconds[:, 2:]))
    more = 1000 * np.median(seconds[:, 0] - seconds[:, 2])
    note = f"the first call takes {more:.0f} ms more, the median of {len(runs)} processes"
    return Row("compare, second call", size, second, "the first call", first, note=note)


def _all_against_all(known: list[Motif]) -> Row:
    """Compare as many motifs as 2,432 features have with each other, in a process of its own."""
    motifs = _queries(known, N_FEATURES)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "motifs.meme"
        write_motifs(motifs, path)
        code = (
            "import sys, warnings; warnings.simplefilter('ignore')\n"
            "from saers.matches import tomtom\n"
            "found = tomtom(sys.argv[1], sys.argv[1], thresh=1e-6, pvalue=True, threads=1)\n"
            "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
            "print(found.height, int(peak) // 1024)"
        )
        result: list[str] = []

        def job() -> None:
            done = subprocess.run(
                [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
            )
            result[:] = done.stdout.split()

        seconds = _children(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = once(lambda: tomtom(motifs[:64], motifs, thresh=1e-6, pvalue=True, threads=1))
    note = f"peak memory of the process {result[1]} MB, {int(result[0]):,} matches of p ≤ 1e-6"
    whole = scaled(part, N_FEATURES / 64)
    size = f"{N_FEATURES} × {N_FEATURES}"
    return Row("all against all", size, seconds, "64 of them, times 76", whole, note=note)

"""Programs and the built-in search that find motifs in sequences.

This is the only module that starts other programs.
"""

import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from saers import _core, checks
from saers._core import TimeoutExceeded
from saers.motif import Motif, read_motifs

ENGINES: Final = ("builtin", "meme", "streme")

_POLL_SECONDS = 0.05
_WIDEST = {"builtin": 30, "meme": 300, "streme": 30}
_NARROWEST = {"builtin": 4, "meme": 2, "streme": 3}


class ProgramError(RuntimeError):
    """A program could not be found, or failed; the message shows what it said."""


@dataclass(frozen=True)
class Search:
    """What to look for, and how hard.

    Parameters
    ----------
    engine
        ``builtin``, ``meme`` or ``streme``.
    count
        Motifs reported at most.
    evalue
        A motif is reported when its E-value is below this.
    min_width, max_width
        Widths allowed: 4 to 30 (``builtin``), 3 to 30 (``streme``), 2 to 300 (``meme``).
    reverse_complement
        Whether a site may lie on either strand; ``streme`` knows no other way.
    seed
        Seed of shuffles and samples.
    search_size
        Only ``meme``: letters that take part in its search, whose time grows with the square of
        this. None is MEME's own 100,000; 4,000 is about 80 times faster on 1,000 × 34 bp and
        finds nearly the same motifs with weaker E-values.
    """

    engine: str = "builtin"
    count: int = 2
    evalue: float = 0.05
    min_width: int = 6
    max_width: int = 20
    reverse_complement: bool = True
    seed: int = 0
    search_size: int | None = None

    def __post_init__(self) -> None:
        checks.one_of("engine", self.engine, ENGINES)
        if self.count < 1:
            raise ValueError(f"count must be positive, got {self.count}")
        if not self.evalue > 0:
            raise ValueError(f"evalue must be positive, got {self.evalue}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        low, high = _NARROWEST[self.engine], _WIDEST[self.engine]
        checks.in_range("min_width", self.min_width, low, high)
        checks.in_range("max_width", self.max_width, self.min_width, high)
        if self.engine == "streme" and not self.reverse_complement:
            raise ValueError("engine streme always searches both strands of DNA")
        if self.search_size is not None and self.engine != "meme":
            raise ValueError(f"search_size belongs to engine meme, not to {self.engine}")


def discover_motifs(
    sequences: Sequence[str],
    *,
    engine: str = "builtin",
    count: int = 2,
    evalue: float = 0.05,
    control: Sequence[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    min_width: int = 6,
    max_width: int = 20,
    reverse_complement: bool = True,
    search_size: int | None = None,
    time_limit: float | None = None,
) -> list[Motif]:
    """Find motifs that many of the sequences share.

    The built-in engine takes a fraction of a second for 1,000 sequences of 34 bp. What it finds
    in one half of the sequences it tests on the other, against dinucleotide shuffles, so its
    E-values need no trust in a model of the background.

    Parameters
    ----------
    sequences
        Letters of either case; all but A, C, G and T are unknown.
    engine
        ``builtin``, or the installed programs ``meme`` and ``streme``.
    count
        Motifs reported at most.
    evalue
        A motif is reported when its E-value is below this.
    control
        Sequences that lack the motifs; shuffles of the sequences if None. MEME takes none.
    seed
        Seed of shuffles and samples.
    threads
        Threads of the built-in engine, all cores if None; the result does not depend on it.
    min_width, max_width
        Widths allowed, in positions.
    reverse_complement
        Whether a site may lie on either strand.
    search_size
        Only MEME: letters that take part in its search, see :class:`Search`.
    time_limit
        Seconds after which the search is given up.

    Returns
    -------
    list of Motif
        The most significant first, with ``n_sites`` and ``log10_evalue``; often empty.

    Raises
    ------
    TimeoutExceeded
        If the search took longer than ``time_limit``.
    ProgramError
        If the program is not installed (the message says how to get it) or fails.

    Examples
    --------
    >>> import numpy as np
    >>> letters = np.random.default_rng(0).choice(list("ACGT"), (80, 24))
    >>> sequences = ["".join(row[:9]) + "TGACTCAGC" + "".join(row[9:]) for row in letters]
    >>> motif, = discover_motifs(sequences, count=1)
    >>> motif.consensus in {"TGACTCAGC", "GCTGAGTCA"}, motif.log10_evalue < -5
    (True, True)
    """
    search = Search(
        engine=engine,
        count=count,
        evalue=evalue,
        min_width=min_width,
        max_width=max_width,
        reverse_complement=reverse_complement,
        seed=seed,
        search_size=search_size,
    )
    return run_search(search, sequences, control=control, threads=threads, time_limit=time_limit)


def run_search(
    search: Search,
    sequences: Sequence[str],
    *,
    control: Sequence[str] | None = None,
    threads: int | None = None,
    time_limit: float | None = None,
    cancelled: threading.Event | None = None,
) -> list[Motif]:
    """Find motifs as a :class:`Search` says; see :func:`discover_motifs`.

    Parameters
    ----------
    cancelled
        Ends a running program when set, with :class:`ProgramError`.

    Examples
    --------
    >>> run_search(Search(count=1), ["ACGT", "ACGA"])
    []
    """
    if isinstance(sequences, str):
        raise ValueError("sequences must be a list of strings, got one string")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be positive, got {time_limit}")
    if search.engine == "builtin":
        motifs = _run_builtin(search, sequences, control, threads, time_limit)
    else:
        motifs = _run_program(search, sequences, control, time_limit, cancelled)
    return [replace(motif, id=f"motif_{i}", name="") for i, motif in enumerate(motifs, 1)]


def find_program(name: str) -> Path:
    """Find an installed program of the MEME Suite on the PATH.

    Examples
    --------
    >>> find_program("no-such-program")
    Traceback (most recent call last):
    ...
    saers.motifs.engines.ProgramError: no-such-program is not on the PATH; it comes with the \
MEME Suite: conda install -c bioconda meme
    """
    found = shutil.which(name)
    if found is None:
        raise ProgramError(
            f"{name} is not on the PATH; it comes with the MEME Suite: "
            "conda install -c bioconda meme"
        )
    return Path(found)


def _run_builtin(
    search: Search,
    sequences: Sequence[str],
    control: Sequence[str] | None,
    threads: int | None,
    time_limit: float | None,
) -> list[Motif]:
    found = _core.discover_motifs(
        list(sequences),
        None if control is None else list(control),
        count=search.count,
        evalue=search.evalue,
        min_width=search.min_width,
        max_width=search.max_width,
        both_strands=search.reverse_complement,
        seed=search.seed,
        threads=threads,
        time_limit=time_limit,
    )
    return [
        Motif("motif", "", matrix, n_sites, log10_evalue=log10_evalue)
        for matrix, n_sites, log10_evalue in found
    ]


def _run_program(
    search: Search,
    sequences: Sequence[str],
    control: Sequence[str] | None,
    time_limit: float | None,
    cancelled: threading.Event | None,
) -> list[Motif]:
    program = find_program(search.engine)
    if search.engine == "meme" and control is not None:
        raise ValueError("engine meme takes no control sequences")
    with tempfile.TemporaryDirectory(prefix="saers-motifs-") as folder:
        fasta, report = Path(folder, "sequences.fa"), Path(folder, "report.txt")
        # The programs refuse sequences that hold no motif of the least width.
        if _write_fasta(fasta, sequences, least=max(search.min_width, 8)) < 2:
            return []
        arguments = _meme(search, fasta) if search.engine == "meme" else _streme(search, fasta)
        if control is not None:
            background = Path(folder, "control.fa")
            _write_fasta(background, control, least=max(search.min_width, 8))
            arguments += ["--n", str(background)]
        _execute([str(program), *arguments], report, time_limit, cancelled)
        return _significant(report, search)


def _meme(search: Search, fasta: Path) -> list[str]:
    arguments = [str(fasta), "-text", "-nostatus", "-dna", "-nmotifs", str(search.count)]
    arguments += ["-minw", str(search.min_width), "-maxw", str(search.max_width)]
    arguments += ["-evt", repr(search.evalue), "-seed", str(search.seed)]
    if search.reverse_complement:
        arguments.append("-revcomp")
    if search.search_size is not None:
        arguments += ["-searchsize", str(search.search_size)]
    return arguments


def _streme(search: Search, fasta: Path) -> list[str]:
    arguments = ["--p", str(fasta), "--text", "--dna", "--verbosity", "1"]
    arguments += ["--nmotifs", str(search.count), "--seed", str(search.seed)]
    return [*arguments, "--minw", str(search.min_width), "--maxw", str(search.max_width)]


def _write_fasta(path: Path, sequences: Sequence[str], *, least: int) -> int:
    """Write the sequences of at least ``least`` letters, and count them."""
    known = str.maketrans({chr(i): "N" for i in range(32, 127) if chr(i) not in "ACGT"})
    kept = [s.upper().translate(known) for s in sequences if len(s) >= least]
    path.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(kept, 1)))
    return len(kept)


def _significant(report: Path, search: Search) -> list[Motif]:
    text = report.read_text()
    if "\nMOTIF" not in text:
        return []
    motifs = [motif for motif in read_motifs(report) if motif.log10_evalue is not None]
    motifs.sort(key=lambda motif: motif.log10_evalue or 0.0)
    limit = math.log10(search.evalue)
    kept = [motif for motif in motifs if (motif.log10_evalue or 0.0) < limit]
    return kept[: search.count]


def _execute(
    command: list[str],
    output: Path,
    time_limit: float | None,
    cancelled: threading.Event | None,
) -> None:
    """Run a program in its own process group, its output in a file, and end it in any case."""
    errors = output.with_suffix(".err")
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            status = _wait(process, time_limit, cancelled)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status != 0:
        said = errors.read_text(errors="replace").strip().splitlines()[-5:]
        name = Path(command[0]).name
        raise ProgramError(f"{name} failed with status {status}: {' / '.join(said) or 'silently'}")


def _wait(
    process: "subprocess.Popen[bytes]", time_limit: float | None, cancelled: threading.Event | None
) -> int:
    end = None if time_limit is None else time.monotonic() + time_limit
    while True:
        try:
            return process.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if end is not None and time.monotonic() > end:
                raise TimeoutExceeded(f"no result within {time_limit} s") from None
            if cancelled is not None and cancelled.is_set():
                raise ProgramError("the search was cancelled") from None

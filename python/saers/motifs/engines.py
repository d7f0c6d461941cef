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
from pathlib import Path

from saers import _core
from saers._core import TimeoutExceeded
from saers.motif import Motif, read_motifs
from saers.motifs import search as searches
from saers.motifs.search import FoundMotif, Search

_POLL_SECONDS = 0.05


class ProgramError(RuntimeError):
    """A program could not be found, or failed; the message shows what it said."""


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
    aligned: bool = False,
    weights: Sequence[float] | None = None,
    search_size: int | None = None,
    preset: str | None = None,
    time_limit: float | None = None,
) -> list[FoundMotif]:
    """Find motifs that many of the sequences share.

    The built-in engine takes about a tenth of a second for 1,000 sequences of 34 bp. It tests a
    motif against dinucleotide shuffles and draws from a Markov chain that its search has not
    seen, each sequence scored by the matrix made without it, and corrects by what whole searches
    find in shuffles. Stretches longer than any motif that several sequences share (Alu and other
    repeats) are set aside until nothing else is found.

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
    aligned
        Only the built-in engine: sites are likelier around the middle of their sequence, as they
        are where sequences were cut around what made a feature fire.
    weights
        Only the built-in engine: how much each sequence's site counts in the matrix, such as the
        feature's activation. The tests count every sequence once.
    search_size
        Only MEME: letters that take part in its search, see :class:`Search`.
    preset
        ``fast``: MEME with a search size of 4,000; ``paper``: MEME as SAE-Borzoi runs it, on one
        strand, 8 to 50 bp wide, at its own search size. Overrules the options that it names.
    time_limit
        Seconds after which the search is given up.

    Returns
    -------
    list of FoundMotif
        The most significant first, with ``n_sites``, ``log10_evalue`` and where the sites lie;
        often empty.

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
    options = {
        "engine": engine,
        "count": count,
        "evalue": evalue,
        "min_width": min_width,
        "max_width": max_width,
        "reverse_complement": reverse_complement,
        "seed": seed,
        "aligned": aligned,
        "search_size": search_size,
    }
    return run_search(
        Search(**searches.preset(preset, options)),
        sequences,
        weights=weights,
        control=control,
        threads=threads,
        time_limit=time_limit,
    )


def run_search(
    search: Search,
    sequences: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    control: Sequence[str] | None = None,
    threads: int | None = None,
    time_limit: float | None = None,
    cancelled: threading.Event | None = None,
) -> list[FoundMotif]:
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
    sequences = searches.check_sequences(sequences)
    searches.check_weights(search, weights, len(sequences))
    if control is not None:
        control = searches.check_sequences(control, "control")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be positive, got {time_limit}")
    if search.engine == "builtin":
        motifs = _run_builtin(search, sequences, weights, control, threads, time_limit)
    else:
        motifs = _run_program(search, sequences, control, time_limit, cancelled)
    both = search.reverse_complement
    return [
        searches.placed(motif, f"motif_{i}", sequences, both_strands=both)
        for i, motif in enumerate(motifs, 1)
    ]


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
    weights: Sequence[float] | None,
    control: Sequence[str] | None,
    threads: int | None,
    time_limit: float | None,
) -> list[Motif]:
    found = _core.discover_motifs(
        list(sequences),
        None if weights is None else list(weights),
        None if control is None else list(control),
        count=search.count,
        evalue=search.evalue,
        min_width=search.min_width,
        max_width=search.max_width,
        both_strands=search.reverse_complement,
        aligned=search.aligned,
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
    # No -evt: with a limit of E-values MEME goes on beyond -nmotifs.
    arguments += ["-seed", str(search.seed)]
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

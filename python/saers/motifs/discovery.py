"""The motifs of all features: many searches at once, none of which can spoil the others."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from saers import schema
from saers.motifs.engines import find_program, run_search
from saers.motifs.search import FoundMotif, Search
from saers.progress import SILENT, Progress
from saers.store import atomic_path

# Raised when a change of the search makes the results kept by older versions stale.
_VERSION: Final = 6

FAILURES: Final[schema.Columns] = {"feature": pl.UInt32, "name": pl.String, "error": pl.String}


class DiscoveryResult(NamedTuple):
    """Motifs of the features, and the features whose search failed."""

    motifs: pl.DataFrame
    failures: pl.DataFrame


@dataclass(frozen=True)
class _Task:
    """The search of one feature."""

    feature: int
    name: str
    sequences: list[str]
    weights: list[float] | None
    control: list[str] | None
    search: Search
    time_limit: float | None
    kept: Path | None
    cancelled: threading.Event

    def run(self) -> list[FoundMotif]:
        """Search, or take over the result of an earlier run with the same input."""
        motifs = _recall(self.kept)
        if motifs is None:
            motifs = run_search(
                self.search,
                self.sequences,
                weights=self.weights,
                control=self.control,
                threads=1,
                time_limit=self.time_limit,
                cancelled=self.cancelled,
            )
            _keep(motifs, self.kept)
        return motifs


def discover_features(
    seqlets: pl.DataFrame,
    features: pl.DataFrame,
    *,
    engine: str = "builtin",
    count: int = 2,
    evalue: float = 0.05,
    min_width: int = 6,
    max_width: int = 20,
    reverse_complement: bool = True,
    seed: int = 0,
    aligned: bool = False,
    weighted: bool = False,
    control: Sequence[str] | None = None,
    search_size: int | None = None,
    max_sequences: int = 1000,
    max_unknown: float = 0.1,
    workers: int | None = None,
    time_limit: float | None = 600.0,
    resume_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> DiscoveryResult:
    """Find the motifs of every selected feature in its seqlets.

    A feature whose search fails or takes too long is reported, and the others go on. Finished
    searches are kept in ``resume_dir``, so that a run that was cut short loses at most those
    that were under way.

    Parameters
    ----------
    seqlets
        Columns of ``schema.SEQLETS``; ``feature``, ``rank`` and ``sequence`` are used.
    features
        Columns of ``schema.FEATURES``; ``feature``, ``name`` and ``selected`` are used.
    engine, count, evalue, min_width, max_width, reverse_complement, seed, aligned, search_size
        What to look for, see :func:`saers.discover_motifs`.
    weighted
        Only the built-in engine: let each seqlet's site count by its activation, a column of
        ``seqlets``.
    control
        Sequences that lack the motifs, the same for all features; shuffles if None.
    max_sequences
        Seqlets of a feature that are searched: the first by rank.
    max_unknown
        Share of letters other than A, C, G and T above which a seqlet is left out.
    workers
        Searches that run at once, one a core if None.
    time_limit
        Seconds for one feature.
    resume_dir
        Folder of finished searches, one small file each.
    progress
        Told of every finished feature.

    Returns
    -------
    DiscoveryResult
        ``motifs`` with the columns of ``schema.FOUND_MOTIFS``, by feature and index; ``failures``
        with the columns feature, name and error.

    Examples
    --------
    >>> letters = np.random.default_rng(0).choice(list("ACGT"), (80, 20))
    >>> seqlets = pl.DataFrame({
    ...     "feature": 7, "rank": range(1, 81),
    ...     "sequence": ["".join(row[:6]) + "TGACTCAGC" + "".join(row[6:]) for row in letters],
    ... })
    >>> features = pl.DataFrame({"feature": [7], "name": ["1_n7"], "selected": [True]})
    >>> discover_features(seqlets, features, count=1, workers=1).motifs["motif_id"].to_list()
    ['1_n7.1']
    """
    search = Search(
        engine=engine,
        count=count,
        evalue=evalue,
        min_width=min_width,
        max_width=max_width,
        reverse_complement=reverse_complement,
        seed=seed,
        aligned=aligned,
        search_size=search_size,
    )
    if weighted and engine != "builtin":
        raise ValueError(f"weighted belongs to engine builtin, not to {engine}")
    if engine != "builtin":
        find_program(engine)  # missing for one is missing for all: say so before any starts
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be positive, got {workers}")
    if max_sequences < 1:
        raise ValueError(f"max_sequences must be positive, got {max_sequences}")
    cancelled = threading.Event()
    folder = None if resume_dir is None else Path(resume_dir)
    given = None if control is None else list(control)
    tasks = []
    for feature, name, sequences, weights in _sequences(
        seqlets, features, max_sequences, max_unknown, weighted
    ):
        key = _key(search, sequences, weights, given)
        kept = None if folder is None else folder / f"{name}.{key}.json"
        tasks.append(
            _Task(feature, name, sequences, weights, given, search, time_limit, kept, cancelled)
        )
    return _collect(tasks, workers or os.cpu_count() or 1, progress or SILENT, cancelled)


def _sequences(
    seqlets: pl.DataFrame,
    features: pl.DataFrame,
    max_sequences: int,
    max_unknown: float,
    weighted: bool,
) -> Iterator[tuple[int, str, list[str], list[float] | None]]:
    """Yield each selected feature, its name, its first sequences known enough, their weights."""
    unknown = 1 - pl.col("sequence").str.count_matches("[ACGTacgt]") / pl.col(
        "sequence"
    ).str.len_bytes().clip(1)
    taken = ["sequence", "activation"] if weighted else ["sequence"]
    chosen = (
        seqlets.select("feature", "rank", *taken)
        .filter(unknown <= max_unknown)
        .sort("feature", "rank")
        .group_by("feature", maintain_order=True)
        .agg(pl.col(taken).head(max_sequences))
    )
    lists = {row["feature"]: row for row in chosen.iter_rows(named=True)}
    selected = features.filter(pl.col("selected")).sort("feature")
    for feature, name in selected.select("feature", "name").iter_rows():
        row = lists.get(feature, {"sequence": [], "activation": []})
        yield feature, name, row["sequence"], row["activation"] if weighted else None


def _collect(
    tasks: Sequence[_Task], workers: int, progress: Progress, cancelled: threading.Event
) -> DiscoveryResult:
    progress.start("motifs", len(tasks))
    found: dict[int, list[FoundMotif]] = {}
    failures: list[tuple[int, str, str]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="saers-motifs") as pool:
        futures: dict[Future[list[FoundMotif]], int] = {}
        try:
            futures = {pool.submit(task.run): i for i, task in enumerate(tasks)}
            pending = set(futures)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    task = tasks[futures[future]]
                    error = future.exception()
                    if error is None:
                        found[task.feature] = future.result()
                    else:
                        failures.append((task.feature, task.name, _one_line(error)))
                        progress.say(f"motifs of {task.name}: {_one_line(error)}")
                    progress.advance()
        except BaseException:
            # An interrupt: searches that wait never start, programs that run are ended.
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows = [row for task in tasks for row in _rows(task, found.get(task.feature, []))]
    motifs = pl.DataFrame(rows, schema=dict(schema.FOUND_MOTIFS), orient="row")
    return DiscoveryResult(
        motifs.sort("feature", "index"),
        pl.DataFrame(failures, schema=dict(FAILURES), orient="row").sort("feature"),
    )


def _rows(task: _Task, motifs: Sequence[FoundMotif]) -> Iterator[tuple[Any, ...]]:
    for index, motif in enumerate(motifs, 1):
        yield (
            f"{task.name}.{index}",
            task.feature,
            index,
            motif.width,
            int(motif.n_sites or 0),
            motif.log10_evalue,
            task.search.engine,
            motif.consensus,
            motif.matrix.tolist(),
            motif.offset,
            motif.offset_sd,
        )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _key(
    search: Search,
    sequences: Sequence[str],
    weights: Sequence[float] | None,
    control: Sequence[str] | None,
) -> str:
    """Digest all that a result depends on."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps([_VERSION, asdict(search), weights], sort_keys=True).encode())
    for given in (sequences, control):
        digest.update("\n".join(given or []).encode() + b"\0")
    return digest.hexdigest()


def _keep(motifs: Sequence[FoundMotif], path: Path | None) -> None:
    if path is None:
        return
    names = ("n_sites", "log10_evalue", "offset", "offset_sd")
    records = [
        {"matrix": m.matrix.tolist()} | {name: getattr(m, name) for name in names} for m in motifs
    ]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(records))


def _recall(path: Path | None) -> list[FoundMotif] | None:
    """Read a kept result; None where there is none, or where the file was damaged."""
    if path is None or not path.is_file():
        return None
    try:
        return [
            FoundMotif(
                f"motif_{i}",
                "",
                np.array(record["matrix"], dtype=np.float64),
                record["n_sites"],
                log10_evalue=record["log10_evalue"],
                offset=record["offset"],
                offset_sd=record["offset_sd"],
            )
            for i, record in enumerate(json.loads(path.read_text()), 1)
        ]
    except (ValueError, TypeError, KeyError):
        return None

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
from saers.motif import Motif
from saers.motifs.engines import Search, find_program, run_search
from saers.progress import SILENT, Progress
from saers.store import atomic_path

# Raised when a change of the search makes the results kept by older versions stale.
_VERSION: Final = 1

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
    search: Search
    time_limit: float | None
    kept: Path | None
    cancelled: threading.Event

    def run(self) -> list[Motif]:
        """Search, or take over the result of an earlier run with the same input."""
        motifs = _recall(self.kept)
        if motifs is None:
            motifs = run_search(
                self.search,
                self.sequences,
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
    engine, count, evalue, min_width, max_width, reverse_complement, seed, search_size
        What to look for, see :func:`saers.discover_motifs`.
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
        ``motifs`` with the columns of ``schema.MOTIFS``, by feature and index; ``failures``
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
        search_size=search_size,
    )
    if engine != "builtin":
        find_program(engine)  # missing for one is missing for all: say so before any starts
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be positive, got {workers}")
    if max_sequences < 1:
        raise ValueError(f"max_sequences must be positive, got {max_sequences}")
    cancelled = threading.Event()
    folder = None if resume_dir is None else Path(resume_dir)
    tasks = []
    for feature, name, sequences in _sequences(seqlets, features, max_sequences, max_unknown):
        kept = None if folder is None else folder / f"{name}.{_key(search, sequences)}.json"
        tasks.append(_Task(feature, name, sequences, search, time_limit, kept, cancelled))
    return _collect(tasks, workers or os.cpu_count() or 1, progress or SILENT, cancelled)


def _sequences(
    seqlets: pl.DataFrame, features: pl.DataFrame, max_sequences: int, max_unknown: float
) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each selected feature, its name and its first sequences that are known enough."""
    unknown = 1 - pl.col("sequence").str.count_matches("[ACGTacgt]") / pl.col(
        "sequence"
    ).str.len_bytes().clip(1)
    chosen = (
        seqlets.select("feature", "rank", "sequence")
        .filter(unknown <= max_unknown)
        .sort("feature", "rank")
        .group_by("feature", maintain_order=True)
        .agg(pl.col("sequence").head(max_sequences))
    )
    lists = dict(chosen.iter_rows())
    selected = features.filter(pl.col("selected")).sort("feature")
    for feature, name in selected.select("feature", "name").iter_rows():
        yield feature, name, lists.get(feature, [])


def _collect(
    tasks: Sequence[_Task], workers: int, progress: Progress, cancelled: threading.Event
) -> DiscoveryResult:
    progress.start("motifs", len(tasks))
    found: dict[int, list[Motif]] = {}
    failures: list[tuple[int, str, str]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="saers-motifs") as pool:
        futures: dict[Future[list[Motif]], int] = {}
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
    motifs = pl.DataFrame(rows, schema=dict(schema.MOTIFS), orient="row")
    return DiscoveryResult(
        motifs.sort("feature", "index"),
        pl.DataFrame(failures, schema=dict(FAILURES), orient="row").sort("feature"),
    )


def _rows(task: _Task, motifs: Sequence[Motif]) -> Iterator[tuple[Any, ...]]:
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
        )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _key(search: Search, sequences: Sequence[str]) -> str:
    """Digest all that a result depends on."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps([_VERSION, asdict(search)], sort_keys=True).encode())
    digest.update("\n".join(sequences).encode())
    return digest.hexdigest()


def _keep(motifs: Sequence[Motif], path: Path | None) -> None:
    if path is None:
        return
    records = [
        {"matrix": m.matrix.tolist(), "n_sites": m.n_sites, "log10_evalue": m.log10_evalue}
        for m in motifs
    ]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(records))


def _recall(path: Path | None) -> list[Motif] | None:
    """Read a kept result; None where there is none, or where the file was damaged."""
    if path is None or not path.is_file():
        return None
    try:
        return [
            Motif(
                f"motif_{i}",
                "",
                np.array(record["matrix"], dtype=np.float64),
                record["n_sites"],
                log10_evalue=record["log10_evalue"],
            )
            for i, record in enumerate(json.loads(path.read_text()), 1)
        ]
    except (ValueError, TypeError, KeyError):
        return None

"""``saers relate``."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from saers.cli.console import AsJson, Force, TableOut, Threads, is_run, run_stage, write_result


def relate(
    targets: Annotated[
        list[Path],
        typer.Argument(help="seqlets.parquet, or BED files (one a set), or a run directory."),
    ],
    directed: Annotated[
        bool,
        typer.Option("--directed", help="Regions of A overlapped by B, within groups of features."),
    ] = False,
    groups: Annotated[
        Path | None,
        typer.Option(help="With --directed: matches.parquet, or a table of feature and group."),
    ] = None,
    out: TableOut = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute the Jaccard index, by base pairs, of all pairs of features.

    BED files are numbered in the order given, from 0. With --directed, features that match one
    motif best are compared as SAE-Borzoi does, by the regions of one that another overlaps.

    Examples:

      saers relate seqlets.parquet -o relations.parquet

      saers relate a.bed b.bed c.bed -o relations.parquet

      saers relate seqlets.parquet --directed --groups matches.parquet -o directed.parquet
    """
    if directed != (groups is not None):
        raise typer.BadParameter("--directed and --groups go together")
    if groups is not None:
        frame = _directed(_intervals(targets), groups, threads)
        write_result(frame, out or Path("directed.parquet"), what="pairs", as_json=as_json)
        return
    if len(targets) == 1 and is_run(targets[0]):
        run_stage("relate", targets[0], out, force=force, as_json=as_json)
        return
    from saers.relations import jaccard

    frame = jaccard(_intervals(targets), threads=threads)
    write_result(frame, out or Path("relations.parquet"), what="pairs", as_json=as_json)


def _directed(intervals: pl.DataFrame, groups: Path, threads: int | None) -> pl.DataFrame:
    from saers.relations import best_match_groups, directed_overlap

    table = pl.read_parquet(groups)
    if "group" not in table.columns:
        table = best_match_groups(table)
    return directed_overlap(intervals, table, threads=threads)


def _intervals(targets: list[Path]) -> pl.DataFrame:
    from saers.intervals import read_bed

    if len(targets) == 1 and targets[0].suffix == ".parquet":
        return pl.read_parquet(targets[0], columns=["feature", "chrom", "start", "end"])
    sets = [
        read_bed(path).select(
            pl.lit(index, dtype=pl.UInt32).alias("feature"), "chrom", "start", "end"
        )
        for index, path in enumerate(targets)
    ]
    return pl.concat(sets)

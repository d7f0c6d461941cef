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
    out: TableOut = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute the Jaccard index, by base pairs, of all pairs of features.

    BED files are numbered in the order given, from 0.

    Examples:

      saers relate seqlets.parquet -o relations.parquet

      saers relate a.bed b.bed c.bed -o relations.parquet
    """
    if len(targets) == 1 and is_run(targets[0]):
        run_stage("relate", targets[0], out, force=force, as_json=as_json)
        return
    from saers.relations import jaccard

    frame = jaccard(_intervals(targets), threads=threads)
    write_result(frame, out or Path("relations.parquet"), what="pairs", as_json=as_json)


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

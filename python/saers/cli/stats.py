"""``saers stats``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, TableOut, Threads, is_run, run_stage, write_result


def stats(
    target: Annotated[Path, typer.Argument(help="HDF5 file, recipe or run directory.")],
    out: TableOut = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset; default: the first one.")] = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure each channel: maximum, minimum, mean, standard deviation, nonzero values.

    Examples:

      saers stats activations.h5 -o stats.parquet

      saers stats RUN
    """
    if is_run(target):
        run_stage("stats", target, out, force=force, as_json=as_json)
        return
    from saers.stats import channel_stats

    frame = channel_stats(target, dataset=dataset, threads=threads)
    write_result(frame, out or Path("stats.parquet"), what="channels", as_json=as_json)

"""``saers stats``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, TableOut, Threads, is_run, run_stage, write_result


def stats(
    targets: Annotated[
        list[Path],
        typer.Argument(help="HDF5 file, or several that make one source; or recipe or run."),
    ],
    out: TableOut = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset; default: the first one.")] = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure each channel: maximum, minimum, mean, standard deviation, nonzero values.

    Examples:

      saers stats activations.h5 -o stats.parquet

      saers stats activations_*.h5 -o stats.parquet

      saers stats RUN
    """
    if len(targets) == 1 and is_run(targets[0]):
        run_stage("stats", targets[0], out, force=force, as_json=as_json)
        return
    from saers.stats import channel_stats

    frame = channel_stats(targets, dataset=dataset, threads=threads)
    write_result(frame, out or Path("stats.parquet"), what="channels", as_json=as_json)

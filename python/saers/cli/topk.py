"""``saers topk``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Threads, write_result


def topk(
    activations: Annotated[
        list[Path],
        typer.Argument(help="HDF5 file (windows, positions, channels), or several for one source."),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Positions per window and channel.")] = 8,
    min_distance: Annotated[
        int, typer.Option(min=1, help="Least distance between two of them, in positions.")
    ] = 1,
    dataset: Annotated[str | None, typer.Option(help="Dataset; default: the first one.")] = None,
    threads: Threads = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file.")] = Path("top.parquet"),
    as_json: AsJson = False,
) -> None:
    """Pick the exact top positions of every window and channel.

    Greedy by value; ties go to the lower position; NaN is never picked.

    Examples:

      saers topk activations.h5 -k 8 --min-distance 34 -o top.parquet
    """
    from saers.topk import top_positions

    frame = top_positions(
        activations, k, min_distance=min_distance, dataset=dataset, threads=threads
    )
    write_result(frame, out, what="positions", as_json=as_json)

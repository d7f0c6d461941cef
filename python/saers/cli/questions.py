"""What the verbs share that ask something of a finished run: options, and the record of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from saers.run_inputs import RunInputs

Run = Annotated[Path, typer.Argument(help="Run directory with an autoencoder.")]
Split = Annotated[
    Literal["holdout", "train", "all"], typer.Option(help="Windows that are measured on.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many windows.")]
Tracks = Annotated[
    Path | None, typer.Option(help="Table of tracks, tab-separated, as Borzoi's targets.txt.")
]
Bootstrap = Annotated[int, typer.Option(min=0, help="Resamplings behind the intervals.")]


def open_run(run: Path) -> "RunInputs":
    """Open what a run was made of."""
    from saers.recipe import load_recipe
    from saers.run_inputs import RunInputs
    from saers.store import RunStore

    return RunInputs(RunStore(run), load_recipe(run / "recipe.toml"))


@contextmanager
def recorded(inputs: "RunInputs", question: str, options: dict[str, Any]) -> Iterator[list[Path]]:
    """Record a question in the run's manifest: options, seed, versions, seconds, files written.

    Yields
    ------
    list of Path
        To which the block adds the files that it wrote.
    """
    from saers.pipeline import record_question

    started, written = time.perf_counter(), list[Path]()
    yield written
    record_question(
        inputs.store,
        question,
        options=options,
        seed=inputs.recipe.seed,
        seconds=time.perf_counter() - started,
        written=written,
    )

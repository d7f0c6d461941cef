"""What the verbs share on the terminal: progress, tables, and run directories as targets."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from saers.store import atomic_path

if TYPE_CHECKING:
    import polars as pl

    from saers.pipeline import StageReport
    from saers.recipe import Recipe

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)
_PLAIN_EVERY = 10.0  # seconds between two plain progress lines

# Arguments and options that many verbs take.
RunTarget = Annotated[Path, typer.Argument(help="Recipe or run directory.")]
RunOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="Run directory, when a recipe is given.")
]
TableOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="Parquet file; RUN when given a recipe.")
]
Force = Annotated[bool, typer.Option("--force", help="Run it even if nothing changed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the kernels; default: all cores.")
]


class TerminalProgress:
    """Draws a bar on a terminal; elsewhere prints a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._description, self._total, self._done, self._printed = "", 0, 0, 0.0

    def start(self, description: str, total: int | None) -> None:
        """Begin a task; the one before it is over."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(description, total=total)
        self._description, self._total, self._done = description, total or 0, 0
        self._printed = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count steps of the task."""
        self._done += steps
        if self._task is not None:
            self._bar.advance(self._task, steps)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed >= _PLAIN_EVERY:
            self._printed = now
            share = f"/{self._total}" if self._total else ""
            self._console.print(f"  {self._description}: {self._done}{share}", markup=False)

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._console.print(message, markup=False)

    @contextmanager
    def shown(self) -> Iterator["TerminalProgress"]:
        """Show the bar for the length of a block."""
        with self._bar:
            yield self


@contextmanager
def progress() -> Iterator[TerminalProgress]:
    """Show progress on stderr for the length of a block."""
    with TerminalProgress(stderr).shown() as shown:
        yield shown


def is_run(target: Path) -> bool:
    """Tell whether a target is a recipe or a run directory rather than a plain file."""
    return target.suffix == ".toml" or (target / "recipe.toml").is_file()


def run_stage(
    name: str, target: Path, out: Path | None, *, force: bool = False, as_json: bool = False
) -> None:
    """Run one stage of the pipeline on a recipe or a run directory, and report it.

    Raises
    ------
    ValueError
        If the target is a recipe and no run directory is named.
    """
    if target.suffix == ".toml":
        if out is None:
            raise ValueError(f"-o RUN is needed: where the results of {target} shall lie")
        recipe, store = target, out
    else:
        recipe, store = target / "recipe.toml", target
    run_and_report(recipe, store, first=name, last=name, force=force, as_json=as_json)


def run_and_report(
    recipe: "Path | Recipe",
    out: Path,
    *,
    first: str | None,
    last: str | None,
    force: bool,
    as_json: bool,
    threads: int | None = None,
) -> None:
    """Run stages with progress on stderr and a table of them at the end."""
    from saers.pipeline import run_recipe

    with progress() as shown:
        reports = run_recipe(
            recipe, out, first=first, last=last, force=force, threads=threads, progress=shown
        )
    if as_json:
        print_json([report._asdict() for report in reports])
    else:
        stderr.print(stage_table(reports))


def stage_table(reports: Sequence["StageReport"]) -> Table:
    """Lay out what the stages did: seconds, peak memory, facts."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("peak MB", justify="right")
    table.add_column("result")
    for report in reports:
        facts = facts_line(report.facts)
        table.add_row(
            report.stage,
            f"{report.seconds:.1f}",
            f"{report.peak_memory / 1e6:.0f}",
            f"[dim]unchanged[/] {facts}" if report.skipped else facts,
        )
    ran = sum(report.seconds for report in reports if not report.skipped)
    table.add_row("[bold]total[/]", f"[bold]{ran:.1f}[/]", "", "")
    return table


def facts_line(facts: dict[str, Any]) -> str:
    """Tell what was counted, in one line."""
    return ", ".join(f"{_number(value)} {key}" for key, value in facts.items())


def write_result(frame: "pl.DataFrame", out: Path, *, what: str, as_json: bool) -> None:
    """Write the table of a verb whole, and say how many rows of what lie where."""
    with atomic_path(out) as temporary:
        frame.write_parquet(temporary)
    if as_json:
        print_json({"rows": frame.height, "out": str(out)})
    else:
        typer.echo(f"{frame.height} {what} in {out}", err=True)


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=1, default=str))


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"

"""``saers view``."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from saers.store import RunStore


def view(
    run: Annotated[Path, typer.Argument(help="Run directory.", exists=True, file_okay=False)],
) -> None:
    """Open the atlas of a run in the browser.

    Examples:

      saers view RUN
    """
    page = RunStore(run).path("atlas") / "index.html"
    if not page.is_file():
        raise FileNotFoundError(f"{page} is missing: run `saers atlas {run}` first")
    typer.echo(page.resolve().as_uri())
    webbrowser.open(page.resolve().as_uri())

"""``saers atlas``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import Force, Json, run_stage


def atlas(
    target: Annotated[Path, typer.Argument(help="Recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory, when a recipe is given.")
    ] = None,
    force: Annotated[bool, Force] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Gather all tables of a run into one AnnData and one page for the browser.

    Examples:

      saers atlas recipe.toml -o RUN

      saers atlas RUN --force
    """
    run_stage("atlas", target, out, force=force, as_json=as_json)

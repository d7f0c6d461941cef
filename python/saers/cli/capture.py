"""``saers capture``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import Force, Json, run_stage


def capture(
    target: Annotated[Path, typer.Argument(help="Recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory, when a recipe is given.")
    ] = None,
    force: Annotated[bool, Force] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Compute activations of a layer over windows of a genome.

    Examples:

      saers capture recipe.toml -o RUN

      saers capture RUN --force
    """
    run_stage("capture", target, out, force=force, as_json=as_json)

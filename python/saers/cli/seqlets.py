"""``saers seqlets``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import Force, Json, run_stage


def seqlets(
    target: Annotated[Path, typer.Argument(help="Recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory, when a recipe is given.")
    ] = None,
    force: Annotated[bool, Force] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Cut the sequence out at the strongest positions, and select and name the features.

    Examples:

      saers seqlets RUN

      saers seqlets recipe.toml -o RUN
    """
    run_stage("seqlets", target, out, force=force, as_json=as_json)

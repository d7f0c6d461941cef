"""``saers run``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, Threads, run_and_report


def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (TOML); `saers init` writes one.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Run directory; default: the recipe's name without .toml."
        ),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="First stage to run.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="STAGE", help="Last stage to run.")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline, from a model and a genome to named motifs.

    Stages whose options, inputs and outputs are unchanged are skipped; after an interruption
    the same command goes on where it was.

    Examples:

      saers run recipe.toml -o RUN

      saers run recipe.toml -o RUN --from motifs --to match

      saers run recipe.toml -o RUN --from train --force
    """
    run_and_report(
        recipe,
        out or recipe.with_suffix(""),
        first=first,
        last=last,
        force=force,
        as_json=as_json,
        threads=threads,
    )

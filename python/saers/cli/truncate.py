"""``saers truncate``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, print_json


def truncate(
    model: Annotated[Path, typer.Argument(help="Folder of Borzoi's weights.")],
    layer: Annotated[str, typer.Argument(help="Last layer to keep, as saers layers lists it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")],
    as_json: AsJson = False,
) -> None:
    """Keep just the weights up to a layer; the folder loads wherever the full one does.

    Examples:

      saers truncate borzoi-replicate-0/ conv1d_1 -o borzoi-conv1d_1/
    """
    from saers.models.borzoi import truncate as write_truncated

    config = write_truncated(model, layer, out)
    size = sum(file.stat().st_size for file in out.iterdir())
    if as_json:
        print_json({"layer": config.upto, "bytes": size, "out": str(out)})
    else:
        typer.echo(f"{out}: up to {config.upto}, {size / 1e6:,.1f} MB", err=True)

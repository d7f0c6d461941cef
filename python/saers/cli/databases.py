"""``saers databases``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saers.cli.console import AsJson, print_json, stdout


def list_databases(context: typer.Context, as_json: AsJson = False) -> None:
    """List the databases that `saers match` and `saers scan` know by name.

    JASPAR comes with the package pyjaspar and needs no network. Any other collection is a motif
    file by its path, or added under a name of its own.

    Examples:

      saers databases

      saers databases add https://host/hocomoco.meme --name hocomoco --sha256 3f0a…

      saers databases add my_motifs.meme --name mine --families families.tsv
    """
    if context.invoked_subcommand is not None:
        return
    from saers.motifs.databases import database_names
    from saers.motifs.library import added, folder

    own = added()
    if as_json:
        print_json({"jaspar": database_names(), "added": own, "folder": str(folder())})
        return
    table = Table("name", "motifs", "from", box=None)
    for name in database_names():
        if name.endswith(("_CORE", "_vertebrates")):
            table.add_row(name, "", "pyjaspar; other taxa by their names, as _plants")
    for entry in own:
        table.add_row(entry["name"], str(entry["motifs"]), entry["source"])
    stdout.print(table)
    stdout.print(f"added ones lie in {folder()}", style="dim")


def add(
    source: Annotated[str, typer.Argument(help="URL or motif file.")],
    name: Annotated[str, typer.Option(help="What it shall be called.")],
    sha256: Annotated[str | None, typer.Option(help="What the file must hash to.")] = None,
    families: Annotated[
        Path | None, typer.Option(help="Table of id and family, separated by tabs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch or copy a motif file, check it, and keep it under a name.

    Examples:

      saers databases add HOCOMOCOv11_core_HUMAN.meme.gz --name hocomoco11
    """
    from saers.motifs.library import add_database

    entry = add_database(source, name=name, sha256=sha256, families=families)
    if as_json:
        print_json(entry)
    else:
        typer.echo(f"{entry['motifs']} motifs as {name} (sha256 {entry['sha256']})", err=True)

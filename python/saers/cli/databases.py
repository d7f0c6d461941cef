"""``saers databases``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from saers.cli.console import AsJson, print_json, stdout

if TYPE_CHECKING:
    from saers.motifs.library import Entry


def list_databases(context: typer.Context, as_json: AsJson = False) -> None:
    """List the databases that match and scan know by name, and add some.

    JASPAR comes with pyjaspar and needs no network. All else is a motif file,
    by its path or added under a name.

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
    stdout.print(_releases(database_names()))
    if own:
        stdout.print(_added(own))
    stdout.print(f"Added ones lie in {folder()}", style="dim", soft_wrap=True)


def _releases(names: list[str]) -> Table:
    """Show the releases of JASPAR with their taxa."""
    taxa: dict[str, list[str]] = {}
    for name in names:
        release, _, taxon = name.partition("_CORE")
        taxa.setdefault(f"{release}_CORE", []).append(taxon)
    table = Table("JASPAR", "or one taxon of it", box=None)
    for release, endings in taxa.items():
        table.add_row(release, " ".join(ending for ending in sorted(endings) if ending))
    return table


def _added(own: list["Entry"]) -> Table:
    """Show the databases that were added."""
    table = Table("added", Column("motifs", justify="right"), "from", box=None)
    for entry in own:
        table.add_row(entry["name"], str(entry["motifs"]), entry["source"])
    return table


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

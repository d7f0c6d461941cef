"""``saers doctor``."""

import os
import platform
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from saers import __version__
from saers.cli.console import AsJson, print_json, stdout


def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe whose model and layers shall be listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is installed: device, MEME Suite, databases; with a recipe, the model's layers.

    Examples:

      saers doctor

      saers doctor recipe.toml
    """
    facts = installed()
    layers = _layers(recipe) if recipe else []
    if as_json:
        print_json({**facts, "layers": layers} if recipe else facts)
        return
    grid = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        grid.add_row(f"[bold]{key}[/]", _worded(key, value))
    stdout.print(grid)
    if recipe:
        table = Table("layer", "channels", "stride (bp)", "receptive window (bp)", box=None)
        for layer in layers:
            width = layer["window_lo"] + layer["window_hi"] + 1
            table.add_row(layer["name"], *map(str, (layer["channels"], layer["stride"], width)))
        stdout.print(table)


def _worded(key: str, value: str | list[str]) -> str:
    if key == "databases":
        releases = [name for name in value if name.endswith("_CORE")]
        return ", ".join(releases) + "; each also by taxon, as " + f"{releases[-1]}_vertebrates"
    return value if isinstance(value, str) else ", ".join(value)


def installed() -> dict[str, Any]:
    """List versions, devices, programs and databases."""
    import torch

    from saers.motifs.databases import database_names
    from saers.motifs.engines import ProgramError, find_program

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts: dict[str, Any] = {
        "saers": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": devices or [f"CPU, {os.cpu_count()} cores"],
    }
    for program in ("meme", "streme"):
        try:
            facts[program] = str(find_program(program))
        except ProgramError as error:
            facts[program] = f"{error} (the builtin engine needs none)"
    facts["databases"] = database_names()
    return facts


def _layers(path: Path) -> list[dict[str, Any]]:
    from saers.context import load_model
    from saers.recipe import load_recipe

    model = load_model(load_recipe(path))
    return [
        layer._asdict() if hasattr(layer, "_asdict") else vars(layer)
        for layer in model.layers.values()
    ]

"""``saers capture``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saers.cli.console import (
    AsJson,
    Force,
    RunTarget,
    facts_line,
    print_json,
    progress,
    run_and_report,
)

if TYPE_CHECKING:
    from saers.recipe import Recipe


def capture(
    target: RunTarget,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Run directory, when a recipe is given; or, with --layer, "
            "the folder of the files.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Write this layer to FOLDER/LAYER.h5; again, for several in one pass."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16.", show_default="the recipe's")
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(min=0, help="Leave out so many bp at both ends.", show_default="the recipe's"),
    ] = None,
    parts: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of a window.", show_default="the recipe's"),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute activations of a layer, or of several, over windows of a genome.

    Without --layer this is the first stage of a run. With it, each layer is written to a file
    of its own, which `saers stats`, `train`, `encode` and others read.

    Examples:

      saers capture recipe.toml -o RUN

      saers capture RUN --force

      saers capture recipe.toml --layer conv1d_1 --layer conv1d_2 -o ACTIVATIONS

      saers capture recipe.toml --layer conv1d_1 --precision bfloat16 --crop 163840 -o ACTIVATIONS
    """
    is_recipe = target.suffix == ".toml"
    if is_recipe and out is None:
        raise ValueError(f"-o is needed: where the results of {target} shall lie")
    changes = {"precision": precision, "crop": crop, "parts": parts}
    recipe = _recipe(target if is_recipe else target / "recipe.toml", changes)
    if layer:
        _write(recipe, layer, out or target / "activations", force, as_json)
        return
    store = target if out is None or not is_recipe else out
    run_and_report(recipe, store, first="capture", last="capture", force=force, as_json=as_json)


def _recipe(path: Path, changes: dict[str, Any]) -> "Recipe":
    """Read a recipe, and change options of [capture]."""
    from saers.recipe import Recipe, load_recipe

    recipe = load_recipe(path)
    given = {name: value for name, value in changes.items() if value is not None}
    section = recipe.capture.model_dump() | given
    return Recipe.model_validate(recipe.model_dump() | {"capture": section})


def _write(recipe: "Recipe", layers: list[str], folder: Path, force: bool, as_json: bool) -> None:
    from saers.capturing import capture_layers
    from saers.context import Context
    from saers.store import RunStore

    store = RunStore(folder)
    with store.locked(), progress() as shown:
        context = Context(store, recipe, shown, wanted=tuple(layers))
        files, facts = capture_layers(context, folder, resume=not force)
    if as_json:
        print_json({"files": {name: str(file) for name, file in files.items()}, **facts})
        return
    for name, file in files.items():
        typer.echo(f"{name}: {file}", err=True)
    typer.echo(facts_line(facts), err=True)

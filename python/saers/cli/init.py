"""``saers init``."""

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import PydanticUndefined

from saers.checks import one_of
from saers.recipe import Recipe, section_type
from saers.store import atomic_path

_EXAMPLES: dict[str, Any] = {
    "model.source": "model.py:build",
    "model.layer": "conv1d_1",
    "genome.fasta": "genome.fa",
    "windows.holdout": ["chr8"],
}
_TRAIN = {
    "default": """\
# Fields of saers.TrainConfig. k: latents kept per position; expansion: latents per channel;
# steps: batches of batch_size positions.
expansion = 4
k = 30
steps = 20000
batch_size = 4096
""",
    "sae-borzoi": """\
# The paper's own trainer: expansion 4, k = int(0.05 * channels) per position, lr 1e-5,
# channel-max scaling and LayerNorm, mean squared error alone.
preset = "sae-borzoi"
steps = 20000
""",
}
# The parameters of SAE-Borzoi's pipeline where they differ from the defaults.
_PAPER: dict[str, Any] = {
    "model.layer": "conv1d_1",
    "windows.length": 524_288,
    "capture.parts": 4,
    "encode.per_window": 8,  # in each quarter of a window
    "seqlets.width": "paper",
    "motifs.engine": "meme",
    "motifs.min_width": 8,
    "motifs.max_width": 50,
    "motifs.reverse_complement": False,
}


def init(
    path: Annotated[Path, typer.Argument(help="Recipe to write.")] = Path("recipe.toml"),
    preset: Annotated[
        str, typer.Option(help="default, or sae-borzoi: the paper's own parameters.")
    ] = "default",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented recipe to start from.

    Examples:

      saers init

      saers init borzoi.toml --preset sae-borzoi
    """
    one_of("preset", preset, _TRAIN)
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; --force overwrites it")
    with atomic_path(path) as temporary:
        temporary.write_text(commented_recipe(preset))
    typer.echo(f"{path}: edit [model], [genome] and [windows], then `saers run {path} -o RUN`")


def commented_recipe(preset: str = "default") -> str:
    """Write a recipe with every field, its meaning and its default.

    Examples
    --------
    >>> print(commented_recipe().split("[model]")[0].strip().splitlines()[-1])
    seed = 0
    """
    values = {**_EXAMPLES, **(_PAPER if preset == "sae-borzoi" else {})}
    lines = ["# Recipe of saers. Lines that begin with # are defaults or comments."]
    for name, field in Recipe.model_fields.items():
        if name == "train":
            lines += ["", "[train]", _TRAIN[preset].rstrip()]
        elif name == "seed":
            lines += ["", _comment(field.description), "seed = 0"]
        else:
            lines += ["", f"[{name}]", *_section(name, values)]
    return "\n".join(lines) + "\n"


def _section(name: str, values: dict[str, Any]) -> list[str]:
    lines = []
    for key, field in section_type(name).model_fields.items():
        place = f"{name}.{key}"
        value = values.get(place, field.get_default(call_default_factory=True))
        lines.append(_comment(field.description))
        if value is None or value is PydanticUndefined:
            lines.append(f"# {key} =")
        else:
            # For strings, numbers, lists and an empty table JSON is TOML, on one line.
            text = f"{key} = {json.dumps(value)}"
            lines.append(text if place in values else f"# {text}")
    return lines


def _comment(text: str | None) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(" ".join((text or "").split()), 90))

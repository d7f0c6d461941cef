"""``saers demo``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from saers.cli.console import AsJson, print_json, progress


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Where everything is written.")] = Path(
        "demo"
    ),
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the simulation and of all after it.")
    ] = 0,
    model: Annotated[
        Literal["toy", "borzoi"],
        typer.Option(help="Convolutions alone, or a small Borzoi, transformer and all."),
    ] = "toy",
    as_json: AsJson = False,
) -> None:
    """Run the whole job on simulated data and count what was found of the truth.

    A genome with planted motifs is simulated, a small Borzoi-shaped model is trained on tracks
    that they drive, and the pipeline runs on that model; it never sees the truth. Ends with a
    table, demo.json and an atlas to open in a browser. About five minutes on two cores.

    Examples:

      saers demo

      saers demo -o demo-1 --seed 1

      saers demo -o demo-borzoi --model borzoi
    """
    from saers.demo.run import run_demo

    with progress() as shown:
        report = run_demo(out, seed=seed, model=model, progress=shown)
    if as_json:
        print_json(report.summary)
    else:
        report.print()

"""``saers train``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, is_run, print_json, progress, run_stage


def train(
    target: Annotated[Path, typer.Argument(help="HDF5 file, recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the SAE; RUN when given a recipe.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Latents kept per position.")] = 30,
    expansion: Annotated[int, typer.Option(min=1, help="Latents per channel.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Positions in a batch.")] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and order.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train a sparse autoencoder on activations.

    A run directory takes all options from its recipe; a plain HDF5 file those given here.

    Examples:

      saers train activations.h5 -k 30 --steps 20000 -o sae

      saers train RUN
    """
    if is_run(target):
        run_stage("train", target, out, force=force, as_json=as_json)
        return
    from saers.sae.config import TrainConfig
    from saers.sae.training import train_sae

    config = TrainConfig(k=k, expansion=expansion, steps=steps, batch_size=batch_size, seed=seed)
    with progress() as shown:
        result = train_sae(target, config, progress=shown)
    folder = out or Path("sae")
    result.sae.save(folder)
    if as_json:
        print_json({"metrics": result.metrics, "out": str(folder)})
    else:
        typer.echo(f"SAE in {folder}", err=True)

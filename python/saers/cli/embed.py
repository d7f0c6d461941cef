"""``saers embed``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, TableOut, is_run, run_stage, write_result


def embed(
    target: Annotated[Path, typer.Argument(help="Folder of an SAE, recipe or run directory.")],
    out: TableOut = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of UMAP.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Lay out the decoder directions in the plane (UMAP) and cluster them.

    Examples:

      saers embed sae -o embedding.parquet

      saers embed RUN
    """
    if is_run(target):
        run_stage("embed", target, out, force=force, as_json=as_json)
        return
    from saers.embedding import embed as lay_out
    from saers.sae.module import SAE

    decoder = SAE.load(target).W_dec.numpy(force=True)
    frame = lay_out(decoder, range(len(decoder)), seed=seed)
    write_result(frame, out or Path("embedding.parquet"), what="features", as_json=as_json)

"""``saers export``."""

from pathlib import Path
from typing import Annotated

import typer

from saers import checks


def export(
    target: Annotated[Path, typer.Argument(help="Folder of an SAE, or a best_model.pt.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    to: Annotated[
        str, typer.Option(help="saelens (also what saers itself reads) or sparsify.")
    ] = "saelens",
    k: Annotated[
        int | None, typer.Option("-k", min=1, help="Latents kept, for best_model.pt (5 %).")
    ] = None,
    global_max: Annotated[
        Path | None, typer.Option(help="SAE-Borzoi's JSON of channel maxima, for best_model.pt.")
    ] = None,
) -> None:
    """Write an SAE in the format of another program, or import SAE-Borzoi's.

    Examples:

      saers export sae --to sparsify -o coder

      saers export best_model.pt --global-max global_max.json -o sae
    """
    from saers.sae.exchange import export_sparsify, load_sae_borzoi
    from saers.sae.module import SAE

    checks.one_of("--to", to, ("saelens", "sparsify"))
    if target.suffix == ".pt":
        sae = load_sae_borzoi(target, k=k, global_max=global_max)
    elif k is not None or global_max is not None:
        raise ValueError(f"-k and --global-max are for a best_model.pt, {target} is a folder")
    else:
        sae = SAE.load(target)
    if to == "sparsify":
        export_sparsify(sae, out)
    else:
        sae.save(out)
    typer.echo(f"SAE for {to} in {out}", err=True)

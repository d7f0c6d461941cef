"""``saers encode``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, TableOut, is_run, progress, run_stage, write_result


def encode(
    target: Annotated[Path, typer.Argument(help="Activations (HDF5), recipe or run directory.")],
    sae: Annotated[
        Path | None, typer.Option("--sae", help="Folder of the SAE, for plain activations.")
    ] = None,
    out: TableOut = None,
    per_window: Annotated[int, typer.Option(min=1, help="Kept per feature and window.")] = 8,
    per_feature: Annotated[int, typer.Option(min=1, help="Kept per feature.")] = 1000,
    min_distance: Annotated[
        int | None, typer.Option(min=1, help="In positions; default: one receptive window.")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="Also write every sparse code to this HDF5 file.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Encode every position and keep the strongest ones of each feature.

    Examples:

      saers encode activations.h5 --sae sae -o top.parquet

      saers encode RUN
    """
    if is_run(target):
        run_stage("encode", target, out, force=force, as_json=as_json)
        return
    if sae is None:
        raise ValueError("--sae FOLDER is needed with plain activations")
    from saers.activations import open_activations
    from saers.codes import TopSeqlets
    from saers.encoding import encode_source
    from saers.sae.module import SAE
    from saers.seqlets import distance_of

    source, model = open_activations(target), SAE.load(sae)
    distance = min_distance or distance_of(source.layer)
    top = TopSeqlets(model.latents, per_window, per_feature, distance)
    with progress() as shown:
        encode_source(model, source, top, codes_path=codes, progress=shown)
    write_result(top.finish(), out or Path("top.parquet"), what="seqlets", as_json=as_json)

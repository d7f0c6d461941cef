"""``saers bigwig``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saers.cli.console import AsJson, print_json

if TYPE_CHECKING:
    from saers.store import RunStore


def bigwig(
    target: Annotated[Path, typer.Argument(help="File of codes (HDF5), or run directory.")],
    feature: Annotated[list[int], typer.Option("--feature", help="Number; repeat for more.")],
    genome: Annotated[
        Path | None, typer.Option(help="FASTA; a run directory names its own.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the files.")] = Path("bigwig"),
    as_json: AsJson = False,
) -> None:
    """Write the activations of features along the genome as bigWig.

    Codes are written by `saers encode --codes`, or by a run with `encode.codes = true`. A
    position covers the bases of one stride; where windows overlap, the highest counts.

    Examples:

      saers bigwig codes.h5 --feature 7 --feature 12 --genome hg38.fa -o tracks

      saers bigwig RUN --feature 7
    """
    from saers.bigwig import export_bigwig
    from saers.genome import Genome

    of_run: dict[str, Any] = {}
    codes = target
    if target.is_dir():
        codes, genome, of_run = _of_run(target, genome)
    if genome is None:
        raise ValueError("--genome FASTA is needed with a file of codes")
    written = export_bigwig(codes, feature, out, chromosomes=Genome(genome), **of_run)
    if as_json:
        print_json({"out": [str(path) for path in written]})
    else:
        typer.echo(f"{len(written)} tracks in {out}", err=True)


def _of_run(target: Path, genome: Path | None) -> tuple[Path, Path, dict[str, Any]]:
    """Find the codes and the genome of a run, and what it knows of places and names."""
    from saers.layer import LayerInfo
    from saers.recipe import load_recipe
    from saers.store import RunStore

    if not (target / "recipe.toml").is_file():
        raise ValueError(f"{target} is neither a file of codes nor a run directory")
    store = RunStore(target)
    if not store.has("codes"):
        raise FileNotFoundError(
            f"{store.path('codes')} is missing: set encode.codes = true and run encode again"
        )
    found = genome or Path(load_recipe(target / "recipe.toml").genome.fasta)
    options = {
        "windows": store.read_table("windows"),
        "layer": LayerInfo(**store.read_json("layer")),
        "names": _names(store),
    }
    return store.path("codes"), found, options


def _names(store: "RunStore") -> dict[int, str]:
    if not store.has("features"):
        return {}
    return dict(store.read_table("features").select("feature", "name").iter_rows())

"""``saers annotate``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, TableOut, is_run, progress, run_stage, write_result


def annotate(
    target: Annotated[Path, typer.Argument(help="seqlets.parquet, recipe or run directory.")],
    bed: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE, as often as needed; column 4 is the class."),
    ] = None,
    repeatmasker: Annotated[Path | None, typer.Option(help="rmsk.txt or .out.")] = None,
    genome: Annotated[Path | None, typer.Option(help="FASTA.")] = None,
    controls: Annotated[int, typer.Option(min=0, help="Shuffled placements; 0: computed.")] = 0,
    gc_match: Annotated[
        float | None,
        typer.Option(
            "--gc-match", min=0, max=1, help="Greatest difference of G and C content, as 0.05."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the placements.")] = 0,
    out: TableOut = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure the overlap of seqlets with annotations against shuffled placements.

    Examples:

      saers annotate seqlets.parquet --bed ccre=ccres.bed --genome hg38.fa -o annotations.parquet

      saers annotate RUN
    """
    if is_run(target):
        run_stage("annotate", target, out, force=force, as_json=as_json)
        return
    if genome is None:
        raise typer.BadParameter("--genome FASTA is needed with plain seqlets")
    import polars as pl

    from saers.annotations import annotate as measure
    from saers.genome import Genome
    from saers.intervals import named_annotations

    pairs = dict(_name_and_file(text) for text in bed or [])
    annotations = named_annotations(pairs, repeatmasker=repeatmasker)
    with progress() as shown:
        frame = measure(
            pl.read_parquet(target),
            annotations,
            genome=Genome(genome),
            n_controls=controls,
            seed=seed,
            gc_match=gc_match,
            progress=shown,
        )
    write_result(frame, out or Path("annotations.parquet"), what="rows", as_json=as_json)


def _name_and_file(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise typer.BadParameter(f"--bed takes NAME=FILE, got {text!r}")
    return name, Path(file)

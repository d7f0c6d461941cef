"""``saers motifs``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, is_run, print_json, run_stage


def motifs(
    target: Annotated[Path, typer.Argument(help="FASTA of seqlets, recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="MEME file; RUN when given a recipe.")
    ] = None,
    engine: Annotated[str, typer.Option(help="builtin, meme or streme.")] = "builtin",
    count: Annotated[int, typer.Option(min=1, help="Motifs at the most.")] = 2,
    evalue: Annotated[float, typer.Option(help="Largest E-value.")] = 0.05,
    min_width: Annotated[int, typer.Option(min=2, help="Least width.")] = 6,
    max_width: Annotated[int, typer.Option(min=2, help="Greatest width.")] = 20,
    norc: Annotated[bool, typer.Option("--norc", help="Search the given strand alone.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffled controls.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Discover motifs in seqlets.

    Examples:

      saers motifs seqlets/1_n42.fa --count 2 -o motifs.meme

      saers motifs seqlets.fa --engine meme -o motifs.meme

      saers motifs RUN
    """
    if is_run(target):
        run_stage("motifs", target, out, force=force, as_json=as_json)
        return
    from saers.genome import read_fasta
    from saers.motif import write_motifs
    from saers.motifs.engines import discover_motifs

    found = discover_motifs(
        read_fasta(target),
        engine=engine,
        count=count,
        evalue=evalue,
        min_width=min_width,
        max_width=max_width,
        reverse_complement=not norc,
        seed=seed,
    )
    path = out or Path("motifs.meme")
    write_motifs(found, path)
    if as_json:
        print_json({"motifs": [motif.id for motif in found], "out": str(path)})
    else:
        typer.echo(f"{len(found)} motifs in {path}", err=True)

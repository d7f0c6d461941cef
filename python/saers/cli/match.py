"""``saers match``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, is_run, print_json, run_stage


def match(
    query: Annotated[Path, typer.Argument(help="Motif file, recipe or run directory.")],
    target: Annotated[
        str | None, typer.Argument(help="Motif file, or a JASPAR release by name.")
    ] = None,
    tsv: Annotated[Path, typer.Option(help="Table in Tomtom's format.")] = Path("tomtom.tsv"),
    dist: Annotated[str, typer.Option(help="ed, pearson, sandelin, kullback or allr.")] = "ed",
    min_overlap: Annotated[int, typer.Option(min=1, help="Least overlap.")] = 1,
    norc: Annotated[bool, typer.Option("--norc", help="Given strand alone.")] = False,
    thresh: Annotated[float, typer.Option(help="Largest q-value (E-value).")] = 0.5,
    evalue: Annotated[bool, typer.Option("--evalue", help="--thresh is an E-value.")] = False,
    q: Annotated[str, typer.Option(help="independent, or compat: as Tomtom 5.4.1.")] = (
        "independent"
    ),
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory, when given a recipe.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare motifs with known ones, as Tomtom does.

    Examples:

      saers match motifs.meme JASPAR2024_CORE_vertebrates --tsv tomtom.tsv

      saers match motifs.meme targets.meme --dist pearson --min-overlap 5 --evalue --thresh 10

      saers match RUN
    """
    if is_run(query):
        run_stage("match", query, out, force=force, as_json=as_json)
        return
    if target is None:
        raise typer.BadParameter("a target is needed: a motif file, or the name of a release")
    from saers.matches import tomtom, write_tomtom_tsv
    from saers.motif import read_motifs
    from saers.motifs.databases import load_database

    frame = tomtom(
        read_motifs(query),
        load_database(target),
        dist=dist,
        min_overlap=min_overlap,
        reverse_complement=not norc,
        thresh=thresh,
        evalue=evalue,
        q=q,
    )
    write_tomtom_tsv(frame, tsv)
    if as_json:
        print_json({"matches": frame.height, "tsv": str(tsv)})
    else:
        typer.echo(f"{frame.height} matches in {tsv}", err=True)

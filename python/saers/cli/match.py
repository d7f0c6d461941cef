"""``saers match``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Force, Threads, is_run, print_json, run_stage
from saers.store import atomic_path


def match(
    query: Annotated[Path, typer.Argument(help="Motif file, recipe or run directory.")],
    target: Annotated[
        str | None, typer.Argument(help="Motif file, or a JASPAR release by name.")
    ] = None,
    tsv: Annotated[Path, typer.Option(help="Table in Tomtom's format.")] = Path("tomtom.tsv"),
    preset: Annotated[
        str | None, typer.Option(help="modisco: --dist pearson --min-overlap 5.")
    ] = None,
    dist: Annotated[
        str | None, typer.Option(help="ed (default), pearson, sandelin, kullback or allr.")
    ] = None,
    min_overlap: Annotated[int | None, typer.Option(min=1, help="Least overlap.")] = None,
    internal: Annotated[
        bool, typer.Option("--internal", help="The narrower inside the wider.")
    ] = False,
    incomplete_scores: Annotated[
        bool, typer.Option("--incomplete-scores", help="Score aligned columns alone.")
    ] = False,
    motif_pseudo: Annotated[float, typer.Option(min=0, help="Pseudo-count of a column.")] = 0.1,
    bfile: Annotated[
        Path | None, typer.Option(help="Letter frequencies; default: those of the queries.")
    ] = None,
    norc: Annotated[bool, typer.Option("--norc", help="Given strand alone.")] = False,
    thresh: Annotated[float, typer.Option(help="Largest q-value (E-value, p-value).")] = 0.5,
    evalue: Annotated[bool, typer.Option("--evalue", help="--thresh is an E-value.")] = False,
    pvalue: Annotated[bool, typer.Option("--pvalue", help="--thresh is a p-value.")] = False,
    q: Annotated[str, typer.Option(help="independent, or compat: as Tomtom 5.4.1.")] = (
        "independent"
    ),
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="Table with log10 p, names and families; default: matches.parquet beside the TSV."
        ),
    ] = None,
    threads: Threads = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory, when given a recipe.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare motifs with known ones, as Tomtom does.

    Examples:

      saers match motifs.meme JASPAR2024_CORE_vertebrates --tsv tomtom.tsv

      saers match motifs.meme targets.meme --preset modisco --evalue --thresh 10

      saers match motifs.meme targets.meme --q compat --incomplete-scores --bfile background

      saers match RUN
    """
    if is_run(query):
        run_stage("match", query, out, force=force, as_json=as_json)
        return
    if target is None:
        raise typer.BadParameter("a target is needed: a motif file, or the name of a release")
    from saers import checks
    from saers.matches import PRESETS, TomtomOptions, tomtom, write_tomtom_tsv
    from saers.motif import read_background, read_motifs
    from saers.motifs.databases import load_database, with_families

    options: TomtomOptions = {
        "internal": internal,
        "incomplete_scores": incomplete_scores,
        "pseudocount": motif_pseudo,
        "reverse_complement": not norc,
        "thresh": thresh,
        "evalue": evalue,
        "pvalue": pvalue,
        "q": q,
        "threads": threads,
    }
    if preset is not None:
        checks.one_of("--preset", preset, PRESETS)
        options |= PRESETS[preset]
    if dist is not None:
        options["dist"] = dist
    if min_overlap is not None:
        options["min_overlap"] = min_overlap
    if bfile is not None:
        options["background"] = read_background(bfile)
    frame = tomtom(read_motifs(query), load_database(target), **options)
    write_tomtom_tsv(frame, tsv)
    table = parquet or tsv.with_name("matches.parquet")
    with atomic_path(table) as temporary:
        with_families(frame, target).write_parquet(temporary)
    if as_json:
        print_json({"matches": frame.height, "tsv": str(tsv), "parquet": str(table)})
    else:
        typer.echo(f"{frame.height} matches in {tsv} and, with families, {table}", err=True)

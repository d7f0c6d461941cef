"""``saers motifs``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saers.cli.console import AsJson, Force, Threads, is_run, print_json, run_stage

if TYPE_CHECKING:
    from saers.motifs.search import FoundMotif


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
    control: Annotated[
        Path | None, typer.Option(help="FASTA that lacks the motifs; default: shuffles.")
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Sites are likelier in the middle (builtin).")
    ] = False,
    preset: Annotated[
        str | None, typer.Option(help="fast or paper: settings of MEME, over other options.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which the search is given up.")
    ] = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffled controls.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Discover motifs in seqlets.

    Examples:

      saers motifs seqlets/1_n42.fa --count 2 -o motifs.meme

      saers motifs seqlets.fa --aligned --control background.fa -o motifs.meme

      saers motifs seqlets.fa --preset fast -o motifs.meme

      saers motifs RUN
    """
    if is_run(target):
        run_stage("motifs", target, out, force=force, as_json=as_json)
        return
    from saers.genome import read_fasta
    from saers.motif import write_motifs
    from saers.motifs.engines import discover_motifs
    from saers.motifs.search import check_sequences

    found = discover_motifs(
        check_sequences(read_fasta(target), str(target)),
        engine=engine,
        count=count,
        evalue=evalue,
        min_width=min_width,
        max_width=max_width,
        reverse_complement=not norc,
        control=None if control is None else check_sequences(read_fasta(control), str(control)),
        aligned=aligned,
        preset=preset,
        time_limit=time_limit,
        threads=threads,
        seed=seed,
    )
    path = out or Path("motifs.meme")
    if found:
        write_motifs(found, path)
    if as_json:
        told = {"motifs": [_summary(motif) for motif in found]}
        print_json(told | {"out": str(path) if found else None})
        return
    for motif in found:
        place = (
            "" if motif.offset is None else f" at {motif.offset:+.1f} ± {motif.offset_sd:.1f} bp"
        )
        typer.echo(f"{motif.id}: {motif.consensus}, {motif.n_sites} sites{place}", err=True)
    where = f"in {path}" if found else f"found, {path} is not written"
    typer.echo(f"{len(found)} motifs {where}", err=True)


def _summary(motif: "FoundMotif") -> dict[str, Any]:
    return {
        "id": motif.id,
        "consensus": motif.consensus,
        "n_sites": motif.n_sites,
        "log10_evalue": motif.log10_evalue,
        "offset": motif.offset,
        "offset_sd": motif.offset_sd,
    }

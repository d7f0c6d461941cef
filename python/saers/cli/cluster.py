"""``saers cluster``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Threads, print_json, progress
from saers.store import atomic_path


def cluster(
    motifs: Annotated[Path, typer.Argument(help="Motif file, as motifs.meme of a run.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Archetypes, a MEME file.")] = Path(
        "archetypes.meme"
    ),
    members: Annotated[
        Path | None, typer.Option(help="Table of members; default: OUT with .members.tsv.")
    ] = None,
    max_pvalue: Annotated[float, typer.Option(min=0, max=1, help="Of member and leader.")] = 1e-5,
    min_overlap: Annotated[int, typer.Option(min=1, help="Least overlap.")] = 5,
    min_ic: Annotated[float, typer.Option(min=0, help="Bits of a flank that stays.")] = 0.25,
    dist: Annotated[str, typer.Option(help="ed, pearson, sandelin, kullback or allr.")] = "ed",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Gather motifs that say the same into archetypes, a database of their own.

    Examples:

      saers cluster RUN/motifs.meme -o archetypes.meme

      saers match archetypes.meme JASPAR2024_CORE_vertebrates --tsv named.tsv
    """
    from saers.clusters import cluster_motifs
    from saers.motif import write_motifs

    with progress() as shown:
        found = cluster_motifs(
            motifs,
            max_pvalue=max_pvalue,
            min_overlap=min_overlap,
            min_ic=min_ic,
            dist=dist,
            threads=threads,
            progress=shown,
        )
    write_motifs(found.archetypes, out)
    table = members or out.with_suffix(".members.tsv")
    with atomic_path(table) as temporary:
        found.members.write_csv(temporary, separator="\t")
    count, total = len(found.archetypes), found.members.height
    if as_json:
        print_json({"motifs": total, "archetypes": count, "out": str(out), "members": str(table)})
    else:
        typer.echo(f"{total} motifs in {count} archetypes: {out}, {table}", err=True)

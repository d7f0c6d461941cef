"""``saers scan``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, Threads, print_json, progress
from saers.store import atomic_path


def scan(
    motifs: Annotated[str, typer.Argument(help="Motif file, or the name of a database.")],
    sequences: Annotated[Path, typer.Argument(help="FASTA; with --bed an indexed genome.")],
    tsv: Annotated[Path, typer.Option(help="Table in FIMO's format.")] = Path("fimo.tsv"),
    bed: Annotated[Path | None, typer.Option(help="Scan these regions of the genome.")] = None,
    thresh: Annotated[float, typer.Option(min=0, max=1, help="Largest p-value.")] = 1e-4,
    bfile: Annotated[
        Path | None, typer.Option(help="Letter frequencies; default: non-redundant DNA.")
    ] = None,
    motif_pseudo: Annotated[float, typer.Option(min=0, help="Pseudo-count of a column.")] = 0.1,
    norc: Annotated[bool, typer.Option("--norc", help="Given strand alone.")] = False,
    q: Annotated[str, typer.Option(help="q-values: bh, or compat, as FIMO 5.4.1.")] = "bh",
    parquet: Annotated[
        Path | None, typer.Option(help="Also write the table as Parquet, 0-based.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Find the sites of motifs in sequences, with exact p-values, as FIMO does.

    Examples:

      saers scan motifs.meme peaks.fa --tsv fimo.tsv

      saers scan JASPAR2024_CORE_vertebrates hg38.fa --bed peaks.bed --thresh 1e-5

      saers scan motifs.meme peaks.fa --q compat
    """
    from saers.genome import Genome
    from saers.intervals import read_bed
    from saers.motif import read_background
    from saers.motifs.databases import load_database
    from saers.sites import NONREDUNDANT, write_fimo_tsv
    from saers.sites import scan as find

    with progress() as shown:
        sites = find(
            load_database(motifs),
            sequences if bed is None else Genome(sequences),
            regions=None if bed is None else read_bed(bed),
            thresh=thresh,
            pseudocount=motif_pseudo,
            background=NONREDUNDANT if bfile is None else read_background(bfile),
            reverse_complement=not norc,
            q=q,
            threads=threads,
            progress=shown,
        )
    write_fimo_tsv(sites, tsv)
    if parquet is not None:
        with atomic_path(parquet) as temporary:
            sites.write_parquet(temporary)
    if as_json:
        print_json({"sites": sites.height, "tsv": str(tsv)})
    else:
        typer.echo(f"{sites.height} sites in {tsv}", err=True)

"""``saers fasta``."""

from pathlib import Path
from typing import Annotated

import typer

from saers.cli.console import AsJson, print_json
from saers.store import atomic_path


def fasta(
    genome: Annotated[Path, typer.Argument(help="FASTA, plain or bgzip.")],
    regions: Annotated[Path, typer.Argument(help="BED; a strand in column 6 is honoured.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="FASTA file.")] = Path("out.fa"),
    soft_mask: Annotated[bool, typer.Option(help="Keep lower case.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut regions out of a genome.

    Examples:

      saers fasta hg38.fa peaks.bed -o peaks.fa
    """
    from saers.genome import Genome
    from saers.intervals import read_bed

    bed = read_bed(regions)
    sequences = Genome(genome).slice(bed, soft_mask=soft_mask)
    names = bed.select("chrom", "start", "end").iter_rows()
    with atomic_path(out) as temporary, temporary.open("w") as file:
        for (chrom, start, end), sequence in zip(names, sequences, strict=True):
            file.write(f">{chrom}:{start}-{end}\n{sequence}\n")
    if as_json:
        print_json({"sequences": len(sequences), "out": str(out)})
    else:
        typer.echo(f"{len(sequences)} sequences in {out}", err=True)

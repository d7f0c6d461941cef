"""Lay out the input of the ExplaiNN example: one FASTA and a BED of windows of 200 bp.

    python prepare.py DATA OUT [--sites 1300] [--background 1]

DATA holds ``genome/`` with pieces of human chromosomes and ``seqs/`` with JASPAR's site sets.
Every fifth background window (``--background 5``) makes a quick trial. The windows are those of
the pieces, side by side, and ChIP-seq sites of MAX, FOXA1, JUN and JUNB: a contig for each
factor, on which each site lies in the middle of 200 bp with N on both sides.
"""

import argparse
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

LENGTH = 200
PIECES = {
    "chr2": "hg38.chr2_1-2333275.fa.gz",
    "17": "b37.chr17_1-1000000.fa.gz",
    "1": "b37.chr1_1-1000000.fa.gz",  # held out by the recipe
}
SITES = ("MAX_MA0058.2", "FOXA1_MA0148.3", "JUN_MA0488.1", "JUNB_MA0490.1")


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and sequence, in upper case, of every record of a compressed FASTA."""
    name, lines = "", []
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.startswith(">"):
                if name:
                    yield name, "".join(lines).upper()
                name, lines = line[1:].split()[0], []
            else:
                lines.append(line.strip())
    yield name, "".join(lines).upper()


def centre(sequence: str) -> str:
    """Put a site into the middle of a window of N."""
    cut = max(0, len(sequence) - LENGTH) // 2
    return sequence[cut : cut + LENGTH].center(LENGTH, "N")


def evenly(sequences: list[str], count: int) -> list[str]:
    """Choose so many sequences, evenly spaced over the list."""
    count = min(count, len(sequences))
    return [sequences[i * len(sequences) // count] for i in range(count)]


def write_fasta(path: Path, contigs: Iterable[tuple[str, str]]) -> None:
    """Write contigs, 100 bases a line."""
    with path.open("w") as file:
        for name, sequence in contigs:
            file.write(f">{name}\n")
            for first in range(0, len(sequence), 100):
                file.write(sequence[first : first + 100] + "\n")


def prepare(data: Path, out: Path, *, sites: int = 1300, background: int = 1) -> None:
    """Write ``genome.fa`` and ``windows.bed`` into ``out``.

    Parameters
    ----------
    data
        Folder with ``genome/`` and ``seqs/``.
    out
        Folder to write to.
    sites
        Sites of each factor.
    background
        Take every so-manieth window of the pieces.
    """
    contigs, windows = [], []
    for name, file in PIECES.items():
        sequence = next(sequence for _, sequence in read_fasta(data / "genome" / file))
        contigs.append((name, sequence))
        starts = range(0, len(sequence) - LENGTH + 1, LENGTH * background)
        windows += [(name, start) for start in starts]
    for name in SITES:
        file = f"jaspar2018.{name.split('_')[1]}.sites.fa.gz"
        records = [sequence for _, sequence in read_fasta(data / "seqs" / file)]
        chosen = evenly(records, sites)
        contigs.append((name, "".join(centre(sequence) for sequence in chosen)))
        windows += [(name, i * LENGTH) for i in range(len(chosen))]
    out.mkdir(parents=True, exist_ok=True)
    write_fasta(out / "genome.fa", contigs)
    rows = (f"{name}\t{start}\t{start + LENGTH}\n" for name, start in windows)
    (out / "windows.bed").write_text("".join(rows))


def main() -> None:
    """Read the command line and prepare."""
    parser = argparse.ArgumentParser(description="Lay out the input of the ExplaiNN example.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sites", type=int, default=1300)
    parser.add_argument("--background", type=int, default=1)
    options = parser.parse_args()
    prepare(options.data, options.out, sites=options.sites, background=options.background)


if __name__ == "__main__":
    main()

"""Genome: letters and one-hot codes of many regions

A genome of 250 Mb in 5 contigs, 60 letters a line, mixed case; regions lie anywhere. pyfaidx reads
with ``as_raw`` and ``sequence_always_upper``; it has no one-hot code, so that it is given numpy's.
"""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyfaidx
import pysam

from benches.harness import Row, alternate, scaled
from saers import Genome

CONTIGS, LENGTH, WIDTH = 5, 50_000_000, 60


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_genome(Path(folder))
        return [short_slices(path), long_slices(path), codes(path), packed(path)]


def write_genome(folder: Path) -> Path:
    """Write letters whose case changes every 250 bases."""
    rng = np.random.default_rng(0)
    path = folder / "genome.fa"
    with path.open("wb") as file:
        for contig in range(CONTIGS):
            letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, LENGTH, np.uint8)]
            letters |= np.repeat(rng.integers(0, 2, LENGTH // 250, np.uint8) << 5, 250)
            lines = -(-LENGTH // WIDTH)
            text = np.full((lines, WIDTH + 1), ord("\n"), np.uint8)
            text[:, :WIDTH].flat[:LENGTH] = letters
            rest = lines * WIDTH - LENGTH
            file.write(b">chr%d\n" % (contig + 1) + text.tobytes()[: -rest - 1] + b"\n")
    return path


def regions(count: int, width: int) -> pl.DataFrame:
    """Draw regions anywhere."""
    rng = np.random.default_rng(count)
    names = pl.Series([f"chr{contig + 1}" for contig in range(CONTIGS)])
    start = rng.integers(0, LENGTH - width, count)
    chrom = names.gather(rng.integers(0, CONTIGS, count))
    return pl.DataFrame({"chrom": chrom, "start": start, "end": start + width})


def slices_of_pyfaidx(path: Path, rows: list[tuple[str, int, int]]):
    """Open the genome as fast as pyfaidx can be, and return the job that slices it."""
    genome = pyfaidx.Fasta(str(path), as_raw=True, sequence_always_upper=True)
    return lambda: [genome[chrom][start:end] for chrom, start, end in rows]


def short_slices(path: Path) -> Row:
    genome, frame = Genome(path), regions(500_000, 34)
    theirs = slices_of_pyfaidx(path, frame[:50_000].rows())
    assert genome.slice(frame[:50_000]) == theirs()
    ours, peer = alternate([lambda: genome.slice(frame, threads=1), theirs])
    note = "pyfaidx timed on 50,000, times 10"
    return Row("slice", "500,000 × 34 bp", ours, "pyfaidx", scaled(peer, 10), 15, note)


def long_slices(path: Path) -> Row:
    genome, frame = Genome(path), regions(10_000, 4096)
    theirs = slices_of_pyfaidx(path, frame.rows())
    assert genome.slice(frame) == theirs()
    ours, peer = alternate([lambda: genome.slice(frame, threads=1), theirs])
    return Row("slice", "10,000 × 4,096 bp", ours, "pyfaidx", peer, 4)


def codes(path: Path) -> Row:
    genome, frame = Genome(path), regions(10_000, 4096)
    out = np.empty((10_000, 4096, 4), np.float32)
    letters = slices_of_pyfaidx(path, frame[:1000].rows())
    table = np.zeros((256, 4), np.float32)
    table[np.frombuffer(b"ACGT", np.uint8)] = np.eye(4, dtype=np.float32)
    theirs = np.empty((1000, 4096, 4), np.float32)

    def look_up() -> None:
        for place, sequence in zip(theirs, letters(), strict=True):
            np.take(table, np.frombuffer(sequence.encode(), np.uint8), axis=0, out=place)

    ours, peer = alternate([lambda: genome.onehot(frame, out=out, threads=1), look_up])
    assert np.array_equal(out[:1000], theirs)
    note = "into `out`; numpy timed on 1,000, times 10"
    size = "10,000 × 4,096 bp, float32"
    return Row("one-hot", size, ours, "pyfaidx, numpy.take", scaled(peer, 10), None, note)


def packed(path: Path) -> Row:
    """Random places of a bgzip file, whose blocks of 64 KB are packed each by itself."""
    target = path.with_name("genome.fa.gz")
    pysam.tabix_compress(str(path), str(target))
    genome, frame = Genome(target), regions(50_000, 34)
    rows = frame[:2000].rows()
    other = pysam.FastaFile(str(target))

    def theirs() -> list[str]:
        return [other.fetch(chrom, start, end).upper() for chrom, start, end in rows]

    assert genome.slice(frame[:2000]) == theirs()
    ours, peer = alternate([lambda: genome.slice(frame, threads=1), theirs])
    note = "pysam timed on 2,000, times 25"
    return Row("slice, bgzip", "50,000 × 34 bp", ours, "pysam", scaled(peer, 25), None, note)

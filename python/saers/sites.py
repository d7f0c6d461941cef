"""Scanning sequences for the sites of motifs, as FIMO 5.4.1 does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers import _core, checks, schema, store
from saers.genome import Genome
from saers.motif import Motif, read_motifs
from saers.progress import SILENT, Progress
from saers.regions import Regions, regions_frame

# Letter frequencies of the non-redundant DNA database, FIMO's default.
NONREDUNDANT = (0.281774, 0.222020, 0.228876, 0.267330)

# Letters that are scanned at once; longer sequences are cut, which bounds memory.
BATCH = 8_000_000

# FIMO corrects by a share of nulls from all p-values where it stores all sites, up to so many.
FIMO_STORED = 100_000

Q_VALUES = ("bh", "compat")

Sequences: TypeAlias = Genome | str | Path | Mapping[str, str]

TSV_COLUMNS = (
    "motif_id",
    "motif_alt_id",
    "sequence_name",
    "start",
    "stop",
    "strand",
    "score",
    "p-value",
    "q-value",
    "matched_sequence",
)

# Sites before their motifs are told apart; two of them may bear one id.
_FOUND: schema.Columns = {"motif": pl.UInt32, **schema.SITES}

_COMPLEMENT = str.maketrans("ACGTURYKMBDHVSWN", "TGCAAYRMKVHDBSWN")


# Nucleotides, those that stand for several, and gaps.
_LETTERS = b"ACGTURYKMSWBDHVNXacgturykmswbdhvnx.-*"


class Piece(NamedTuple):
    """Part of a sequence."""

    name: str
    offset: int
    """Position of its first letter in the sequence."""
    letters: str
    starts: int
    """Sites may start at so many positions; those behind them come with the next piece."""


def scan(
    motifs: Sequence[Motif] | str | Path,
    sequences: Sequences,
    *,
    regions: Regions | None = None,
    thresh: float = 1e-4,
    pseudocount: float = 0.1,
    background: Sequence[float] = NONREDUNDANT,
    reverse_complement: bool = True,
    q: str = "bh",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Find the sites of motifs in sequences.

    Scores and p-values are those of FIMO 5.4.1 to the last digit that it prints: log-odds are
    rounded to a thousandth of their range, and the p-value is the exact chance to reach the
    rounded score at one place of random sequence.

    Parameters
    ----------
    motifs
        Motifs, or a file of them.
    sequences
        A FASTA file of any size, read in pieces; sequences by name; or a genome.
    regions
        With a genome: where to scan, tuples or a frame of chrom, start, end; their strand does
        not matter. By default everywhere.
    thresh
        Largest p-value that is reported, 0 to 1.
    pseudocount
        Letters of the background that are added to the sites of each column.
    background
        Letter frequencies, made equal on both strands if both are scanned. By default those of
        the non-redundant DNA database, as in FIMO.
    reverse_complement
        Whether the other strand is scanned too.
    q
        How the q-value corrects for the places where a motif was scored. ``bh`` is Benjamini and
        Hochberg. ``compat`` multiplies that by the share of nulls as FIMO estimates it, by a
        bootstrap over a sample of p-values whose random numbers run on from motif to motif, so
        that a motif's q-values depend on those before it; sequences are read twice.
    threads
        Number of threads; all by default.
    progress
        Told the number of letters.

    Returns
    -------
    polars.DataFrame
        Columns of :data:`saers.schema.SITES`: by motif, sequence and position, the given strand
        first. ``start`` and ``end`` are 0-based and half-open. Of a motif with more than
        100,000 sites FIMO drops the worse half; here all are kept.

    Raises
    ------
    ValueError
        If a sequence holds letters that stand for no nucleotide.

    Examples
    --------
    >>> box = Motif("ebox", "MAX", np.eye(4)[[1, 0, 1, 2, 3, 2]])
    >>> sites = scan([box], {"s": "TTCACGTGTT"}, thresh=0.001)
    >>> sites.select("sequence", "start", "end", "strand", "matched").rows()
    [('s', 2, 8, '+', 'CACGTG'), ('s', 2, 8, '-', 'CACGTG')]
    """
    checks.in_range("thresh", thresh, 0, 1)
    checks.one_of("q", q, Q_VALUES)
    listed = read_motifs(motifs) if isinstance(motifs, str | Path) else list(motifs)
    if not listed:
        raise ValueError("motifs must hold at least one motif, got none")
    scanner = _core.MotifScanner(
        [motif.parts() for motif in listed],
        thresh=thresh,
        pseudocount=pseudocount,
        background=background,
        reverse_complement=reverse_complement,
    )
    overlap = max(motif.width for motif in listed) - 1
    source = f"{sequences}: " if isinstance(sequences, str | Path) else ""
    progress.start("letters scanned", None)
    frames, places = [schema.empty(_FOUND)], np.zeros(len(listed), dtype=np.uint64)
    for batch in _batches(_pieces(sequences, regions, overlap)):
        encoded = _encoded(batch, source)
        frames.append(_scan_batch(scanner, listed, batch, encoded, threads))
        places += scanner.places(encoded, [piece.starts for piece in batch])
        progress.advance(sum(len(piece.letters) for piece in batch))
    found = pl.concat(frames)
    shares = np.ones(len(listed))
    if q == "compat":
        progress.start("letters sampled for q-values", None)
        sample = _core.NullShares(places.tolist())
        for batch in _batches(_pieces(sequences, regions, overlap)):
            starts = [piece.starts for piece in batch]
            sample.add(scanner, _encoded(batch, source), starts, threads=threads)
            progress.advance(sum(len(piece.letters) for piece in batch))
        shares = np.array(sample.estimate(_all_stored(found, places)))
    return _with_q_values(found, places, shares)


def write_fimo_tsv(sites: pl.DataFrame, path: str | Path) -> None:
    r"""Write sites as the ``fimo.tsv`` of FIMO 5.4.1: ten columns, positions counted from 1.

    Parameters
    ----------
    sites
        Columns of :data:`saers.schema.SITES`.
    path
        Where to; written whole or not at all.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "fimo.tsv"
    >>> write_fimo_tsv(schema.empty(schema.SITES), path)
    >>> path.read_text().splitlines()[0].split("\t")[:3]
    ['motif_id', 'motif_alt_id', 'sequence_name']
    """
    table = schema.conform(sites, schema.SITES, table="sites")
    with store.atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\t".join(TSV_COLUMNS) + "\n")
        for id, name, sequence, start, end, strand, score, p, q, matched in table.iter_rows():
            file.write(
                f"{id}\t{name}\t{sequence}\t{start + 1}\t{end}\t{strand}\t{score:g}\t{p:.3g}\t"
                f"{q:.3g}\t{matched}\n"
            )
        file.write(f"\n# saers {_core.__version__}, in the layout of FIMO 5.4.1\n")


def _pieces(sequences: Sequences, regions: Regions | None, overlap: int) -> Iterator[Piece]:
    """Cut what is to be scanned into pieces."""
    if isinstance(sequences, Genome):
        return _of_genome(sequences, regions, overlap)
    if regions is not None:
        raise ValueError("regions need a genome: give sequences as saers.Genome(path)")
    if isinstance(sequences, str | Path):
        return _of_fasta(checks.existing_file(sequences, what="FASTA"), overlap)
    return (
        piece for name, letters in sequences.items() for piece in _cut(name, 0, letters, overlap)
    )


def _of_genome(genome: Genome, regions: Regions | None, overlap: int) -> Iterator[Piece]:
    if regions is None:
        regions = [(chrom, 0, length) for chrom, length in genome.chromosomes.items()]
    for chrom, start, end, _ in regions_frame(regions).iter_rows():
        for first in range(start, max(end, start + 1), BATCH):
            stop = min(first + BATCH + overlap, end)
            letters = genome.fetch(chrom, first, stop)
            yield Piece(chrom, first, letters, len(letters) if stop == end else BATCH)
            if stop == end:
                break


def _of_fasta(path: Path, overlap: int) -> Iterator[Piece]:
    """Read a FASTA file line by line; a long sequence is passed on before it ends."""
    name: str | None = None
    parts: list[str] = []
    offset = size = 0
    with path.open() as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith(">"):
                if name is not None:
                    yield from _cut(name, offset, "".join(parts), overlap)
                name, offset, parts, size = (line[1:].split() or [""])[0], 0, [], 0
            elif name is not None:
                parts.append(line.strip())
                size += len(parts[-1])
                if size >= BATCH + overlap:
                    letters = "".join(parts)
                    yield Piece(name, offset, letters, size - overlap)
                    offset += size - overlap
                    parts, size = [letters[size - overlap :]], overlap
            elif line.strip():
                raise _core.FormatError(
                    f"{path}: line {number}: no '>' header before {line.strip()[:40]!r}"
                )
    if name is None:
        raise _core.FormatError(f"{path}: no sequences")
    yield from _cut(name, offset, "".join(parts), overlap)


def _cut(name: str, offset: int, letters: str, overlap: int) -> Iterator[Piece]:
    """Cut a sequence where it is longer than a batch."""
    first = 0
    while len(letters) - first > BATCH + overlap:
        yield Piece(name, offset + first, letters[first : first + BATCH + overlap], BATCH)
        first += BATCH
    yield Piece(name, offset + first, letters[first:], len(letters) - first)


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Gather short pieces."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.letters)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(batch: list[Piece], source: str) -> list[bytes]:
    """Check the letters of some pieces."""
    encoded = [piece.letters.encode() for piece in batch]
    for piece, letters in zip(batch, encoded, strict=True):
        if foreign := letters.translate(None, _LETTERS).decode():
            place = piece.offset + piece.letters.index(foreign[0])
            raise ValueError(
                f"{source}sequence {piece.name} holds {foreign[0]!r} at position {place}, which "
                f"is no nucleotide; protein cannot be scanned"
            )
    return encoded


def _scan_batch(
    scanner: _core.MotifScanner,
    motifs: list[Motif],
    batch: list[Piece],
    encoded: list[bytes],
    threads: int | None,
) -> pl.DataFrame:
    """Scan some pieces; word their sites."""
    columns = scanner.scan(encoded, [piece.starts for piece in batch], threads=threads)
    rows = []
    for motif, piece, start, reverse, score, p_value in zip(*columns.values(), strict=True):
        known, part = motifs[motif], batch[piece]
        matched = part.letters[start : start + known.width]
        rows.append(
            (
                motif,
                known.id,
                known.name,
                part.name,
                part.offset + start,
                part.offset + start + known.width,
                "-" if reverse else "+",
                score,
                p_value,
                np.nan,
                matched.upper().translate(_COMPLEMENT)[::-1] if reverse else matched,
            )
        )
    return pl.DataFrame(rows, schema=dict(_FOUND), orient="row")


def _all_stored(sites: pl.DataFrame, places: NDArray[np.uint64]) -> list[bool]:
    """Tell of which motifs FIMO would store a site at every place."""
    counts = np.bincount(sites["motif"].to_numpy(), minlength=len(places))
    return [bool(n == of and n <= FIMO_STORED) for n, of in zip(counts, places, strict=True)]


def _with_q_values(
    sites: pl.DataFrame, places: NDArray[np.uint64], shares: NDArray[np.float64]
) -> pl.DataFrame:
    """Put the sites of each motif together, and correct for all places that were scored."""
    parts = [schema.empty(schema.SITES)]
    for motif, (count, share) in enumerate(zip(places, shares, strict=True)):
        part = sites.filter(pl.col("motif") == motif).drop("motif")
        p = part["p_value"].to_numpy()
        order = np.argsort(-p, kind="stable")
        q = np.minimum.accumulate(share * p[order] * float(count) / np.arange(len(p), 0, -1))
        corrected = np.empty(len(p))
        corrected[order] = np.minimum(q, 1.0)
        parts.append(part.with_columns(q_value=pl.Series(corrected, dtype=pl.Float64)))
    return pl.concat(parts)

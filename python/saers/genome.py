"""Slices of a genome: letters and one-hot codes of regions of an indexed FASTA file."""

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, Union, overload

import numpy as np
import polars as pl
from numpy.typing import DTypeLike, NDArray

from saers import _core, checks
from saers.regions import Regions, regions_frame

if TYPE_CHECKING:
    import torch

_Columns: TypeAlias = tuple[
    NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]
]

_MANY = 1000
"""Names from which on it pays to look first which of them occur."""

_MITOCHONDRION = frozenset({"chrM", "chrMT", "M", "MT", "Mito", "chrMito"})
Out = TypeVar("Out", NDArray[Any], "torch.Tensor")


class HasFilename(Protocol):
    """What is needed of a ``pyfaidx.Fasta``."""

    filename: str


GenomeLike: TypeAlias = Union[str, Path, "Genome", HasFilename]


class Genome:
    r"""An indexed FASTA file, plain or bgzip, whose letters stay on disk until asked for.

    Parameters
    ----------
    source
        Path of the file, or a ``pyfaidx.Fasta`` (its file is opened, its options are not
        taken over). The ``.fai`` beside the file is read; where there is none it is made,
        and kept if the folder can be written to. The same holds for the ``.gzi`` of a bgzip
        file.

    Raises
    ------
    OSError
        If a file cannot be read.
    FormatError
        If the file is no FASTA, was compressed by plain gzip, or its index is stale.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "genome.fa"
    >>> _ = path.write_text(">chr1\nACGTacgtNN\n")
    >>> genome = Genome(path)
    >>> genome.chromosomes
    {'chr1': 10}
    >>> genome.fetch("chr1", 2, 6)
    'GTac'
    """

    def __init__(self, source: GenomeLike) -> None:
        self.path = _path_of(source)
        self._fasta = _core.Fasta(self.path)
        records = self._fasta.records()
        self.chromosomes: dict[str, int] = dict(records)
        self._numbers = {name: number for number, (name, _) in enumerate(records)}
        self._n_runs: dict[str, NDArray[np.int64]] = {}

    def __repr__(self) -> str:
        return f"Genome({str(self.path)!r})"

    def __reduce__(self) -> tuple[type["Genome"], tuple[Path]]:
        """Open the file again on the other side: workers of a data loader get their own."""
        return Genome, (self.path,)

    def fetch(self, chrom: str, start: int, end: int) -> str:
        r"""Read one stretch, letters as they stand in the file (soft masking kept).

        Parameters
        ----------
        chrom
            Name of the chromosome.
        start, end
            0-based, half-open; must lie inside the chromosome.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nACGT\n")
        >>> Genome(path).fetch("chr1", 2, 5)
        Traceback (most recent call last):
        ...
        ValueError: regions[0]: chr1:2-5 reaches past the end of chr1, 4 bp (pad=True gives N there)
        """
        self.require([chrom])
        return self._fasta.fetch(self._numbers[chrom], start, end)

    def slice(
        self,
        regions: Regions,
        *,
        pad: bool = False,
        soft_mask: bool = False,
        threads: int | None = None,
    ) -> list[str]:
        r"""Read many regions at once.

        Parameters
        ----------
        regions
            Frame with columns chrom, start, end and, if wanted, strand; or tuples of the
            same. 0-based, half-open. A region on strand ``-`` comes reverse complemented.
        pad
            Give N for places outside the chromosome instead of refusing them.
        soft_mask
            Keep lower case letters; otherwise all come in upper case.
        threads
            How many read; None: one for each core.

        Returns
        -------
        list of str
            The letters of each region, in the order given.

        Raises
        ------
        ValueError
            If a chromosome is unknown, or a region ends before it starts or (without
            ``pad``) lies outside its chromosome.
        FormatError
            If the file does not hold what its index promises, as when it was cut since.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nAACGttNN\n")
        >>> Genome(path).slice([("chr1", 0, 4), ("chr1", 1, 6, "-")])
        ['AACG', 'AACGT']
        >>> Genome(path).slice([("chr1", 6, 10)], pad=True)
        ['NNNN']
        """
        return self._fasta.slice(self._columns(regions), pad, soft_mask, threads)

    @overload
    def onehot(
        self,
        regions: Regions,
        dtype: DTypeLike | None = None,
        *,
        pad: bool = False,
        channels_first: bool = False,
        out: None = None,
        threads: int | None = None,
    ) -> NDArray[Any]: ...
    @overload
    def onehot(
        self,
        regions: Regions,
        dtype: DTypeLike | None = None,
        *,
        pad: bool = False,
        channels_first: bool = False,
        out: Out,
        threads: int | None = None,
    ) -> Out: ...
    def onehot(
        self,
        regions: Regions,
        dtype: DTypeLike | None = None,
        *,
        pad: bool = False,
        channels_first: bool = False,
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        r"""One-hot code of regions of one length.

        Parameters
        ----------
        regions
            As for :meth:`slice`, all of one length.
        dtype
            Type of the numbers, written as such: no other copy is made. None: that of
            ``out``, else float32.
        pad
            As for :meth:`slice`.
        channels_first
            Lay the code out as (n, 4, length), as convolutions of torch read it.
        out
            Where to write: an array or a torch tensor on the CPU, contiguous and of the shape
            that is returned. None: a new array.
        threads
            As for :meth:`slice`.

        Returns
        -------
        ndarray of shape (n, length, 4)
            Channels in the order A, C, G, T; any other letter is four zeros. ``out`` where
            that was given.

        Raises
        ------
        ValueError
            As for :meth:`slice`; also if regions differ in length, or ``out`` does not fit.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nACGTN\n")
        >>> Genome(path).onehot([("chr1", 2, 5)], np.uint8)
        array([[[0, 0, 1, 0],
                [0, 0, 0, 1],
                [0, 0, 0, 0]]], dtype=uint8)
        """
        columns = self._columns(regions)
        widths = columns[2] - columns[1]
        length = max(int(widths[0]), 0) if len(widths) else 0
        shape = (len(widths), 4, length) if channels_first else (len(widths), length, 4)
        if out is None:
            code = np.empty(shape, np.float32 if dtype is None else dtype)
        else:
            code = _writable(out, shape, dtype)
        if code.dtype.itemsize > 8 or code.dtype.kind not in "biuf":
            raise ValueError(f"dtype must be a type of numbers, up to 8 bytes, got {code.dtype}")
        bits = np.dtype(f"u{code.dtype.itemsize}")
        one = int(np.ones((), code.dtype).view(bits))
        self._fasta.onehot(columns, code.reshape(-1).view(bits), one, pad, channels_first, threads)
        return code if out is None else out

    def n_runs(self, chrom: str) -> NDArray[np.int64]:
        r"""Find the runs of N in a chromosome, once and for all later calls.

        Returns
        -------
        int64 ndarray of shape (m, 2)
            Start and end of each run, 0-based and half-open, in order.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nNNACGNn\n")
        >>> Genome(path).n_runs("chr1").tolist()
        [[0, 2], [5, 7]]
        """
        self.require([chrom])
        if chrom not in self._n_runs:
            runs = self._fasta.n_runs(self._numbers[chrom]).reshape(-1, 2)
            runs.flags.writeable = False
            self._n_runs[chrom] = runs
        return self._n_runs[chrom]

    def match_gc(
        self, chroms: Iterable[str], tolerance: float, *, threads: int | None = None
    ) -> _core.GcMatch:
        r"""Read which bases are G or C, so that places of a like share of them can be found.

        Parameters
        ----------
        chroms
            The chromosomes, in the order in which the caller numbers them.
        tolerance
            Largest difference between two shares that are alike, 0 to 1.
        threads
            None: all cores.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nACGT\n")
        >>> Genome(path).match_gc(["chr1"], 1.5)
        Traceback (most recent call last):
        ...
        ValueError: gc_match must lie in 0..1, got 1.5
        """
        names = list(chroms)
        self.require(names)
        records = [self._numbers[name] for name in names]
        return _core.GcMatch(self._fasta, records, tolerance, threads)

    def require(self, chroms: Iterable[str]) -> None:
        r"""Require that all chromosomes are in the genome; name the alias where one is.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "genome.fa"
        >>> _ = path.write_text(">chr1\nACGT\n")
        >>> Genome(path).require(["1"])
        Traceback (most recent call last):
        ...
        ValueError: '1' is not in genome.fa, which has 'chr1' (match_names renames)
        """
        for chrom in chroms:
            if chrom in self.chromosomes:
                continue
            other = alias(chrom, self.chromosomes)
            hint = (
                f", which has {other!r} (match_names renames)"
                if other
                else checks.did_you_mean(chrom, self.chromosomes)
            )
            raise ValueError(f"{chrom!r} is not in {self.path.name}{hint}")

    def _columns(self, regions: Regions) -> _Columns:
        """Bring regions into the columns that the kernels read."""
        frame = regions_frame(regions)
        chroms = frame["chrom"]
        few = len(self._numbers) <= _MANY
        names = list(self._numbers) if few else chroms.unique(maintain_order=True).to_list()
        self.require(names)
        places = chroms.cast(pl.Enum(names), strict=False)
        if places.null_count():
            self.require(chroms.unique(maintain_order=True))
        numbers = np.array([self._numbers[name] for name in names], dtype=np.uint32)
        return (
            numbers[places.to_physical().to_numpy()],
            np.ascontiguousarray(frame["start"].to_numpy(), dtype=np.int64),
            np.ascontiguousarray(frame["end"].to_numpy(), dtype=np.int64),
            np.ascontiguousarray((frame["strand"] == "-").to_numpy(), dtype=np.bool_),
        )


def alias(name: str, known: Collection[str]) -> str | None:
    """Find the other spelling of a chromosome: with or without ``chr``, or M for MT.

    Examples
    --------
    >>> alias("1", ["chr1", "chr2"]), alias("chrM", ["I", "Mito"]), alias("1", ["chr2"])
    ('chr1', 'Mito', None)
    """
    others = [name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"]
    if name in _MITOCHONDRION:
        others += sorted(_MITOCHONDRION)
    return next((other for other in others if other in known and other != name), None)


def _writable(out: object, shape: tuple[int, ...], dtype: DTypeLike | None) -> NDArray[Any]:
    """Give the array behind ``out``, or say why it cannot be written to."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    if torch is not None and isinstance(out, torch.Tensor):
        if out.device.type != "cpu" or out.requires_grad:
            raise ValueError("out must be a tensor on the CPU that needs no gradient")
        array: NDArray[Any] = out.numpy()
    elif isinstance(out, np.ndarray):
        array = out
    else:
        raise TypeError(f"out must be an array or a tensor, got {type(out).__name__}")
    if array.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {array.shape}")
    if dtype is not None and array.dtype != np.dtype(dtype):
        raise ValueError(f"out must have the type {np.dtype(dtype)}, got {array.dtype}")
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError("out must be contiguous and writable")
    return array


def _path_of(source: GenomeLike) -> Path:
    if isinstance(source, Genome):
        return source.path
    path = source if isinstance(source, str | Path) else source.filename
    return checks.existing_file(path, what="genome")


def read_fasta(path: str | Path) -> list[str]:
    r"""Read the sequences of a FASTA file in order; names may repeat, unlike in a genome.

    Raises
    ------
    FormatError
        If the file does not begin with a header, or holds no sequence.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "seqlets.fa"
    >>> _ = path.write_text(">a\nAC\nGT\n>a\nTT\n")
    >>> read_fasta(path)
    ['ACGT', 'TT']
    """
    found = checks.existing_file(path, what="FASTA")
    records: list[list[str]] = []
    with found.open() as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith(">"):
                records.append([])
            elif records:
                records[-1].append(line.strip())
            elif line.strip():
                raise _core.FormatError(
                    f"{found}: line {number}: no '>' header before {line.strip()!r}"
                )
    sequences = ["".join(record) for record in records]
    if not any(sequences):
        raise _core.FormatError(f"{found}: no sequences")
    return sequences

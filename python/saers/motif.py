"""Motifs, and the files that hold them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saers import _core, checks, store

UNIFORM = (0.25, 0.25, 0.25, 0.25)

_Parts: TypeAlias = tuple[
    str, str, NDArray[np.float64], float | None, Sequence[float], float | None
]


@dataclass(frozen=True, eq=False)
class Motif:
    """Probabilities of the letters at each position, with a name.

    Parameters
    ----------
    id
        What tables call it.
    name
        What people call it; may be empty.
    matrix
        Shape (width, 4): probabilities of A, C, G, T. Each row sums to 1; rows that are off by
        more than 0.00001 and less than 0.05 are divided by their sum. Kept read-only, float64.
    n_sites
        Number of sites that it was made from, where known.
    background
        Letter frequencies of the sequences that it was found in.
    log10_evalue
        Base-10 logarithm of its E-value, where known: E-values go below 1e-308.

    Examples
    --------
    >>> motif = Motif("m", "", [[1, 0, 0, 0], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])
    >>> motif.consensus, motif.reverse_complement().consensus, motif.trim(0.25).consensus
    ('AGA', 'ACT', 'AG')
    >>> motif.information.tolist()
    [2.0, 2.0, 0.0]
    """

    id: str
    name: str
    matrix: NDArray[np.float64]
    n_sites: float | None = None
    background: tuple[float, float, float, float] = UNIFORM
    log10_evalue: float | None = None

    def __post_init__(self) -> None:
        if not self.id or self.id.split() != [self.id]:
            raise ValueError(f"id must be a word without blanks, got {self.id!r}")
        object.__setattr__(self, "matrix", _frequencies(self.matrix, self.id))
        a, c, g, t = _background(self.background)
        object.__setattr__(self, "background", (a, c, g, t))

    @property
    def width(self) -> int:
        """Number of positions."""
        return len(self.matrix)

    @property
    def consensus(self) -> str:
        """The likeliest letter of each position; of equal ones the first in the alphabet."""
        return _core.motif_consensus(self.matrix)

    @property
    def information(self) -> NDArray[np.float64]:
        """Bits of each position, 2 at most, shape (width,)."""
        return _core.motif_information(self.matrix)

    def reverse_complement(self) -> "Motif":
        """Read the motif off the other strand."""
        a, c, g, t = self.background
        return replace(self, matrix=self.matrix[::-1, ::-1], background=(t, g, c, a))

    def trim(self, min_ic: float = 0.25) -> "Motif":
        """Cut off flanking positions of fewer than ``min_ic`` bits.

        Of a motif that has no better position the most informative one stays.
        """
        start, end = _core.motif_core(self.matrix, min_ic)
        return replace(self, matrix=self.matrix[start:end])

    def shuffle_columns(self, seed: int) -> "Motif":
        """Put the positions in a random order: a control with the same composition."""
        return replace(self, matrix=_core.motif_shuffle(self.matrix, seed))

    def parts(self) -> _Parts:
        """Hand the fields to the kernels, in their order."""
        return (
            self.id,
            self.name,
            self.matrix,
            self.n_sites,
            self.background,
            self.log10_evalue,
        )


def read_motifs(path: str | Path) -> list[Motif]:
    r"""Read all motifs of a file.

    MEME (its minimal format, and the reports of MEME and STREME), JASPAR, TRANSFAC, HOCOMOCO
    (counts or probabilities) and HOMER are told apart by their content; gzip is opened.

    Parameters
    ----------
    path
        A file of one of these formats.

    Returns
    -------
    list of Motif
        In the order of the file, at least one. Counts become probabilities, and the sum of the
        first position the number of sites.

    Raises
    ------
    FormatError
        If the file is broken (with the line) or holds no motif.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jaspar") as file:
    ...     _ = file.write(">MA1 AG\nA [2 0]\nC [0 0]\nG [0 2]\nT [0 0]\n")
    ...     file.flush()
    ...     [(motif.id, motif.name, motif.n_sites) for motif in read_motifs(file.name)]
    [('MA1', 'AG', 2.0)]
    """
    return [
        Motif(id, name, matrix, n_sites, (b[0], b[1], b[2], b[3]), log10_evalue)
        for id, name, matrix, n_sites, b, log10_evalue in _core.read_motifs(path)
    ]


def write_motifs(motifs: Iterable[Motif], path: str | Path) -> None:
    """Write motifs in MEME's minimal format, or JASPAR's where ``path`` ends in ``.jaspar``.

    The file is written whole or not at all. A MEME file has one background: that of the motifs
    where they agree, else equal letters.

    Parameters
    ----------
    motifs
        At least one.
    path
        Where to. ``.jaspar`` and ``.pfm`` are written as counts, 100 sites where a motif does
        not say how many it has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "motifs.meme"
    ...     write_motifs([Motif("m", "", [[1, 0, 0, 0]], log10_evalue=-1834.5)], path)
    ...     print(path.read_text().splitlines()[10])
    letter-probability matrix: alength= 4 w= 1 E= 3.2e-1835
    """
    parts = [motif.parts() for motif in motifs]
    if not parts:
        raise ValueError(f"motifs must hold at least one motif, got none to write to {path}")
    text = _core.motifs_text(parts, jaspar=Path(path).suffix in {".jaspar", ".pfm"})
    with store.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_background(path: str | Path) -> tuple[float, float, float, float]:
    r"""Read letter frequencies from a background file of the MEME Suite.

    Lines of a letter and its frequency; those of longer words and comments are passed over.

    Raises
    ------
    FormatError
        If a line is broken, or the four letters are not all there.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "background"
    >>> _ = path.write_text("# order 0\nA 0.3\nC 0.2\nG 0.2\nT 0.3\n")
    >>> read_background(path)
    (0.3, 0.2, 0.2, 0.3)
    """
    found = checks.existing_file(path, what="background")
    values: dict[str, float] = {}
    for number, line in enumerate(found.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#") or len(words[0]) > 1:
            continue
        try:
            letter, value = words
            values[letter.upper().replace("U", "T")] = float(value)
        except ValueError:
            raise _core.FormatError(
                f"{found}: line {number}: expected a letter and its frequency, found {line!r}"
            ) from None
    try:
        a, c, g, t = _background([values[letter] for letter in "ACGT"])
    except (KeyError, ValueError):
        raise _core.FormatError(
            f"{found}: expected frequencies of A, C, G and T that sum to 1, found {values}"
        ) from None
    return (a, c, g, t)


def _frequencies(matrix: ArrayLike, id: str) -> NDArray[np.float64]:
    """Check probabilities and make them read-only."""
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"matrix of {id} must have shape (width, 4), got {array.shape}")
    try:
        checked = _core.motif_frequencies(array)
    except ValueError as error:
        raise ValueError(f"matrix of {id}: {error}") from None
    checked.flags.writeable = False
    return checked


def _background(values: Sequence[float]) -> list[float]:
    """Require four letter frequencies that sum to 1."""
    row = [float(value) for value in values]
    if len(row) != 4 or min(row) < 0 or abs(sum(row) - 1) > 0.05:
        raise ValueError(f"background must be 4 frequencies that sum to 1, got {values!r}")
    return row

"""What a search for motifs is told, what it is given and what it returns, whatever the engine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from saers import _core, checks
from saers.motif import Motif

ENGINES: Final = ("builtin", "meme", "streme")
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "fast": {"engine": "meme", "search_size": 4000},
    "paper": {"engine": "meme", "reverse_complement": False, "min_width": 8, "max_width": 50},
}
"""Named settings of MEME: a small search set, and SAE-Borzoi's own."""

_WIDEST = {"builtin": 30, "meme": 300, "streme": 30}
_NARROWEST = {"builtin": 4, "meme": 2, "streme": 3}
# Nucleotides, their ambiguity codes, and signs for gaps and masked letters.
_FOREIGN = re.compile(r"[^ACGTUNRYSWKMBDHVXacgtunryswkmbdhvx.*-]")


@dataclass(frozen=True)
class Search:
    """What to look for, and how hard.

    Parameters
    ----------
    engine
        ``builtin``, ``meme`` or ``streme``.
    count
        Motifs reported at most.
    evalue
        A motif is reported when its E-value is below this.
    min_width, max_width
        Widths allowed: 4 to 30 (``builtin``), 3 to 30 (``streme``), 2 to 300 (``meme``).
    reverse_complement
        Whether a site may lie on either strand; ``streme`` knows no other way.
    seed
        Seed of shuffles and samples.
    aligned
        Only ``builtin``: sites are likelier around the middle of their sequence. Half of them are
        expected anywhere, half at a normal distance of 6 bp from the middle.
    search_size
        Only ``meme``: letters that take part in its search, whose time grows with the square of
        this. None is MEME's own 100,000; 4,000 is about 80 times faster on 1,000 × 34 bp and
        finds nearly the same motifs with weaker E-values.
    """

    engine: str = "builtin"
    count: int = 2
    evalue: float = 0.05
    min_width: int = 6
    max_width: int = 20
    reverse_complement: bool = True
    seed: int = 0
    aligned: bool = False
    search_size: int | None = None

    def __post_init__(self) -> None:
        checks.one_of("engine", self.engine, ENGINES)
        if self.count < 1:
            raise ValueError(f"count must be positive, got {self.count}")
        if not self.evalue > 0:
            raise ValueError(f"evalue must be positive, got {self.evalue}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        low, high = _NARROWEST[self.engine], _WIDEST[self.engine]
        checks.in_range("min_width", self.min_width, low, high)
        checks.in_range("max_width", self.max_width, self.min_width, high)
        if self.engine == "streme" and not self.reverse_complement:
            raise ValueError("engine streme always searches both strands of DNA")
        if self.search_size is not None and self.engine != "meme":
            raise ValueError(f"search_size belongs to engine meme, not to {self.engine}")
        if self.aligned and self.engine != "builtin":
            raise ValueError(f"aligned belongs to engine builtin, not to {self.engine}")


@dataclass(frozen=True, eq=False)
class FoundMotif(Motif):
    """A motif, and where its sites lie in the sequences that it was found in.

    Parameters
    ----------
    offset
        Mean distance in bp of a site's middle from that of its sequence, positive on the side
        towards which the motif reads. None where no sequence holds a likely site.
    offset_sd
        Standard deviation of these distances; small where sites lie where the sequences were
        aligned.
    """

    offset: float | None = None
    offset_sd: float | None = None


def placed(motif: Motif, name: str, sequences: Sequence[str], *, both_strands: bool) -> FoundMotif:
    """Tell where the sites of a motif lie, by the same rule for every engine.

    Examples
    --------
    >>> motif = Motif("m", "", [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] * 2, 2)
    >>> sequences = ["CCCCACGTACGTCCCC", "GGACGTACGTGGGGGG"]
    >>> found = placed(motif, "motif_1", sequences, both_strands=False)
    >>> found.offset, found.offset_sd
    (-1.0, 1.0)
    """
    n_sites = round(motif.n_sites or 0)
    offsets = _core.motif_offsets(list(sequences), motif.matrix, n_sites, both_strands)
    mean, deviation = offsets or (None, None)
    return FoundMotif(
        name,
        "",
        motif.matrix,
        motif.n_sites,
        motif.background,
        motif.log10_evalue,
        mean,
        deviation,
    )


def check_sequences(sequences: Sequence[str], name: str = "sequences") -> list[str]:
    """Refuse what is no list of nucleotide sequences; U stands for T.

    Raises
    ------
    ValueError
        Naming the sequence (from 1), the place (from 1) and the letter.

    Examples
    --------
    >>> check_sequences(["ACGU", "acn-"])
    ['ACGT', 'acn-']
    >>> check_sequences(["ACGT", "MKLV"])
    Traceback (most recent call last):
    ...
    ValueError: sequences: sequence 2 holds 'L' at position 3, which is no nucleotide; protein \
cannot be searched
    """
    if isinstance(sequences, str):
        raise ValueError(f"{name} must be a list of strings, got one string")
    for number, sequence in enumerate(sequences, start=1):
        foreign = _FOREIGN.search(sequence)
        if foreign:
            raise ValueError(
                f"{name}: sequence {number} holds {foreign[0]!r} at position "
                f"{foreign.start() + 1}, which is no nucleotide; protein cannot be searched"
            )
    return [sequence.replace("U", "T").replace("u", "t") for sequence in sequences]


def check_weights(search: Search, weights: Sequence[float] | None, sequences: int) -> None:
    """Refuse weights that do not fit.

    Examples
    --------
    >>> check_weights(Search(), [1.0], 2)
    Traceback (most recent call last):
    ...
    ValueError: weights must be as many as the 2 sequences, got 1
    """
    if weights is None:
        return
    if search.engine != "builtin":
        raise ValueError(f"weights belong to engine builtin, not to {search.engine}")
    if len(weights) != sequences:
        raise ValueError(
            f"weights must be as many as the {sequences} sequences, got {len(weights)}"
        )


def preset(name: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Let a preset overrule the options that it names.

    Examples
    --------
    >>> preset("fast", {"engine": "builtin", "count": 1})
    {'engine': 'meme', 'count': 1, 'search_size': 4000}
    """
    if name is None:
        return options
    checks.one_of("preset", name, list(PRESETS))
    return options | PRESETS[name]

"""A genome with planted motifs, and the truth about it.

Letters are 0 to 3 for A, C, G, T and 4 for N. Repeats come first, sites are planted over them
and over the background, never over one another.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saers.demo.config import SimulationConfig
from saers.demo.motifs import choose_motifs, draw_instances, reverse_complement, sharpen
from saers.motif import Motif
from saers.schema import Columns

# Probability of the next base (columns ACGT) after each base (rows ACGT) in human sequence.
DINUCLEOTIDES = np.array(
    [
        [0.327, 0.172, 0.238, 0.263],
        [0.349, 0.252, 0.049, 0.350],
        [0.287, 0.209, 0.253, 0.251],
        [0.219, 0.203, 0.251, 0.327],
    ]
)
BACKGROUND = np.array([0.294, 0.206, 0.206, 0.294])
ENHANCER_CLASSES = ("PLS", "pELS", "dELS", "CTCF-only")
INTERVALS: Columns = {"start": pl.Int64, "end": pl.Int64, "class": pl.String}
SITES: Columns = {
    "start": pl.Int64,
    "end": pl.Int64,
    "strand": pl.String,
    "motif": pl.Int64,  # index among the planted
    "origin": pl.String,  # "single", "pair", "enhancer" or "repeat"
}
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
_TELOMERE = 1000  # bp of N at the ends of a chromosome
_GAP = (500, 5000)  # bp of a run of N
_REPEAT = (250, 350)  # bp of a repeat's consensus
_DIVERGENCE = (0.1, 0.3)  # share of substituted letters in a copy
_ENHANCER = (400, 900)  # bp


class Simulation(NamedTuple):
    """A simulated genome and the whole truth about it."""

    config: SimulationConfig
    chromosomes: dict[str, NDArray[np.uint8]]  # letters
    motifs: list[Motif]  # as in the database
    instances: list[NDArray[np.float64]]  # matrices that sites are drawn from
    rates: pl.DataFrame  # motif, id, name, sites_per_kb, sharpness, information
    sites: pl.DataFrame  # chrom, start, end, strand, motif, origin
    pairs: pl.DataFrame  # first, second, gap
    repeats: pl.DataFrame  # chrom, start, end, class
    enhancers: pl.DataFrame  # chrom, start, end, class

    @property
    def holdout(self) -> str:
        """The chromosome that nothing is trained on."""
        return list(self.chromosomes)[-1]


class _Family(NamedTuple):
    """A family of repeats."""

    consensus: NDArray[np.uint8]
    sites: list[tuple[int, int]]  # (motif, offset), all on the forward strand


@dataclass(frozen=True)
class _Plan:
    """What is the same on all chromosomes."""

    config: SimulationConfig
    instances: list[NDArray[np.float64]]
    rates: NDArray[np.float64]  # sites per kb
    families: list[_Family]
    pairs: list[tuple[int, int, int]]  # first, second, gap
    classes: list[set[int]]  # motifs that each class of enhancers is rich in


class _Group(NamedTuple):
    """Motifs to be planted together: one, or a pair."""

    start: int
    parts: tuple[tuple[int, int], ...]  # (motif, offset)
    length: int
    origin: str


def simulate(config: SimulationConfig, database: list[Motif]) -> Simulation:
    """Draw a genome, plant motifs in it, and keep the truth.

    Parameters
    ----------
    config
        How much of what.
    database
        Known motifs, from which those to plant are drawn.

    Examples
    --------
    >>> from saers.motifs.databases import load_database
    >>> database = load_database("JASPAR2024_CORE_vertebrates")[:200]
    >>> config = SimulationConfig(chromosomes=(20_000, 10_000), n_motifs=4, n_pairs=1)
    >>> truth = simulate(config, database)
    >>> list(truth.chromosomes), truth.holdout, len(truth.motifs)
    (['chr1', 'chr2'], 'chr2', 4)
    """
    rng = np.random.default_rng((config.seed, 1))
    motifs = choose_motifs(
        database,
        config.n_motifs,
        seed=config.seed,
        information=config.information,
        width=config.width,
        least_evalue=config.least_evalue,
    )
    powers = rng.uniform(*config.sharpness, config.n_motifs)
    low, high = np.log(config.sites_per_kb)
    plan = _plan(
        config,
        [sharpen(motif.matrix, power) for motif, power in zip(motifs, powers, strict=True)],
        np.exp(rng.uniform(low, high, config.n_motifs)),
        rng,
    )
    made = [
        _chromosome(plan, f"chr{number}", length, rng)
        for number, length in enumerate(config.chromosomes, start=1)
    ]
    rates = pl.DataFrame(
        {
            "motif": np.arange(config.n_motifs),
            "id": [motif.id for motif in motifs],
            "name": [motif.name for motif in motifs],
            "sites_per_kb": plan.rates,
            "sharpness": powers,
            "information": [float(motif.information.sum()) for motif in motifs],
        }
    )
    return Simulation(
        config,
        {name: letters for name, letters, *_ in made},
        motifs,
        plan.instances,
        rates,
        pl.concat([sites for _, _, sites, *_ in made]),
        pl.DataFrame(plan.pairs, schema=["first", "second", "gap"], orient="row"),
        pl.concat([repeats for *_, repeats, _ in made]),
        pl.concat([enhancers for *_, enhancers in made]),
    )


def background(length: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw letters of a first-order chain with human dinucleotides.

    All blocks are drawn at once from each letter that may stand before them, and then joined.

    Examples
    --------
    >>> background(5, np.random.default_rng(0)).shape
    (5,)
    """
    block = 1024
    count = -(-length // block)
    chances = rng.random((block, count, 1, 1))
    cumulative = (DINUCLEOTIDES / DINUCLEOTIDES.sum(axis=1, keepdims=True)).cumsum(axis=1)[:, :3]
    drawn = np.empty((block, count, 4), dtype=np.uint8)
    before = np.tile(np.arange(4, dtype=np.uint8), (count, 1))
    for position in range(block):
        before = (chances[position] >= cumulative[before]).sum(axis=2, dtype=np.uint8)
        drawn[position] = before
    letters = np.empty((count, block), dtype=np.uint8)
    last = 0
    for index in range(count):
        letters[index] = drawn[:, index, last]
        last = int(letters[index, -1])
    return letters.ravel()[:length]


def letters_of(truth: Simulation, chromosome: str) -> str:
    """Spell a chromosome, repeats in lower case.

    Examples
    --------
    >>> from saers.motifs.databases import load_database
    >>> database = load_database("JASPAR2024_CORE_vertebrates")[:200]
    >>> config = SimulationConfig(chromosomes=(20_000,), n_motifs=4, n_pairs=1)
    >>> letters_of(simulate(config, database), "chr1")[:4]
    'NNNN'
    """
    text = _LETTERS[truth.chromosomes[chromosome]]
    for start, end in (
        truth.repeats.filter(pl.col("chrom") == chromosome).select("start", "end").iter_rows()
    ):
        text[start:end] |= 0x20  # the bit of lower case in ASCII
    return text.tobytes().decode("ascii")


def _plan(
    config: SimulationConfig,
    instances: list[NDArray[np.float64]],
    rates: NDArray[np.float64],
    rng: np.random.Generator,
) -> _Plan:
    """Draw repeats, pairs and what enhancers are rich in."""
    families = []
    for _ in range(config.n_repeat_families):
        consensus = background(int(rng.integers(*_REPEAT)), rng)
        carried: list[tuple[int, int]] = []
        for part, motif in enumerate(rng.choice(config.n_motifs, 2, replace=False)):
            instance = draw_instances(instances[motif], 1, rng)[0]
            half = len(consensus) // 2
            start = part * half + int(rng.integers(half - len(instance)))
            consensus[start : start + len(instance)] = instance
            carried.append((int(motif), start))
        families.append(_Family(consensus, carried))
    partners = rng.permutation(config.n_motifs)[: 2 * config.n_pairs].reshape(-1, 2)
    gaps = rng.integers(2, 9, config.n_pairs)
    pairs = [(int(a), int(b), int(gap)) for (a, b), gap in zip(partners, gaps, strict=True)]
    groups = np.array_split(rng.permutation(config.n_motifs), len(ENHANCER_CLASSES))
    return _Plan(config, instances, rates, families, pairs, [set(map(int, g)) for g in groups])


def _chromosome(
    plan: _Plan, name: str, length: int, rng: np.random.Generator
) -> tuple[str, NDArray[np.uint8], pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Draw one chromosome: its letters, sites, repeats and enhancers."""
    letters = background(length, rng)
    taken = np.zeros(length, dtype=bool)
    _open_gaps(letters, taken, plan.config.bp_per_gap, rng)
    repeats = _draw_repeats(taken, plan, rng)
    enhancers = _draw_enhancers(length, plan.config.bp_per_enhancer, rng)
    sites = _plant_repeats(letters, taken, plan, repeats, rng)
    for group in _draw_sites(plan, length, enhancers, rng):
        end = group.start + group.length
        if end <= length and not taken[group.start : end].any():
            taken[group.start : end] = True
            sites += _plant(letters, group, plan.instances, rng)
    return (
        name,
        letters,
        _table(name, sites, SITES),
        _table(name, repeats, INTERVALS),
        _table(name, enhancers, INTERVALS),
    )


def _open_gaps(
    letters: NDArray[np.uint8], taken: NDArray[np.bool_], bp_per_gap: int, rng: np.random.Generator
) -> None:
    """Write runs of N, at both ends and inside."""
    length = len(letters)
    spans = [(0, _TELOMERE), (length - _TELOMERE, length)]
    starts = rng.integers(0, length, length // bp_per_gap)
    spans += [(int(at), min(length, int(at + rng.integers(*_GAP)))) for at in starts]
    for start, end in spans:
        letters[start:end] = 4
        taken[start:end] = True


def _draw_repeats(
    taken: NDArray[np.bool_], plan: _Plan, rng: np.random.Generator
) -> list[tuple[int, int, str]]:
    """Draw where copies of repeats lie, none over another or over N."""
    found: list[tuple[int, int, str]] = []
    free = ~taken
    for _ in range(len(taken) // plan.config.bp_per_repeat):
        family = int(rng.integers(len(plan.families)))
        start = int(rng.integers(len(taken)))
        end = start + len(plan.families[family].consensus)
        if end <= len(taken) and free[start:end].all():
            free[start:end] = False
            found.append((start, end, f"family{family + 1}"))
    return found


def _plant_repeats(
    letters: NDArray[np.uint8],
    taken: NDArray[np.bool_],
    plan: _Plan,
    repeats: list[tuple[int, int, str]],
    rng: np.random.Generator,
) -> list[tuple[int, int, str, int, str]]:
    """Write diverged copies of the repeats, and list the sites that they carry."""
    sites = []
    for start, end, name in repeats:
        family = plan.families[int(name.removeprefix("family")) - 1]
        copy = family.consensus.copy()
        changed = rng.random(len(copy)) < rng.uniform(*_DIVERGENCE)
        copy[changed] = (copy[changed] + rng.integers(1, 4, changed.sum())) % 4
        reverse = bool(rng.random() < 0.5)
        letters[start:end] = reverse_complement(copy) if reverse else copy
        for motif, offset in family.sites:
            width = len(plan.instances[motif])
            first = end - offset - width if reverse else start + offset
            taken[first : first + width] = True
            sites.append((first, first + width, "-" if reverse else "+", motif, "repeat"))
    return sites


def _draw_enhancers(
    length: int, bp_per_enhancer: int, rng: np.random.Generator
) -> list[tuple[int, int, str]]:
    """Draw intervals of enhancers with a class each."""
    found = []
    for start in rng.integers(0, max(1, length - _ENHANCER[1]), length // bp_per_enhancer):
        end = int(start + rng.integers(*_ENHANCER))
        found.append((int(start), end, ENHANCER_CLASSES[rng.integers(len(ENHANCER_CLASSES))]))
    return found


def _draw_sites(
    plan: _Plan, length: int, enhancers: list[tuple[int, int, str]], rng: np.random.Generator
) -> list[_Group]:
    """Draw where motifs go, in the order in which they take their places."""
    widths = [len(matrix) for matrix in plan.instances]
    kb = length / 1000
    groups = []
    for motif, rate in enumerate(plan.rates):
        starts = rng.integers(0, length, rng.poisson(rate * kb))
        groups += [_Group(int(at), ((motif, 0),), widths[motif], "single") for at in starts]
    for first, second, gap in plan.pairs:
        parts = ((first, 0), (second, widths[first] + gap))
        both = widths[first] + gap + widths[second]
        starts = rng.integers(0, length, rng.poisson(plan.config.pairs_per_kb * kb))
        groups += [_Group(int(at), parts, both, "pair") for at in starts]
    for start, end, kind in enhancers:
        for motif in plan.classes[ENHANCER_CLASSES.index(kind)]:
            place = int(rng.integers(start, end - widths[motif]))
            groups.append(_Group(place, ((motif, 0),), widths[motif], "enhancer"))
    return [groups[index] for index in rng.permutation(len(groups))]


def _plant(
    letters: NDArray[np.uint8],
    group: _Group,
    instances: list[NDArray[np.float64]],
    rng: np.random.Generator,
) -> list[tuple[int, int, str, int, str]]:
    """Write the sites of a group, all of it on one strand, and list them."""
    sites = []
    reverse = bool(rng.random() < 0.5)
    for motif, offset in group.parts:
        instance = draw_instances(instances[motif], 1, rng)[0]
        width = len(instance)
        first = group.start + (group.length - offset - width if reverse else offset)
        letters[first : first + width] = reverse_complement(instance) if reverse else instance
        sites.append((first, first + width, "-" if reverse else "+", motif, group.origin))
    return sites


def _table(chromosome: str, rows: list[Any], columns: Columns) -> pl.DataFrame:
    """Make a table of intervals on one chromosome, sorted by their start."""
    table = pl.DataFrame(rows, schema=dict(columns), orient="row")
    return table.select(pl.lit(chromosome).alias("chrom"), pl.all()).sort("start", "end")

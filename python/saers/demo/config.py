"""Settings of the demonstration: how hard the simulated problem is."""

from dataclasses import dataclass

from saers import checks


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What is planted, and how tracks answer to it.

    Examples
    --------
    >>> SimulationConfig().n_motifs
    44
    >>> SimulationConfig(window=1000)
    Traceback (most recent call last):
    ...
    ValueError: window must be a multiple of bin (32), got 1000
    """

    seed: int = 0
    """Seed of the genome, of the choice of motifs, of the sites and of the tracks."""

    chromosomes: tuple[int, ...] = (1_000_000, 800_000, 700_000, 600_000, 400_000)
    """Lengths in bp; the last chromosome is held out."""

    n_motifs: int = 44
    """Planted motifs, of the CORE vertebrate matrices of JASPAR."""

    information: tuple[float, float] = (13.0, 22.0)
    """Least and greatest information of a planted motif, in bits."""

    width: tuple[int, int] = (8, 18)
    """Least and greatest width of a planted motif."""

    least_evalue: float = 1.0
    """No planted matrix matches another one with a smaller E-value in Tomtom."""

    sites_per_kb: tuple[float, float] = (0.6, 1.0)
    """Range of the motifs' rates of sites, drawn evenly on a log scale."""

    sharpness: tuple[float, float] = (2.0, 3.0)
    """Range of the motifs' strengths: sites are drawn from the matrix raised to this power."""

    n_pairs: int = 6
    """Pairs of motifs that also occur together, in a fixed order and at a fixed distance."""

    pairs_per_kb: float = 0.05
    """Rate of each pair."""

    n_repeat_families: int = 4
    """Families of repeats, each with two motifs in its consensus."""

    bp_per_repeat: int = 10_000
    """One diverged copy of a repeat in so many bp, in lower case."""

    bp_per_enhancer: int = 12_000
    """One enhancer in so many bp; each class of them is rich in a quarter of the motifs."""

    bp_per_gap: int = 250_000
    """One run of N in so many bp, and one at each end of a chromosome."""

    n_tracks: int = 88
    """Output tracks."""

    tracks_per_motif: int = 4
    """Tracks that one motif drives."""

    bin: int = 32
    """Bin of the tracks in bp."""

    window: int = 2048
    """Length of the model's input in bp."""

    missed: float = 0.1
    """Share of a motif's own sites that score below the half-way point of its occupancy."""

    softness: float = 1.0
    """Bits over which the occupancy rises by a factor of e."""

    noise: float = 0.1
    """Standard deviation of the noise on the standardised tracks."""

    def __post_init__(self) -> None:
        for name in ("n_motifs", "n_tracks", "tracks_per_motif", "bin", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.window % self.bin:
            raise ValueError(f"window must be a multiple of bin ({self.bin}), got {self.window}")
        checks.in_range("tracks_per_motif", self.tracks_per_motif, 1, self.n_tracks)
        checks.in_range("n_pairs", self.n_pairs, 0, self.n_motifs // 2)

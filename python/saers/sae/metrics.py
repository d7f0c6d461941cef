"""How well an autoencoder explains a layer: variance left, sparsity, dead latents.

The fraction of variance unexplained (FVU) is the summed squared error over the summed squared
distance from the mean of all positions that are evaluated. A latent is dead when no value of it
exceeds 1e-3 at any of them; their number is part of the result.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saers import checks
from saers.codes import Codes
from saers.sae.buffer import shuffled
from saers.sae.config import TrainConfig
from saers.sae.module import SAE
from saers.sae.normalise import measure
from saers.sae.sources import Rows, Source, open_tokens, take
from saers.sae.step import ALIVE_ABOVE

INFORMATIVE_SHARE = 0.1
_BATCH = 8192
_BORDER_SAMPLE = 65_536
_HISTOGRAM = tuple(range(-7, 1))  # decades of density


class Evaluation(NamedTuple):
    """What was measured on ``tokens`` positions; a stratum without positions gives NaN."""

    tokens: int
    fvu: float
    fvu_informative: float  # the tenth of the positions farthest from the mean
    fvu_background: float  # the others
    l0: float  # values above 0, per position
    l0_informative: float
    l0_background: float
    most_active: int  # values above 0 at the fullest position
    dead_share: float
    gamma: float  # length of the mean over that of the standard deviation, of the input
    density: npt.NDArray[np.float64]  # (latents,) share of positions with a value above 0
    alignment: npt.NDArray[np.float64]  # (latents,) cosine of encoder and decoder row

    def summary(self) -> dict[str, Any]:
        """List the scalars, and how many latents lie in each decade of density.

        ``log10_density`` maps a decade to a count: ``"-3"`` counts densities from 1e-3 up to
        1e-2; ``"never"`` counts latents without a value above 0.
        """
        facts: dict[str, Any] = {
            key: value for key, value in self._asdict().items() if isinstance(value, int | float)
        }
        facts["log10_density"] = density_histogram(self.density)
        facts["alignment_median"] = float(np.median(self.alignment))
        return facts


@torch.no_grad()
def evaluate(
    sae: SAE,
    source: Source,
    *,
    max_tokens: int = 1_000_000,
    split: str = "holdout",
    seed: int = 0,
    mask: Rows | None = None,
) -> Evaluation:
    """Measure an autoencoder on a source, each position at most once.

    Parameters
    ----------
    sae
        The autoencoder, with the input map folded in.
    source
        As for :func:`saers.train_sae`.
    max_tokens
        Most positions, drawn from windows in a seeded order.
    split
        Which windows of an `ActivationSource` to take (all, where none is of that split).
    seed
        Seed of the order.
    mask
        (n,) usable rows of an array.

    Raises
    ------
    ValueError
        If the source holds no usable position.

    Examples
    --------
    >>> rows = torch.eye(3)
    >>> identity = SAE(3, 3, k=3)
    >>> _ = identity.encoder.data.copy_(rows), identity.W_dec.data.copy_(rows)
    >>> result = evaluate(identity, rows)
    >>> result.fvu, result.l0, result.dead_share
    (0.0, 1.0, 0.0)
    """
    checks.in_range("max_tokens", max_tokens, 1, 2**62)
    tokens = open_tokens(source, TrainConfig(seed=seed), split=split, mask=mask)
    if tokens.channels != sae.channels:
        raise ValueError(f"source must have {sae.channels} channels, got {tokens.channels}")
    tally: Tally | None = None
    for number, pool in enumerate(tokens.pools(0)):
        order = shuffled(len(pool), seed, 0, number)
        tally = tally or Tally(sae, take(pool, order[:_BORDER_SAMPLE]))
        chosen = order[: max_tokens - tally.count]
        for first in range(0, len(chosen), _BATCH):
            tally.update(take(pool, chosen[first : first + _BATCH]))
        if tally.count >= max_tokens:
            break
    if tally is None or tally.count == 0:
        raise ValueError("source holds no usable position")
    return tally.finish()


class Tally:
    """Sums over positions, apart for informative ones and background.

    Parameters
    ----------
    sae
        The autoencoder.
    sample
        Positions from which the border between the strata is estimated.
    """

    def __init__(self, sae: SAE, sample: Tensor) -> None:
        self._sae = sae
        device = sae.W_dec.device
        sample = sample.to(device)
        self._shift = torch.from_numpy(measure(sample).mean).float().to(device)
        self._border = distance_border(sample, self._shift, INFORMATIVE_SHARE)
        self._most = torch.zeros((), dtype=torch.int64, device=device)
        # Rows: background, informative. Columns: positions, squared error, squared distance,
        # active latents; then for each channel the sum and the sum of squares.
        self._sums = sample.new_zeros((2, 4 + 2 * sae.channels), dtype=torch.float64)
        self._above = torch.zeros(sae.latents, dtype=torch.int64, device=device)
        self._alive = torch.zeros(sae.latents, dtype=torch.bool, device=device)

    @property
    def count(self) -> int:
        """Positions seen."""
        return int(self._sums[:, 0].sum())

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add positions, (n, channels)."""
        x = x.to(self._shift.device)
        codes = self._sae.encode(x)
        error = (self._sae.reconstruct(x, codes) - x).square().sum(dim=1)
        moved = x - self._shift
        distance = moved.square().sum(dim=1)
        active = (codes.values > 0).sum(dim=1)
        self._most = torch.maximum(self._most, active.amax())
        scalars = torch.stack([torch.ones_like(error), error, distance, active], dim=1)
        # Sums over one batch are exact enough in float32; those over all batches are not.
        rows = torch.cat([scalars, moved, moved.square()], dim=1)
        stratum = torch.stack([distance <= self._border, distance > self._border])
        self._sums += stratum.to(rows.dtype) @ rows
        self._mark(codes)

    def finish(self) -> Evaluation:
        """Turn the sums into shares."""
        every = self._sums.sum(dim=0)
        channels = self._sae.channels
        mean = every[4 : 4 + channels] / every[0]
        variance = (every[4 + channels :] / every[0] - mean.square()).clamp_min(0)
        background, informative = self._sums
        length = torch.linalg.vector_norm(mean + self._shift)
        cosine = torch.cosine_similarity(self._sae.encoder, self._sae.W_dec, dim=1)
        return Evaluation(
            self.count,
            self._fvu(every, mean),
            self._fvu(informative, mean),
            self._fvu(background, mean),
            _ratio(every[3], every[0]),
            _ratio(informative[3], informative[0]),
            _ratio(background[3], background[0]),
            int(self._most),
            1.0 - float(self._alive.double().mean()),
            _ratio(length, variance.sum().sqrt()),
            (self._above.double() / every[0]).cpu().numpy(),
            cosine.detach().double().cpu().numpy(),
        )

    def _mark(self, codes: Codes) -> None:
        above = codes.indices[codes.values > 0]
        self._above += torch.bincount(above, minlength=len(self._above))
        self._alive[codes.indices[codes.values > ALIVE_ABOVE]] = True

    def _fvu(self, sums: Tensor, mean: Tensor) -> float:
        """Squared error over squared distance from the mean of all positions."""
        along = sums[4 : 4 + self._sae.channels] @ mean
        return _ratio(sums[1], sums[2] - 2 * along + sums[0] * mean.square().sum())


def distance_border(sample: Tensor, mean: Tensor, share: float) -> Tensor:
    """Find the squared distance from the mean that a share of the positions exceeds.

    Examples
    --------
    >>> float(distance_border(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(1), 0.5))
    1.0
    """
    distance = (sample - mean).square().sum(dim=1)
    # torch.quantile takes 2^24 values at most.
    return torch.quantile(distance[: 2**24], 1 - share)


def density_histogram(density: npt.NDArray[np.float64]) -> dict[str, int]:
    """Count latents by decade of density.

    Examples
    --------
    >>> density_histogram(np.array([0.0, 0.02, 0.05, 1.0]))
    {'-2': 2, '0': 1, 'never': 1}
    """
    fired = density[density > 0]
    decades = np.clip(np.floor(np.log10(fired)), _HISTOGRAM[0], _HISTOGRAM[-1]).astype(int)
    counts = {str(decade): int((decades == decade).sum()) for decade in _HISTOGRAM}
    counts["never"] = len(density) - len(fired)
    return {decade: count for decade, count in counts.items() if count}


def _ratio(above: Tensor, below: Tensor) -> float:
    return float(above / below) if below > 0 else float("nan")

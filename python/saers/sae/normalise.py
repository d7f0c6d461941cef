"""The map of the input: centre and scale, folded into the weights when training is over."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from saers import checks, schema
from saers.sae.config import NORMALIZERS

Vector = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Per-channel statistics of the input."""

    mean: Vector
    std: Vector
    max: Vector
    min: Vector

    @property
    def gamma(self) -> float:
        """Length of the mean over that of the standard deviation; dead latents follow it."""
        return float(np.linalg.norm(self.mean) / np.linalg.norm(self.std))


class Normaliser(NamedTuple):
    """The map ``(x - centre) / scale``, and what it makes of the input."""

    centre: Tensor  # (channels,) float32
    scale: Tensor  # (channels,) float32, above 0
    mean: Tensor  # (channels,) mean of the mapped input
    variance: float  # of the mapped input, summed over channels
    gamma_before: float
    gamma_after: float

    def apply(self, x: Tensor) -> Tensor:
        """Map positions, (n, channels)."""
        return (x - self.centre) / self.scale

    def to(self, device: torch.device) -> "Normaliser":
        """Move the tensors."""
        return self._replace(
            centre=self.centre.to(device), scale=self.scale.to(device), mean=self.mean.to(device)
        )


def measure(sample: Tensor) -> Moments:
    """Measure a sample of positions, (n, channels), in double precision.

    Examples
    --------
    >>> measure(torch.tensor([[0.0, 2.0], [2.0, 2.0]])).std.tolist()
    [1.0, 0.0]
    """
    rows = sample.cpu()
    shift = rows[0].double()
    total = torch.zeros_like(shift)
    squares = torch.zeros_like(shift)
    for part in torch.split(rows, 65_536):
        moved = part.double() - shift
        total += moved.sum(dim=0)
        squares += moved.square().sum(dim=0)
    mean = total / len(rows)
    std = (squares / len(rows) - mean.square()).clamp_min(0).sqrt()
    return Moments(
        (mean + shift).numpy(),
        std.numpy(),
        rows.amax(dim=0).double().numpy(),
        rows.amin(dim=0).double().numpy(),
    )


def moments_of(stats: pl.DataFrame, channels: int) -> Moments:
    """Take the moments from a table of channel statistics (`schema.STATS`).

    Raises
    ------
    ValueError
        If it is not a table of ``channels`` channels.
    """
    table = schema.conform(stats, schema.STATS, table="stats").sort("channel")
    if table["channel"].to_list() != list(range(channels)):
        raise ValueError(f"stats must have one row for each of {channels} channels")
    return Moments(*(table[name].to_numpy() for name in ("mean", "std", "max", "min")))


def fit(kind: str, moments: Moments) -> Normaliser:
    """Choose centre and scale.

    A channel that would be divided by 0 is left at its scale: a constant one (``zscore``; it is
    0 after centring) and one that is 0 everywhere (``channel_max``). A channel whose maximum is
    not above 0 is divided by its largest absolute value, so that its sign stays.

    Parameters
    ----------
    kind
        One of ``center_rms``, ``channel_max``, ``zscore``, ``none``.
    moments
        Statistics of the input.

    Raises
    ------
    ValueError
        If no channel varies.

    Examples
    --------
    >>> moments = measure(torch.tensor([[0.0, 3.0], [2.0, 3.0]]))
    >>> fit("zscore", moments).scale.tolist()
    [1.0, 1.0]
    >>> fit("channel_max", moments).scale.tolist()
    [2.0, 3.0]
    """
    checks.one_of("normalize", kind, NORMALIZERS)
    spread = float(np.square(moments.std).sum())
    if not spread > 0:
        raise ValueError(f"source must vary, but all {len(moments.std)} channels are constant")
    centre = np.zeros_like(moments.mean)
    scale = np.ones_like(moments.mean)
    if kind == "center_rms":
        centre = moments.mean
        scale = np.full_like(scale, np.sqrt(spread / len(scale)))
    elif kind == "zscore":
        centre = moments.mean
        scale = np.where(_constant(moments), 1.0, moments.std)
    elif kind == "channel_max":
        largest = np.maximum(np.abs(moments.max), np.abs(moments.min))
        scale = np.where(moments.max > 0, moments.max, largest)
        scale = np.where(scale > 0, scale, 1.0)
    mapped = moments._replace(mean=(moments.mean - centre) / scale, std=moments.std / scale)
    return Normaliser(
        torch.tensor(centre, dtype=torch.float32),
        torch.tensor(scale, dtype=torch.float32),
        torch.tensor(mapped.mean, dtype=torch.float32),
        float(np.square(mapped.std).sum()),
        moments.gamma,
        mapped.gamma,
    )


def _constant(moments: Moments) -> npt.NDArray[np.bool_]:
    """Tell which channels do not vary beyond the rounding of float32."""
    size = np.maximum(np.abs(moments.max), np.abs(moments.min))
    constant: npt.NDArray[np.bool_] = moments.std <= 1e-6 * size
    return constant

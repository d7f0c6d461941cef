"""The map of the input: centre, scale and rotation, folded into the weights when training is over.

Whitening is the symmetric (ZCA) one. Directions in which a layer hardly varies are not blown up
beyond a hundredfold of the mean direction: an eigenvalue of the covariance below
`EIGENVALUE_FLOOR` of their mean counts as that.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from saers import checks, schema
from saers.sae.config import NORMALIZERS

Vector = npt.NDArray[np.float64]
EIGENVALUE_FLOOR = 1e-4


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
    """The map ``(x - centre) / scale @ mixing``, and what it makes of the input."""

    centre: Tensor  # (channels,) float32
    scale: Tensor  # (channels,) float32, above 0
    mean: Tensor  # (channels,) mean of the mapped input
    variance: float  # of the mapped input, summed over channels
    gamma_before: float
    gamma_after: float
    mixing: Tensor | None = None  # (channels, channels), for whitening only
    unmixing: Tensor | None = None  # its inverse

    def apply(self, x: Tensor) -> Tensor:
        """Map positions, (n, channels)."""
        moved = (x - self.centre) / self.scale
        return moved if self.mixing is None else moved @ self.mixing

    def to(self, device: torch.device) -> "Normaliser":
        """Move the tensors."""
        return self._replace(
            centre=self.centre.to(device),
            scale=self.scale.to(device),
            mean=self.mean.to(device),
            mixing=None if self.mixing is None else self.mixing.to(device),
            unmixing=None if self.unmixing is None else self.unmixing.to(device),
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


def covariance(sample: Tensor) -> Vector:
    """Measure the covariance of a sample of positions, (channels, channels), in double precision.

    Examples
    --------
    >>> covariance(torch.tensor([[0.0, 2.0], [2.0, 6.0]])).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    rows = sample.cpu()
    mean = rows.double().mean(dim=0)
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in torch.split(rows, 65_536):
        moved = part.double() - mean
        total += moved.T @ moved
    return np.asarray((total / len(rows)).numpy())


def fit(kind: str, moments: Moments, spread_of: Vector | None = None) -> Normaliser:
    """Choose centre, scale and rotation.

    A channel that would be divided by 0 is left at its scale: a constant one (``zscore``; it is
    0 after centring) and one that is 0 everywhere (``channel_max``). A channel whose maximum is
    not above 0 is divided by its largest absolute value, so that its sign stays.

    Parameters
    ----------
    kind
        One of ``center_rms``, ``channel_max``, ``zscore``, ``whiten``, ``none``.
    moments
        Statistics of the input.
    spread_of
        Covariance of the input, which only ``whiten`` needs.

    Raises
    ------
    ValueError
        If no channel varies, or the covariance is missing.

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
    if kind == "whiten":
        return _whitening(moments, spread_of)
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


def _whitening(moments: Moments, spread_of: Vector | None) -> Normaliser:
    """Map the covariance to the identity, as far as it can be told from rounding."""
    if spread_of is None:
        raise ValueError("whiten needs the covariance of the input, got none")
    values, vectors = np.linalg.eigh(spread_of)
    floor = EIGENVALUE_FLOOR * values.mean()
    raised = np.maximum(values, floor)
    mixing, unmixing = (vectors * raised**power @ vectors.T for power in (-0.5, 0.5))
    channels = len(moments.mean)
    return Normaliser(
        torch.tensor(moments.mean, dtype=torch.float32),
        torch.ones(channels),
        torch.zeros(channels),
        float((np.maximum(values, 0) / raised).sum()),
        moments.gamma,
        0.0,
        torch.tensor(mixing, dtype=torch.float32),
        torch.tensor(unmixing, dtype=torch.float32),
    )


def _constant(moments: Moments) -> npt.NDArray[np.bool_]:
    """Tell which channels do not vary beyond the rounding of float32."""
    size = np.maximum(np.abs(moments.max), np.abs(moments.min))
    constant: npt.NDArray[np.bool_] = moments.std <= 1e-6 * size
    return constant

"""A planted dictionary in superposition, and what of it was recovered.

64 channels, 150 unit directions; 15 % of positions are informative, on those feature g fires with
probability 6 p_g, p_g falling from 10^-1.3 to 10^-3, with an amplitude of 1 to 2. Noise of 0.03,
and a mean of five times the length of the standard deviation (gamma = 5). The world's seed is
never that of the weights: with the same, a random start is the dictionary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

CHANNELS, FEATURES, LATENTS = 64, 150, 256
INFORMATIVE, GAMMA, NOISE = 0.15, 5.0, 0.03
COMMON = FEATURES // 2
MET = 0.9  # cosine at which a direction counts as recovered
ALIVE = 1e-3


class World(NamedTuple):
    """A truth, what a learner sees of it, and what it is measured on."""

    directions: Tensor
    train: Tensor
    test: Tensor
    test_informative: Tensor


class Score(NamedTuple):
    """How much of a truth was found."""

    recovery: float  # share of true directions that a live decoder row meets
    common: float  # the same for the more frequent half
    live: int
    unfilled: float  # share of the latents that the truth can fill which are dead
    fvu: float
    l0_informative: float
    l0_background: float


def make_world(seed: int, *, tokens: int = 1_000_000, test: int = 50_000) -> World:
    """Draw a truth and positions."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    directions = normalize(torch.randn(FEATURES, CHANNELS, generator=generator), dim=1)
    rates = 6 * torch.logspace(-1.3, -3.0, FEATURES)
    parts, marks = [], []
    for first in range(0, tokens + test, 50_000):
        count = min(50_000, tokens + test - first)
        informative = torch.rand(count, 1, generator=generator) < INFORMATIVE
        fires = (torch.rand(count, FEATURES, generator=generator) < rates) & informative
        strength = 1 + torch.rand(count, FEATURES, generator=generator)
        noise = NOISE * torch.randn(count, CHANNELS, generator=generator)
        parts.append((fires * strength) @ directions + noise)
        marks.append(informative.flatten())
    x, informative = torch.cat(parts), torch.cat(marks)
    mean = normalize(torch.randn(CHANNELS, generator=generator), dim=0)
    x += mean * GAMMA * x.std(dim=0).norm()
    return World(directions, x[:tokens], x[tokens:], informative[tokens:])


def score(world: World, codes: Tensor, reconstruction: Tensor, rows: Tensor) -> Score:
    """Measure a learner by its dense codes and reconstruction of the test positions.

    Parameters
    ----------
    world
        The truth.
    codes
        (n, latents).
    reconstruction
        (n, channels), in the units of the world.
    rows
        (latents, channels) directions in which latents write.
    """
    x = world.test
    live = codes.amax(dim=0) > ALIVE
    cosine = world.directions @ normalize(rows[live], dim=1).T
    met = cosine.amax(dim=1) > MET if live.any() else torch.zeros(FEATURES, dtype=torch.bool)
    error = (reconstruction - x).square().sum() / (x - x.mean(dim=0)).square().sum()
    active = (codes > 0).sum(dim=1).float()
    return Score(
        float(met.float().mean()),
        float(met[:COMMON].float().mean()),
        int(live.sum()),
        max(0.0, 1 - int(live.sum()) / FEATURES),
        float(error),
        float(active[world.test_informative].mean()),
        float(active[~world.test_informative].mean()),
    )

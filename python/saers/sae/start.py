"""Where a run begins: the map of its input and its first weights."""

import math
from collections.abc import Callable

import polars as pl
import torch
from torch import Tensor

from saers.sae import normalise
from saers.sae.buffer import Thinning
from saers.sae.config import TrainConfig
from saers.sae.metrics import INFORMATIVE_SHARE, distance_border
from saers.sae.module import SAE
from saers.sae.normalise import Normaliser
from saers.sae.sparse import unit_rows


def fit_normaliser(
    kind: str, look: Callable[[], Tensor], stats: pl.DataFrame | None, channels: int
) -> Normaliser:
    """Fit the map of the input on statistics that are known, or on a look at the stream."""
    if stats is not None and kind != "whiten":
        return normalise.fit(kind, normalise.moments_of(stats, channels))
    sample = look()
    moments = normalise.measure(sample) if stats is None else normalise.moments_of(stats, channels)
    spread = normalise.covariance(sample) if kind == "whiten" else None
    return normalise.fit(kind, moments, spread)


def find_background(share: float, look: Callable[[], Tensor]) -> Thinning | None:
    """Find where the background ends; None where all of it is used."""
    if share == 1:
        return None
    sample = look()
    mean = torch.from_numpy(normalise.measure(sample).mean).float().to(sample.device)
    return Thinning(mean, distance_border(sample, mean, INFORMATIVE_SHARE), share)


@torch.no_grad()
def initial_sae(config: TrainConfig, normaliser: Normaliser) -> SAE:
    """Draw the first weights, on the CPU so that they are the same for every device."""
    channels = len(normaliser.centre)
    config = config.resolve(channels)
    latents = config.latents(channels)
    sae = SAE(channels, latents, math.ceil(config.k or 1), layer_norm=config.layer_norm)
    generator = torch.Generator().manual_seed(config.seed)
    if config.unit_decoder:
        sae.W_dec.normal_(generator=generator)
        unit_rows(sae.W_dec)
    else:
        # As torch.nn.Linear draws the weights of a layer with that many inputs.
        sae.W_dec.uniform_(-(latents**-0.5), latents**-0.5, generator=generator)
    if config.tied_init:
        sae.encoder.copy_(sae.W_dec)
    else:
        sae.encoder.uniform_(-(channels**-0.5), channels**-0.5, generator=generator)
    if config.bias_init and not config.layer_norm:
        sae.b_dec.copy_(normaliser.mean)
    return sae.to(normaliser.centre.device)

"""How alike two dictionaries are, and the k at which training finds the same one again.

A wrong number of latents per position gives features that mix or split the true ones, and
another seed mixes them in another way; the error of reconstruction falls all the same. What two
seeds agree on is therefore the better guide (Chanin et al., "Sparse but Wrong").
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from saers.progress import Progress
from saers.sae.config import TrainConfig
from saers.sae.holdout import divide
from saers.sae.metrics import evaluate
from saers.sae.module import SAE
from saers.sae.sources import Source
from saers.sae.training import TrainResult, train_sweep

_SAME = 0.9  # cosine at which two directions count as one
_SAMPLE = 200_000  # positions on which latents are seen to fire


class Agreement(NamedTuple):
    """How alike the decoder rows of two autoencoders are."""

    mean_max_cosine: float  # of each live row and the row of the other nearest to it, both ways
    matched: float  # mean cosine of the best one-to-one matching, over the larger of the two
    shared: int  # pairs of that matching with a cosine above 0.9


class Choice(NamedTuple):
    """What was tried for k, and what it came to."""

    k: float
    table: list[dict[str, Any]]  # a row for each k: its metrics, averaged over seeds, and agreement
    results: list[TrainResult]  # of the chosen k, one for each seed


def agreement(first: Tensor, second: Tensor) -> Agreement:
    """Compare two sets of directions.

    Parameters
    ----------
    first, second
        (n, channels) and (m, channels) decoder rows, of live latents only.

    Examples
    --------
    >>> agreement(torch.eye(3), torch.eye(3)[[2, 0]])
    Agreement(mean_max_cosine=0.8333333333333333, matched=0.6666666666666666, shared=2)
    """
    if len(first) == 0 or len(second) == 0:
        return Agreement(0.0, 0.0, 0)
    unit = [torch.nn.functional.normalize(rows.double(), dim=1) for rows in (first, second)]
    cosine = (unit[0] @ unit[1].T).cpu().numpy()
    nearest = (cosine.max(axis=1).mean() + cosine.max(axis=0).mean()) / 2
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    matched = cosine[rows, columns]
    together = int((matched > _SAME).sum())
    return Agreement(float(nearest), float(matched.sum() / max(cosine.shape)), together)


def live_rows(sae: SAE, density: npt.NDArray[np.float64]) -> Tensor:
    """Take the decoder rows of the latents that fire, (n, channels)."""
    return sae.W_dec[torch.from_numpy(density > 0).to(sae.W_dec.device)]


def choose_k(
    source: Source,
    config: TrainConfig,
    ks: Sequence[float],
    *,
    seeds: int = 2,
    device: str | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Train each k with several seeds over one stream, and choose the one they agree on most.

    Parameters
    ----------
    source, device, progress
        As for :func:`saers.train_sae`.
    config
        Settings of all of them.
    ks
        Numbers of latents per position to try.
    seeds
        Seeds for each, from ``config.seed`` on; at least 2.

    Returns
    -------
    Choice
        The k at which the seeds share most directions (of equals the highest matched mean). Their
        mean alone would favour too small a k, at which the few strongest features are found again
        and the others not at all.

    Raises
    ------
    ValueError
        If there are no two seeds or no k, or the source is gone once it was read.
    """
    if isinstance(source, Iterator):
        raise ValueError("source must be one that can be read twice, got an iterator")
    if seeds < 2 or not ks:
        raise ValueError(f"choose_k needs at least one k and 2 seeds, got {list(ks)} and {seeds}")
    tried = sorted(set(ks))
    configs = [replace(config, k=k, seed=config.seed + i) for k in tried for i in range(seeds)]
    results = train_sweep(source, configs, device=device, progress=progress)
    groups = [results[first : first + seeds] for first in range(0, len(results), seeds)]
    held_out = divide(source, config.holdout).held_out
    seen = source if held_out is None else held_out
    table = [{"k": k, **_measure(group, seen)} for k, group in zip(tried, groups, strict=True)]
    best = max(range(len(tried)), key=lambda i: (table[i]["shared"], table[i]["matched"]))
    return Choice(tried[best], table, groups[best])


def _measure(results: Sequence[TrainResult], seen: Source) -> dict[str, float]:
    """Average the metrics of the seeds, and compare each pair of them."""
    shown = ("fvu", "fvu_informative", "fvu_background", "l0", "l0_background", "dead_share")
    facts = {key: float(np.mean([r.metrics[key] for r in results])) for key in shown}
    live = [live_rows(r.sae, evaluate(r.sae, seen, max_tokens=_SAMPLE).density) for r in results]
    pairs = [agreement(live[i], live[j]) for i in range(len(live)) for j in range(i)]
    means = np.mean(np.array(pairs), axis=0).tolist()
    return facts | dict(zip(Agreement._fields, means, strict=True))

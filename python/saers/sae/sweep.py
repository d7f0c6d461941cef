"""Grids of settings for several autoencoders over one stream."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from saers.sae.config import TrainConfig


def grid(base: TrainConfig, choices: Mapping[str, Sequence[Any]]) -> dict[str, TrainConfig]:
    """Make a configuration for each combination of values.

    Parameters
    ----------
    base
        What they have in common.
    choices
        Values of fields.

    Returns
    -------
    dict
        Configurations under names such as ``k-8_seed-0``.

    Examples
    --------
    >>> configs = grid(TrainConfig(), {"k": [8, 16], "seed": [0, 1]})
    >>> list(configs), configs["k-16_seed-0"].k
    (['k-8_seed-0', 'k-8_seed-1', 'k-16_seed-0', 'k-16_seed-1'], 16)
    """
    made = {}
    for values in itertools.product(*choices.values()):
        changes = dict(zip(choices, values, strict=True))
        name = "_".join(f"{key}-{value}" for key, value in changes.items())
        made[name] = replace(base, **changes)
    return made

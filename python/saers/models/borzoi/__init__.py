"""Borzoi (Linder et al. 2025), from a folder of weights as they are published for PyTorch.

The tensors bear the names of borzoi-pytorch, so that its checkpoints load as they are; the code
is our own and needs no further package. `load` reads just the tensors up to a layer where that
is all that is asked for.
"""

from saers.models.borzoi.config import BorzoiConfig
from saers.models.borzoi.model import BorzoiModel, load, save
from saers.models.borzoi.network import Borzoi, State
from saers.models.borzoi.weights import adopt, truncate

__all__ = [
    "Borzoi",
    "BorzoiConfig",
    "BorzoiModel",
    "State",
    "adopt",
    "load",
    "save",
    "truncate",
]

"""ExplaiNN: independent one-filter networks whose outputs are added up linearly.

Written after the description of the architecture (Novakovic et al., Genome Biology 2023);
modules bear the names under which the authors' repository stores its weights, so that
their files load as they are. `build` is what a recipe points to.
"""

import torch
from torch import nn

UNITS = 100
FILTER = 19
LENGTH = 200
POOL = 7
HIDDEN = 100
TARGETS = 3


class Exponential(nn.Module):
    """Exponential activation, which makes first-layer filters look like motifs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return torch.exp(x)


class ExplaiNN(nn.Module):
    """Units that each read the sequence through one filter, and a linear layer over them.

    The layer to explain is ``linears.2``: what each unit's filter gives at each of 182
    positions, after batch normalisation and the exponential, before pooling.

    Parameters
    ----------
    units
        Number of units, and so of filters.
    targets
        Number of outputs.
    """

    input_length = LENGTH

    def __init__(self, units: int = UNITS, targets: int = TARGETS) -> None:
        super().__init__()
        pooled = (LENGTH - FILTER + 1) // POOL
        self.linears = nn.Sequential(
            nn.Conv1d(4, units, FILTER),
            nn.BatchNorm1d(units),
            Exponential(),
            nn.MaxPool1d(POOL),
            nn.Flatten(),
            nn.Unflatten(1, (units * pooled, 1)),
            nn.Conv1d(units * pooled, units * HIDDEN, 1, groups=units),
            nn.BatchNorm1d(units * HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv1d(units * HIDDEN, units, 1, groups=units),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.final = nn.Linear(units, targets)

    def forward(self, onehot: torch.Tensor) -> torch.Tensor:
        """Give the logits of the targets, (b, targets), of sequences (b, 4, 200)."""
        logits: torch.Tensor = self.final(self.linears(onehot))
        return logits


def build(units: int = UNITS, targets: int = TARGETS) -> ExplaiNN:
    """Build the network; its weights are loaded by the recipe's ``model.weights``."""
    return ExplaiNN(units, targets)

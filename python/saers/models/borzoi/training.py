"""Trains a small Borzoi, for the demonstration; nobody would train the whole one here."""

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from saers.models.borzoi.config import BorzoiConfig
from saers.models.borzoi.model import BorzoiModel
from saers.models.borzoi.network import Borzoi
from saers.models.toy import ToyTraining, fit, r_squared
from saers.progress import SILENT, Progress


class BorzoiResult(NamedTuple):
    """A trained model and its coefficient of determination on windows it never saw."""

    model: BorzoiModel
    r_squared: float


def small(n_tracks: int, n_bins: int) -> BorzoiConfig:
    """Size of the demonstration's network: every part of Borzoi, and few channels of each.

    Examples
    --------
    >>> small(88, 64).tower[0], small(88, 64).all_layers[-1]
    (18, 'final_joined_convs')
    """
    return BorzoiConfig(
        stem=128, tower=(18, 64, 64, 64, 64), dim=64, depth=1, heads=2, key=16, value=32,
        head=96, tracks=(("human", n_tracks),), bins=n_bins,
    )  # fmt: skip


def train_borzoi(
    letters: NDArray[np.uint8],
    tracks: NDArray[np.float32],
    *,
    config: BorzoiConfig,
    training: ToyTraining,
    holdout: NDArray[np.bool_],
    progress: Progress = SILENT,
) -> BorzoiResult:
    """Train a small Borzoi on windows and their tracks.

    Borzoi's outputs cannot be negative: each track is moved up until its least value is 0.

    Parameters
    ----------
    letters
        (windows, length), 0 to 3 for A, C, G, T and 4 for N.
    tracks
        (windows, tracks, bins), bins of 32 bp.
    config
        Size of the network.
    training
        How it is trained; whole windows at a time, and without a second head.
    holdout
        (windows,), True for those that are only measured on.
    progress
        Hears of the steps.

    Raises
    ------
    ValueError
        If windows are no multiple of 128 bp, or tracks do not have ``config.bins`` bins.
    """
    length, bins = letters.shape[1], tracks.shape[2]
    if length % config.multiple or bins != config.bins:
        raise ValueError(
            f"windows must be a multiple of {config.multiple} bp with {config.bins} bins, got "
            f"{length} bp with {bins}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = _begun(Borzoi(config))
    raised = tracks - tracks.min(axis=(0, 2), keepdims=True)

    def loss(onehot: torch.Tensor, wanted: torch.Tensor, _step: int, _steps: int) -> torch.Tensor:
        return F.mse_loss(network(onehot), wanted)

    network.train()
    fit([network], loss, letters[~holdout], raised[~holdout], training, length // bins, progress)
    network.eval()
    measured = r_squared(network, letters[holdout], raised[holdout]) if holdout.any() else np.nan
    network.requires_grad_(requires_grad=False)
    return BorzoiResult(BorzoiModel(network, input_length=length), measured)


def at_length(network: Borzoi, length: int) -> Borzoi:
    """Make a network of the same tensors that returns all bins of an input of ``length`` bp.

    Examples
    --------
    >>> network = Borzoi(small(3, 64)).eval()
    >>> at_length(network, 256)(torch.zeros(1, 4, 256)).shape
    torch.Size([1, 3, 8])
    """
    stride = network.config.multiple // 4
    with torch.device("meta"):
        other = Borzoi(dataclasses.replace(network.config, bins=length // stride))
    other.load_state_dict(network.state_dict(), assign=True)
    return other.eval()


def _begun(network: Borzoi) -> Borzoi:
    """Draw first weights by what a layer reads (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network

"""What every feature would do to the outputs, from one gradient: a screen before `perturbation`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from saers.progress import SILENT, Progress
from saers.splicing import Splice, outputs_of
from saers.tracks import chosen

if TYPE_CHECKING:
    import torch

    from saers.sae.module import SAE

_ROWS = 8192  # positions whose gradients meet the decoder at a time


def screen(
    splice: Splice,
    sequences: Iterable["torch.Tensor"],
    *,
    tracks: Sequence[int] | None = None,
    progress: Progress = SILENT,
) -> npt.NDArray[np.float64]:
    """Estimate the effect of ablating each feature, all from one gradient a window.

    To first order, taking z away changes the outputs by -z * <gradient, W_dec[f]>, summed over
    positions (attribution patching: Nanda 2023; Syed et al. 2023).

    Parameters
    ----------
    splice
        The model, which must let gradients through, the autoencoder and its layer.
    sequences
        Batches (b, length, 4), one-hot.
    tracks
        Numbers of the tracks whose mean is looked at; None: all.
    progress
        Hears of every window.

    Returns
    -------
    (latents,) estimated change of the mean over these tracks, their bins and all windows.

    Raises
    ------
    ValueError
        If a track does not exist.
    """
    import torch

    sae = splice.sae
    total, n_windows = torch.zeros(sae.latents, dtype=torch.float64), 0
    for onehot in sequences:
        half = splice.halves(onehot)
        start = half.activations.detach().requires_grad_()
        with torch.enable_grad():
            outputs = outputs_of(half.outputs(start))
            looked_at = outputs if tracks is None else outputs[:, chosen(tracks, outputs.shape[1])]
            (gradient,) = torch.autograd.grad(looked_at.mean(dim=(1, 2)).sum(), start)
        with torch.no_grad():
            pieces = (torch.split(part.flatten(0, 1), _ROWS) for part in (start, gradient))
            for rows, slopes in zip(*pieces, strict=True):
                total += _first_order(sae, rows, slopes).cpu().double()
        n_windows += len(onehot)
        progress.advance(len(onehot))
    if not n_windows:
        raise ValueError("sequences must hold at least one batch, got none")
    return (total / n_windows).numpy()


def _first_order(sae: "SAE", rows: "torch.Tensor", slopes: "torch.Tensor") -> "torch.Tensor":
    """Sum -z * <gradient, W_dec[f]> over rows, (latents,)."""
    rows, slopes = rows.to(sae.W_dec), slopes.to(sae.W_dec)
    codes, entered = sae.encode(rows), sae.enter(rows)
    if entered.deviation is not None:
        slopes = slopes * entered.deviation * sae.scale
    along = (slopes @ sae.W_dec.T).gather(1, codes.indices)
    total = slopes.new_zeros(sae.latents)
    return total.index_add_(0, codes.indices.flatten(), -(codes.values * along).flatten())

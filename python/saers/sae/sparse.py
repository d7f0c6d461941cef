"""Sparse passes of the training step: gradients that touch only the kept latents."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from saers.codes import Codes
from saers.sae.module import decode_sparse


class Decoding(NamedTuple):
    """A decoded batch that remembers how its values led there."""

    output: Tensor
    values: Tensor

    def value_gradient(self, error: Tensor) -> Tensor:
        """Gradient of the kept values, given that of the output; 0 where ReLU clamped."""
        (gradient,) = torch.autograd.grad(self.output, self.values, error)
        return torch.where(self.values > 0, gradient, 0)


def decode_recorded(codes: Codes, rows: Tensor) -> Decoding:
    """Decode so that :meth:`Decoding.value_gradient` can follow.

    Examples
    --------
    >>> codes = Codes(torch.tensor([[1]]), torch.tensor([[2.0]]))
    >>> decoding = decode_recorded(codes, torch.tensor([[9.0, 9.0], [1.0, 3.0]]))
    >>> decoding.value_gradient(torch.tensor([[1.0, 1.0]])).tolist()
    [[4.0]]
    """
    with torch.enable_grad():
        values = codes.values.detach().requires_grad_()
        return Decoding(decode_sparse(Codes(codes.indices, values), rows.detach()), values)


class Groups(NamedTuple):
    """Kept entries of a batch, ordered by latent and then by position."""

    entries: Tensor  # (n * k,) index into the flattened codes
    positions: Tensor  # (n * k,) row of the batch
    starts: Tensor  # (latents,) first entry of each latent

    def sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Sum ``weights * rows[position]`` over the entries of each latent."""
        return functional.embedding_bag(
            self.positions,
            rows,
            self.starts,
            mode="sum",
            per_sample_weights=weights.flatten()[self.entries],
        )


def group_by_latent(indices: Tensor, latents: int) -> Groups:
    """Order the kept entries by latent.

    Examples
    --------
    >>> groups = group_by_latent(torch.tensor([[2, 0], [0, 1]]), 3)
    >>> groups.positions.tolist(), groups.starts.tolist()
    ([0, 1, 1, 0], [0, 2, 3])
    >>> groups.sum(torch.tensor([[1.0], [10.0]]), torch.ones(2, 2)).flatten().tolist()
    [11.0, 10.0, 1.0]
    """
    flat = indices.flatten()
    _, entries = torch.sort(flat.int(), stable=True)
    counts = torch.bincount(flat, minlength=latents)
    starts = counts.cumsum(0) - counts
    return Groups(entries, entries // indices.shape[1], starts)


def remove_parallel(rows: Tensor, gradient: Tensor) -> None:
    """Take from each row of a gradient its part along the row itself, in place."""
    along = torch.linalg.vecdot(gradient, rows).unsqueeze(1)
    gradient.addcmul_(along, rows, value=-1)


def unit_rows(rows: Tensor) -> None:
    """Scale each row to length 1, in place; a row of zeros stays."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows.div_(length.clamp_min(torch.finfo(rows.dtype).tiny))

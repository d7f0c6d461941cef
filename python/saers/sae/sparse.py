"""Sparse passes of the training step: only the kept latents are read and written.

Entries of a batch stand in the order of their positions. With prefixes (the matryoshka) a
position has one reconstruction for each prefix; an entry takes part in those whose prefix holds
its latent, so that it is summed once, into the *bag* of its position and of the smallest such
prefix, and the bags of a position are added up from the first to the last.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from saers import _core


class Kept(NamedTuple):
    """Latents that take part in a batch, in the order of positions, then of bags."""

    latents: Tensor  # (m,) int64
    values: Tensor  # (m,) at least 0
    bags: Tensor  # (m,) int64: position * prefixes + prefix

    def positions(self, n_prefixes: int) -> Tensor:
        """Row of the batch of each entry."""
        return self.bags if n_prefixes == 1 else self.bags // n_prefixes


def keep_rows(values: Tensor, indices: Tensor, prefixes: Tensor) -> Kept:
    """Make entries of the codes of each position, (n, k).

    Parameters
    ----------
    values, indices
        Codes of each position.
    prefixes
        (p,) rising numbers of latents; the last is all of them.

    Examples
    --------
    >>> kept = keep_rows(torch.tensor([[2.0, 1.0]]), torch.tensor([[5, 1]]), torch.tensor([3, 6]))
    >>> kept.latents.tolist(), kept.values.tolist(), kept.bags.tolist()
    ([1, 5], [1.0, 2.0], [0, 1])
    """
    if len(prefixes) > 1:
        indices, order = indices.sort(dim=1)
        values = values.gather(1, order)
    positions = torch.arange(len(values), device=values.device).repeat_interleave(values.shape[1])
    latents = indices.flatten()
    return Kept(latents, values.flatten(), bags_of(positions, latents, prefixes))


def largest_of_all(pre_activations: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the ``count`` largest values above 0, and their places in the flattened batch, rising.

    Of equal values the first are taken. A NaN is returned, so that it is not lost.

    Examples
    --------
    >>> largest_of_all(torch.tensor([[1.0, 2.0], [1.0, -1.0]]), 2)
    (tensor([1., 2.]), tensor([0, 1]))
    """
    flat = pre_activations.flatten()
    count = min(count, len(flat))
    if flat.device.type == "cpu":
        # The batch as one long row: a tenth of the time of torch's topk.
        values, places = torch.empty(count), torch.empty(count, dtype=torch.int64)
        row = flat.float().unsqueeze(0).numpy()
        _core.largest(row, places.unsqueeze(0).numpy(), values.unsqueeze(0).numpy())
        taken = values != 0
        return values[taken], places[taken]
    places = places_by_topk(flat, count)
    return flat[places], places


def places_by_topk(flat: Tensor, count: int) -> Tensor:
    """Find the same places where there is no kernel: on a GPU.

    Examples
    --------
    >>> places_by_topk(torch.tensor([1.0, 2.0, 1.0, -1.0]), 2)
    tensor([0, 1])
    """
    smallest = torch.topk(flat, count, sorted=False).values.amin().clamp_min(0)
    above = (flat > smallest).nonzero().flatten()
    equal = ((flat == smallest) & (flat > 0)).nonzero().flatten()[: count - len(above)]
    odd = flat.isnan().nonzero().flatten()[:1]
    return torch.cat([above, equal, odd]).sort().values


def at_places(values: Tensor, places: Tensor, width: int, prefixes: Tensor) -> Kept:
    """Make entries of places in the flattened batch of ``width`` latents, which rise."""
    positions, latents = places // width, places % width
    return Kept(latents, values, bags_of(positions, latents, prefixes))


def bags_of(positions: Tensor, latents: Tensor, prefixes: Tensor) -> Tensor:
    """Tell the bag of each entry."""
    if len(prefixes) == 1:
        return positions
    return positions * len(prefixes) + torch.bucketize(latents, prefixes, right=True)


class Decoding(NamedTuple):
    """Decoded bags that remember how the values led there."""

    output: Tensor  # (bags, channels)
    values: Tensor

    def value_gradient(self, error: Tensor) -> Tensor:
        """Gradient of the kept values, given that of the output; 0 where ReLU clamped."""
        (gradient,) = torch.autograd.grad(self.output, self.values, error)
        return torch.where(self.values > 0, gradient, 0)


def decode_recorded(kept: Kept, rows: Tensor, n_bags: int) -> Decoding:
    """Decode each bag so that :meth:`Decoding.value_gradient` can follow.

    Examples
    --------
    >>> kept = Kept(torch.tensor([1]), torch.tensor([2.0]), torch.tensor([0]))
    >>> decoding = decode_recorded(kept, torch.tensor([[9.0, 9.0], [1.0, 3.0]]), 1)
    >>> decoding.value_gradient(torch.tensor([[1.0, 1.0]])).tolist()
    [4.0]
    """
    every = torch.arange(n_bags, device=kept.bags.device)
    starts = torch.searchsorted(kept.bags, every)
    with torch.enable_grad():
        values = kept.values.detach().requires_grad_()
        output = functional.embedding_bag(
            kept.latents, rows.detach(), starts, mode="sum", per_sample_weights=values
        )
        return Decoding(output, values)


class Groups(NamedTuple):
    """Kept entries of a batch, ordered by latent and then by position."""

    entries: Tensor  # (m,) index into the entries
    starts: Tensor  # (latents,) first entry of each latent

    def sum(self, rows: Tensor, weights: Tensor, where: Tensor) -> Tensor:
        """Sum ``weights * rows[where]`` over the entries of each latent."""
        return functional.embedding_bag(
            where[self.entries],
            rows,
            self.starts,
            mode="sum",
            per_sample_weights=weights[self.entries],
        )


def group_by_latent(latents: Tensor, count: int) -> Groups:
    """Order entries by latent.

    Examples
    --------
    >>> groups = group_by_latent(torch.tensor([2, 0, 0, 1]), 3)
    >>> groups.entries.tolist(), groups.starts.tolist()
    ([1, 2, 3, 0], [0, 2, 3])
    >>> rows, where = torch.tensor([[1.0], [10.0]]), torch.tensor([0, 0, 1, 1])
    >>> groups.sum(rows, torch.ones(4), where).flatten().tolist()
    [11.0, 10.0, 1.0]
    """
    _, entries = torch.sort(latents.int(), stable=True)
    counts = torch.bincount(latents, minlength=count)
    return Groups(entries, counts.cumsum(0) - counts)


def remove_parallel(rows: Tensor, gradient: Tensor) -> None:
    """Take from each row of a gradient its part along the row itself, in place."""
    along = torch.linalg.vecdot(gradient, rows).unsqueeze(1)
    gradient.addcmul_(along, rows, value=-1)


def unit_rows(rows: Tensor) -> None:
    """Scale each row to length 1, in place; a row of zeros stays."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows.div_(length.clamp_min(torch.finfo(rows.dtype).tiny))

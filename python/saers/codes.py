"""Sparse codes: which features are active at a position, and how strongly."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Codes(NamedTuple):
    """The ``k`` strongest features of each of ``n`` positions.

    Parameters
    ----------
    indices
        (n, k) int64: features, in no particular order, none twice in a row.
    values
        (n, k) activations, 0 where fewer than ``k`` features are above 0.
    """

    indices: "torch.Tensor"
    values: "torch.Tensor"

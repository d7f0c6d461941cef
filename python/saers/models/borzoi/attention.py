"""Attention of Borzoi: relative positions as in Enformer, or rotary ones as in Flashzoi."""

import math

import torch
import torch.nn.functional as F
from torch import nn

_TRAINED_LENGTH = 4096  # the widths of the positions' features belong to it at any length
_ROTARY_BASE, _ROTARY_SIZE = 20_000.0, 128


def position_features(n: int, features: int, device: torch.device | None = None) -> torch.Tensor:
    """Describe the distances -(n - 1) .. n - 1.

    Half of the features tell whether a distance is below one of a row of widths that grow
    geometrically, the other half the same with the distance's sign (central masks: Avsec et
    al. 2021, supplement).

    Returns
    -------
    (2 n - 1, features) in float32.

    Examples
    --------
    >>> position_features(2, 4)
    tensor([[ 1.,  1., -1., -1.],
            [ 1.,  1.,  0.,  0.],
            [ 1.,  1.,  1.,  1.]])
    """
    distance = torch.arange(-n + 1, n, device=device)
    rate = math.exp(math.log(_TRAINED_LENGTH + 1) / (features // 2))
    widths = torch.pow(rate, torch.arange(1, features // 2 + 1, device=device)).float() - 1
    inside = (widths > distance.abs()[:, None]).float()
    return torch.cat([inside, distance.sign()[:, None] * inside], dim=1)


class RelativeAttention(nn.Module):
    """Attention with a learned bias for the relative position of query and key.

    Parameters
    ----------
    dim
        Channels.
    heads
        Attention heads.
    key
        Size of a key.
    value
        Size of a value.
    features
        Features of a position.
    """

    def __init__(self, dim: int, *, heads: int, key: int, value: int, features: int) -> None:
        super().__init__()
        self.heads, self.features = heads, features
        self.to_q = nn.Linear(dim, key * heads, bias=False)
        self.to_k = nn.Linear(dim, key * heads, bias=False)
        self.to_v = nn.Linear(dim, value * heads, bias=False)
        self.to_out = nn.Linear(value * heads, dim)
        self.to_rel_k = nn.Linear(features, key * heads, bias=False)
        self.rel_content_bias = nn.Parameter(torch.zeros(1, heads, 1, key))
        self.rel_pos_bias = nn.Parameter(torch.zeros(1, heads, 1, key))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Attend: (b, n, dim) to (b, n, dim)."""
        n = values.shape[1]
        keys = self._split(self.to_k(values))
        queries = self._split(self.to_q(values)) / math.sqrt(keys.shape[-1])
        contents = self._split(self.to_v(values))
        # Worked out anew for each length: kept ones would belong to the first.
        positions = position_features(n, self.features, values.device).to(values.dtype)
        distances = self._split(self.to_rel_k(positions)[None])[0]
        # One head at a time: the biases of all at once would take gigabytes.
        heads = [
            self._head(head, queries[:, head], keys[:, head], contents[:, head], distances[head])
            for head in range(self.heads)
        ]
        attended: torch.Tensor = self.to_out(torch.cat(heads, dim=2))
        return attended

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        """Split channels among heads: (b, n, heads * size) to (b, heads, n, size)."""
        return values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)

    def _head(
        self,
        head: int,
        query: torch.Tensor,
        key: torch.Tensor,
        content: torch.Tensor,
        distance: torch.Tensor,
    ) -> torch.Tensor:
        """Attend with one head: (b, n, size) each, (2 n - 1, size) for distances."""
        bias = _shifted((query + self.rel_pos_bias[:, head]) @ distance.T)
        return F.scaled_dot_product_attention(
            query + self.rel_content_bias[:, head], key, content, attn_mask=bias, scale=1.0
        )


def _shifted(by_distance: torch.Tensor) -> torch.Tensor:
    """Turn biases by distance, (b, n, 2 n - 1), into biases by key, (b, n, n), as a view.

    Row ``i`` holds the distances from ``i`` to every key from its column ``n - 1 - i`` on, so
    that from row to row the view starts one column earlier (Dai et al. 2019).
    """
    b, n, width = by_distance.shape
    flat = by_distance.contiguous()
    return flat.as_strided((b, n, n), (n * width, width - 1, 1), flat.storage_offset() + n - 1)


class RotaryAttention(nn.Module):
    """Attention with rotary positions (Su et al. 2021), keys and values shared by pairs of heads.

    Its tensors are those that flash-attn's multi-head attention has under ``mha``.

    Parameters
    ----------
    dim
        Channels.
    heads
        Heads of queries.
    """

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, dim // heads
        self.shared = heads // 2
        self.mha = nn.ModuleDict(
            {
                "Wqkv": nn.Linear(dim, self.size * (heads + 2 * self.shared)),
                "out_proj": nn.Linear(dim, dim),
            }
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Attend: (b, n, dim) to (b, n, dim)."""
        joined = self.mha["Wqkv"](values)
        split = joined.reshape(*values.shape[:2], -1, self.size).transpose(1, 2)
        queries, keys, contents = split.split([self.heads, self.shared, self.shared], dim=1)
        attended = F.scaled_dot_product_attention(
            _rotated(queries), _rotated(keys), contents, enable_gqa=True
        )
        out: torch.Tensor = self.mha["out_proj"](attended.transpose(1, 2).flatten(2))
        return out


def _rotated(values: torch.Tensor) -> torch.Tensor:
    """Rotate the first channels of (b, heads, n, size) by angles that grow with the position."""
    size = min(_ROTARY_SIZE, values.shape[-1] // 2 * 2)
    half = torch.arange(0, size, 2, device=values.device, dtype=torch.float32) / size
    n = torch.arange(values.shape[2], device=values.device, dtype=torch.float32)
    angles = torch.outer(n, _ROTARY_BASE**-half)
    cos, sin = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
    one, other = values[..., : size // 2], values[..., size // 2 : size]
    turned = torch.cat([one * cos - other * sin, one * sin + other * cos], dim=-1)
    return torch.cat([turned, values[..., size:]], dim=-1)

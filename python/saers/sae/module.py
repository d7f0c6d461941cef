"""The sparse autoencoder: one encode and one decode, for training and for use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saers import _core, checks
from saers.codes import Codes

LAYER_NORM_EPSILON = 1e-5  # as SAELens and SAE-Borzoi have it
# Bounds the dense (rows, latents) pre-activations: on a CPU to what its cache holds when the
# strongest are looked for.
ENCODE_ROWS = {"cpu": 512}
ENCODE_ROWS_ELSEWHERE = 8192


class Entered(NamedTuple):
    """Input as the encoder takes it, and what undoes the standardisation after decoding."""

    inner: Tensor
    mean: Tensor | None
    deviation: Tensor | None


class SAE(nn.Module):
    """A sparse autoencoder: TopK, or JumpReLU where it has a threshold.

    ``encode`` is ``topk(relu((x - b_dec) @ W_enc + b_enc))`` and ``decode`` is
    ``values @ W_dec[indices] + b_dec``. With ``threshold`` all values above it are kept instead
    of the ``k`` largest (what ``batchtopk`` training ends in). With ``layer_norm`` each position
    is divided by ``scale`` and standardised over its channels first, which ``decode`` cannot know
    of; ``forward`` undoes both.

    Parameters
    ----------
    channels
        d, channels of the layer.
    latents
        n, features.
    k
        Latents kept at each position; with ``threshold``, for how many there is room in files.
    layer_norm
        Whether each position is standardised over its channels.
    threshold
        (latents,) values above which a latent is kept, or None for TopK.

    Examples
    --------
    >>> sae = SAE(4, 16, k=2)
    >>> sae.encode(torch.zeros(3, 4)).indices.shape
    torch.Size([3, 2])
    """

    scale: Tensor
    threshold: Tensor | None

    def __init__(
        self,
        channels: int,
        latents: int,
        k: int,
        *,
        layer_norm: bool = False,
        threshold: Tensor | None = None,
    ) -> None:
        super().__init__()
        checks.in_range("k", k, 1, latents)
        self.k = k
        self.layer_norm = layer_norm
        self.metadata: dict[str, Any] = {}
        # A row of each belongs to one latent: the sparse passes read few rows, all of each.
        self.encoder = nn.Parameter(torch.zeros(latents, channels))
        self.W_dec = nn.Parameter(torch.zeros(latents, channels))
        self.b_enc = nn.Parameter(torch.zeros(latents))
        self.b_dec = nn.Parameter(torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        kept = None if threshold is None else threshold.detach().float().expand(latents).clone()
        self.register_buffer("threshold", kept)

    @property
    def channels(self) -> int:
        """d, channels of the layer."""
        return self.W_dec.shape[1]

    @property
    def latents(self) -> int:
        """n, features."""
        return self.W_dec.shape[0]

    @property
    def W_enc(self) -> Tensor:
        """Encoder weights, (channels, latents)."""
        return self.encoder.T

    def encode(self, x: Tensor) -> Codes:
        """Find the ``k`` strongest latents of each position, or those above the threshold.

        Parameters
        ----------
        x
            (n, channels) activations of the layer, as the model gives them.

        Returns
        -------
        Codes
            Exactly ``k`` indices and values a position; values are 0 where fewer are positive.
            With a threshold, as many as the fullest position has (at least 1).
        """
        self._check(x)
        rows = ENCODE_ROWS.get(x.device.type, ENCODE_ROWS_ELSEWHERE)
        bias = self.folded_bias()
        parts = [
            self._select(torch.addmm(bias, self.enter(part).inner, self.encoder.T))
            for part in torch.split(x, rows)
        ]
        if self.threshold is not None:
            width = max(part.values.shape[1] for part in parts)
            parts = [with_width(part, width) for part in parts]
        if len(parts) == 1:
            return parts[0]
        return Codes(
            torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])
        )

    def decode(self, codes: Codes) -> Tensor:
        """Add up the decoder rows of the kept latents, (n, channels)."""
        return decode_sparse(codes, self.W_dec) + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct the activations, (n, channels)."""
        return self.reconstruct(x, self.encode(x))

    def reconstruct(self, x: Tensor, codes: Codes) -> Tensor:
        """Reconstruct activations whose codes are known, in their own units, (n, channels)."""
        return self.leave(self.decode(codes), self.enter(x))

    def enter(self, x: Tensor) -> Entered:
        """Standardise the input where ``layer_norm`` asks for it, else leave it."""
        if not self.layer_norm:
            return Entered(x, None, None)
        scaled = x / self.scale
        mean = scaled.mean(dim=1, keepdim=True)
        centred = scaled - mean
        deviation = centred.std(dim=1, keepdim=True)
        return Entered(centred / (deviation + LAYER_NORM_EPSILON), mean, deviation)

    def leave(self, decoded: Tensor, entered: Entered) -> Tensor:
        """Undo :meth:`enter` on what ``decode`` gave."""
        if entered.mean is None or entered.deviation is None:
            return decoded
        return (decoded * entered.deviation + entered.mean) * self.scale

    def folded_bias(self) -> Tensor:
        """Bias of the encoder with the decoder's folded in, (latents,).

        ``W_enc.T @ b_dec`` is one matrix-vector product, where subtracting ``b_dec`` from the
        input would cost a pass over it and its gradient another matrix product.
        """
        return self.b_enc - self.encoder @ self.b_dec

    def pre_activations(self, inner: Tensor) -> Tensor:
        """Dense (n, latents) values before ReLU."""
        return torch.addmm(self.folded_bias(), inner, self.encoder.T)

    def fold(
        self,
        centre: Tensor,
        scale: Tensor,
        mixing: Tensor | None = None,
        unmixing: Tensor | None = None,
    ) -> "SAE":
        """Write the input map ``(x - centre) / scale @ mixing`` into a copy of the weights.

        With ``layer_norm`` only a scale can be carried, beside the weights.

        Examples
        --------
        >>> folded = SAE(2, 4, k=1).fold(torch.ones(2), torch.full((2,), 2.0))
        >>> folded(torch.ones(1, 2)).tolist()
        [[1.0, 1.0]]
        """
        folded = self.copy()
        with torch.no_grad():
            if self.layer_norm:
                folded.scale.mul_(scale)
                return folded
            if mixing is not None and unmixing is not None:
                # What the encoder reads goes through the map, what the decoder writes comes back.
                folded.encoder.copy_(self.encoder.double() @ mixing.double().T)
                folded.W_dec.copy_(self.W_dec.double() @ unmixing.double())
                folded.b_dec.copy_(self.b_dec.double() @ unmixing.double())
            folded.encoder.div_(scale)
            folded.W_dec.mul_(scale)
            folded.b_dec.mul_(scale).add_(centre)
        return folded

    def copy(self, *, threshold: Tensor | None = None) -> "SAE":
        """Copy the autoencoder, with another threshold where one is given."""
        made = SAE(
            self.channels,
            self.latents,
            self.k,
            layer_norm=self.layer_norm,
            threshold=self.threshold if threshold is None else threshold,
        ).to(self.W_dec.device)
        state = self.state_dict()
        state.pop("threshold", None)
        made.load_state_dict(state, strict=False)
        made.metadata = dict(self.metadata)
        return made

    def save(self, path: str | Path) -> Path:
        """Write the directory that SAELens 6 and later read; see :mod:`saers.sae.storage`."""
        from saers.sae import storage

        return storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "SAE":
        """Read such a directory."""
        from saers.sae import storage

        return storage.load(path)

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add to the facts that are saved with the weights (JSON values)."""
        self.metadata.update(facts)

    def _select(self, pre: Tensor) -> Codes:
        if self.threshold is not None:
            return select_above(pre, self.threshold)
        # ReLU and top-k commute; after top-k it touches k values instead of all.
        values, indices = select(pre, self.k)
        return Codes(indices, values)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.channels:
            raise ValueError(f"x must be (n, {self.channels}), got {tuple(x.shape)}")


def select(pre_activations: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Keep the ``k`` largest of each row, clamped at 0: values and indices, in no set order.

    Examples
    --------
    >>> values, indices = select(torch.tensor([[-1.0, 3.0, -2.0]]), 2)
    >>> sorted(zip(indices[0].tolist(), values[0].tolist()))
    [(0, 0.0), (1, 3.0)]
    """
    if pre_activations.device.type == "cpu":
        values, indices = _select_on_cpu(pre_activations.detach(), k)
        if pre_activations.requires_grad:
            values = functional.relu(pre_activations.gather(1, indices))
        return values, indices
    values, indices = torch.topk(pre_activations, k, dim=1, sorted=False)
    return functional.relu(values), indices


def _select_on_cpu(pre_activations: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Do the same in a third of the time: torch orders more than it needs to."""
    matrix = pre_activations.float().contiguous()
    values = torch.empty(len(matrix), k)
    indices = torch.empty(len(matrix), k, dtype=torch.int64)
    arrays = (matrix.numpy(), indices.numpy(), values.numpy())
    _core.largest(*arrays, threads=torch.get_num_threads())
    return values, indices


def select_above(pre_activations: Tensor, threshold: Tensor) -> Codes:
    """Keep what lies above the threshold and 0, at each row as many as the fullest has.

    Examples
    --------
    >>> codes = select_above(torch.tensor([[1.0, 3.0], [0.0, 1.5]]), torch.tensor([1.0, 1.0]))
    >>> codes.indices.tolist(), codes.values.tolist()
    ([[1], [1]], [[3.0], [1.5]])
    """
    kept = (pre_activations > threshold) & (pre_activations > 0)
    rows, latents = kept.nonzero(as_tuple=True)
    counts = kept.sum(dim=1)
    width = max(1, int(counts.max())) if len(counts) else 1
    indices = latents.new_zeros((len(counts), width))
    values = pre_activations.new_zeros((len(counts), width))
    first = counts.cumsum(0) - counts
    place = torch.arange(len(rows), device=rows.device) - first[rows]
    indices[rows, place] = latents
    values[rows, place] = pre_activations[rows, latents]
    return Codes(indices, values)


def with_width(codes: Codes, width: int) -> Codes:
    """Pad codes with zeros, or keep their strongest, so that each position has ``width``.

    Examples
    --------
    >>> codes = Codes(torch.tensor([[4, 7]]), torch.tensor([[1.0, 2.0]]))
    >>> with_width(codes, 3).values.tolist(), with_width(codes, 1).indices.tolist()
    ([[1.0, 2.0, 0.0]], [[7]])
    """
    more = width - codes.values.shape[1]
    if more < 0:
        values, places = torch.topk(codes.values, width, dim=1, sorted=False)
        return Codes(codes.indices.gather(1, places), values)
    pad = functional.pad
    return Codes(pad(codes.indices, (0, more)), pad(codes.values, (0, more)))


def decode_sparse(codes: Codes, rows: Tensor) -> Tensor:
    """Sum ``values * rows[indices]`` over the kept latents, (n, channels)."""
    return functional.embedding_bag(
        codes.indices, rows, mode="sum", per_sample_weights=codes.values
    )

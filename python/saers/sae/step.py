"""One optimiser step, with gradients written out by hand.

Only ``k`` of ``n`` latents take part at a position, so of the six dense matrix products of a
plain autoencoder step one remains, the encoder's forward pass. The weight gradients read the
kept entries grouped by latent: each row of a gradient is written once, by one thread, so that
the result does not depend on the number of threads.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from saers.codes import Codes
from saers.sae.config import TrainConfig
from saers.sae.module import SAE, select
from saers.sae.sparse import Groups, decode_recorded, group_by_latent, remove_parallel, unit_rows

ALIVE_ABOVE = 1e-3  # a latent whose value stays below does not count as active


class Report(NamedTuple):
    """What one step measured; tensors, so that nothing waits for a GPU until it is read."""

    loss: Tensor
    aux_loss: Tensor
    fvu: Tensor
    active: Tensor  # values above 0, per position
    dead: int
    gradient_norm: Tensor


class Gradients(NamedTuple):
    """Where the gradient of each weight is written."""

    encoder: Tensor
    decoder: Tensor
    b_enc: Tensor
    b_dec: Tensor


class Stepper:
    """Weights, optimiser and dead-latent count of one run.

    Parameters
    ----------
    sae
        Weights for the mapped input; changed in place.
    config
        Settings, resolved for the channels of ``sae``.
    variance
        Expected squared distance of a mapped position from the mean, summed over channels.
    """

    def __init__(self, sae: SAE, config: TrainConfig, *, variance: float) -> None:
        if config.dead_window is None:
            raise ValueError("the configuration is not resolved: call resolve(channels) first")
        self.sae = sae
        self.config = config
        self.variance = variance
        self.dead_window = config.dead_window
        self.steps_done = 0
        self.idle = torch.zeros(sae.latents, dtype=torch.int64, device=sae.W_dec.device)
        weights = (sae.encoder, sae.W_dec, sae.b_enc, sae.b_dec)
        self.gradients = Gradients(*(torch.zeros_like(weight) for weight in weights))
        for weight, gradient in zip(weights, self.gradients, strict=True):
            weight.grad = gradient
        self.optimizer = torch.optim.Adam(
            weights,
            lr=config.rate_at(0),
            eps=config.adam_epsilon,
            fused=sae.W_dec.device.type in ("cpu", "cuda"),
        )

    @torch.no_grad()
    def step(self, x: Tensor) -> Report:
        """Learn from one batch of mapped input, (batch, channels)."""
        sae = self.sae
        entered = sae.enter(x)
        pre = sae.pre_activations(entered.inner)
        values, indices = select(pre, sae.k)
        decoding = decode_recorded(Codes(indices, values), sae.W_dec)
        residual = sae.leave(decoding.output.detach() + sae.b_dec, entered) - x
        energy = residual.square().sum() / len(x)
        unit = x.shape[1] if self.config.loss == "mse" else self.variance
        error = residual * (2 / (unit * len(x)))
        if entered.deviation is not None:
            error = error * entered.deviation * sae.scale
        by_value = decoding.value_gradient(error)
        groups = group_by_latent(indices, sae.latents)
        self._set_gradients(groups, values, by_value, entered.inner, error)
        aux, n_dead = self._auxiliary(pre, entered.inner, residual, unit)
        norm = self._update()
        self._count(indices[values > ALIVE_ABOVE], len(x))
        active = (values > 0).sum() / len(x)
        return Report(energy / unit + aux, aux, energy / self.variance, active, n_dead, norm)

    def _set_gradients(
        self, groups: Groups, values: Tensor, by_value: Tensor, inner: Tensor, error: Tensor
    ) -> None:
        sae, gradients = self.sae, self.gradients
        gradients.decoder.copy_(groups.sum(error, values))
        gradients.encoder.copy_(groups.sum(inner, by_value))
        ones = by_value.new_ones(len(inner), 1)
        by_bias = groups.sum(ones, by_value).flatten()
        gradients.b_enc.copy_(by_bias)
        gradients.encoder.addr_(by_bias, sae.b_dec, alpha=-1)
        gradients.b_dec.copy_(error.sum(dim=0)).sub_(by_bias @ sae.encoder)

    def _auxiliary(
        self, pre: Tensor, inner: Tensor, residual: Tensor, unit: float
    ) -> tuple[Tensor, int]:
        """Let the dead latents fit what the others leave; adds to the gradients."""
        sae, gradients = self.sae, self.gradients
        dead = (self.idle > self.dead_window).nonzero().flatten()
        if self.config.aux_coefficient == 0 or len(dead) == 0:
            return pre.new_zeros(()), len(dead)
        half = max(1, sae.channels // 2)
        values = keep_largest(functional.relu(pre[:, dead]), half)
        rows = sae.W_dec[dead]
        left = values @ rows + residual
        weight = self.config.aux_coefficient * min(1.0, len(dead) / half)
        error = left * (2 * weight / (unit * len(left)))
        by_value = torch.where(values > 0, error @ rows.T, 0)
        by_bias = by_value.sum(dim=0)
        gradients.decoder.index_add_(0, dead, values.T @ error)
        gradients.encoder.index_add_(0, dead, by_value.T @ inner)
        gradients.encoder.index_add_(0, dead, torch.outer(by_bias, sae.b_dec), alpha=-1)
        gradients.b_enc.index_add_(0, dead, by_bias)
        gradients.b_dec.sub_(by_bias @ sae.encoder[dead])
        return weight * left.square().sum() / (unit * len(left)), len(dead)

    def _update(self) -> Tensor:
        sae, config = self.sae, self.config
        if config.unit_decoder:
            remove_parallel(sae.W_dec, self.gradients.decoder)
        clip = torch.inf if config.clip is None else config.clip
        norm = torch.nn.utils.clip_grad_norm_(sae.parameters(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate_at(self.steps_done)
        self.optimizer.step()
        if config.unit_decoder:
            unit_rows(sae.W_dec)
        self.steps_done += 1
        return norm

    def _count(self, active: Tensor, positions: int) -> None:
        self.idle += positions
        self.idle[active] = 0


def keep_largest(values: Tensor, count: int) -> Tensor:
    """Set all but the ``count`` largest of each row to 0; equal values stay together.

    Examples
    --------
    >>> keep_largest(torch.tensor([[3.0, 1.0, 2.0]]), 2).tolist()
    [[3.0, 0.0, 2.0]]
    """
    if values.shape[1] <= count:
        return values
    smallest = torch.topk(values, count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    return torch.where(values >= smallest, values, 0)

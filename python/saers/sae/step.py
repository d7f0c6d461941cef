"""One optimiser step, with gradients written out by hand.

Only ``k`` of ``n`` latents take part at a position, so of the six dense matrix products of a
plain autoencoder step one remains, the encoder's forward pass. The weight gradients read the
kept entries grouped by latent: each row of a gradient is written once, by one thread, so that
the result does not depend on the number of threads.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from saers.sae.config import TrainConfig
from saers.sae.module import SAE, Entered, select
from saers.sae.parallel import Crew
from saers.sae.sparse import (
    Kept,
    at_places,
    decode_recorded,
    group_by_latent,
    keep_rows,
    largest_of_all,
    remove_parallel,
    unit_rows,
)

ALIVE_ABOVE = 1e-3  # a latent whose value stays below does not count as active
THRESHOLD_DECAY = 0.99  # of the moving average of a batch's smallest kept value
_ALONE = Crew()


class Report(NamedTuple):
    """What one step measured; tensors, so that nothing waits for a GPU until it is read."""

    loss: Tensor
    aux_loss: Tensor
    fvu: Tensor
    active: Tensor  # values above 0, per position
    dead: int
    gradient_norm: Tensor


class Gradients(NamedTuple):
    """Where the gradient of each weight is written: parts of one block."""

    encoder: Tensor
    decoder: Tensor
    b_enc: Tensor
    b_dec: Tensor


class Explained(NamedTuple):
    """What a batch's kept latents leave, and the gradients of it."""

    residual: Tensor  # (n, channels) of all latents, in the units of the loss
    error: Tensor  # (bags, channels) gradient of each bag's sum
    by_value: Tensor  # (m,) gradient of each kept value
    energy: Tensor  # squared residuals, summed over positions and averaged over prefixes


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
    crew
        The processes that share each batch.
    """

    def __init__(
        self, sae: SAE, config: TrainConfig, *, variance: float, crew: Crew = _ALONE
    ) -> None:
        if config.dead_window is None:
            raise ValueError("the configuration is not resolved: call resolve(channels) first")
        device = sae.W_dec.device
        self.sae = sae
        self.config = config
        self.variance = variance
        self.dead_window = config.dead_window
        self.steps_done = 0
        self.prefixes = torch.tensor(config.prefixes(sae.channels), device=device)
        self.idle = torch.zeros(sae.latents, dtype=torch.int64, device=device)
        self.threshold = torch.zeros((), device=device)  # of batchtopk
        self._crew = crew
        weights = [sae.encoder, sae.W_dec, sae.b_enc, sae.b_dec]
        self.average = [] if config.ema is None else [w.detach().clone() for w in weights]
        self._all_gradients = torch.zeros(sum(map(torch.numel, weights)), device=device)
        parts = torch.split(self._all_gradients, [weight.numel() for weight in weights])
        self.gradients = Gradients(*(p.view_as(w) for p, w in zip(parts, weights, strict=True)))
        for weight, gradient in zip(weights, self.gradients, strict=True):
            weight.grad = gradient
        self.optimizer = torch.optim.Adam(
            weights,
            lr=config.rate_at(0),
            eps=config.adam_epsilon,
            fused=device.type in ("cpu", "cuda"),
        )

    @torch.no_grad()
    def step(self, x: Tensor) -> Report:
        """Learn from this process's part of a batch of mapped input, (positions, channels)."""
        sae, total = self.sae, len(x) * self._crew.size
        entered = sae.enter(x)
        pre = self._pre_activations(entered.inner)
        kept = self._keep(pre, total)
        unit = float(x.shape[1]) if self.config.loss == "mse" else self.variance
        found = self._explain(x, entered, kept, 2 / (unit * total * len(self.prefixes)))
        self._set_gradients(kept, found, entered.inner)
        aux, n_dead = self._auxiliary(pre, entered.inner, found.residual, unit, total)
        norm = self._update()
        self._count(kept, total)
        last = found.residual.square().sum()
        active = (kept.values > 0).sum()
        sums = self._crew.sum(torch.stack([found.energy, last, aux, active]) / total)
        loss = sums[0] / unit + sums[2]
        return Report(loss, sums[2], sums[1] / self.variance, sums[3], n_dead, norm)

    @torch.no_grad()
    def result(self) -> SAE:
        """Copy the autoencoder as it should be used: averaged, and with its threshold."""
        batch = self.config.architecture == "batchtopk"
        made = self.sae.copy(threshold=self.threshold if batch else None)
        if self.average:
            weights = (made.encoder, made.W_dec, made.b_enc, made.b_dec)
            for weight, average in zip(weights, self.average, strict=True):
                weight.copy_(average)
            if self.config.unit_decoder:
                unit_rows(made.W_dec)
        return made

    def _pre_activations(self, inner: Tensor) -> Tensor:
        wanted = self.config.precision
        if wanted == "auto":
            half = inner.device.type == "cuda" and torch.cuda.is_bf16_supported()
        else:
            half = wanted == "bfloat16"
        context = torch.autocast(inner.device.type, torch.bfloat16) if half else nullcontext()
        with context:
            return self.sae.pre_activations(inner).float()

    def _keep(self, pre: Tensor, total: int) -> Kept:
        """Choose the latents that take part."""
        if self.config.architecture == "topk":
            values, indices = select(pre, self.sae.k)
            return keep_rows(values, indices, self.prefixes)
        count = max(1, round((self.config.k or 1) * total))
        values, places = largest_of_all(pre, count)
        if self._crew.size > 1:
            smallest = self._crew.threshold(values, count)
            values, places = values[values >= smallest], places[values >= smallest]
        else:
            smallest = values.amin() if len(values) else self.threshold
        kept = at_places(values, places, pre.shape[1], self.prefixes)
        decay = THRESHOLD_DECAY if self.steps_done else 0.0
        self.threshold.lerp_(smallest, 1 - decay)
        return kept

    def _explain(self, x: Tensor, entered: Entered, kept: Kept, factor: float) -> Explained:
        """Reconstruct with each prefix; ``factor`` makes the loss's gradient of a residual."""
        sae, n_prefixes = self.sae, len(self.prefixes)
        decoding = decode_recorded(kept, sae.W_dec, len(x) * n_prefixes)
        parts = decoding.output.detach()
        if n_prefixes == 1:
            residual = sae.leave(parts + sae.b_dec, entered) - x
            error = residual * factor
            if entered.deviation is not None:
                error = error * entered.deviation * sae.scale
            energy = residual.square().sum()
            return Explained(residual, error, decoding.value_gradient(error), energy)
        residuals = parts.view(len(x), n_prefixes, -1).cumsum(dim=1) + sae.b_dec - x.unsqueeze(1)
        # A bag's sum is part of its own prefix and of all that are longer.
        error = residuals.flip(1).cumsum(dim=1).flip(1).flatten(0, 1) * factor
        energy = residuals.square().sum() / n_prefixes
        return Explained(residuals[:, -1], error, decoding.value_gradient(error), energy)

    def _set_gradients(self, kept: Kept, found: Explained, inner: Tensor) -> None:
        sae, gradients, n_prefixes = self.sae, self.gradients, len(self.prefixes)
        groups = group_by_latent(kept.latents, sae.latents)
        positions = kept.positions(n_prefixes)
        gradients.decoder.copy_(groups.sum(found.error, kept.values, kept.bags))
        gradients.encoder.copy_(groups.sum(inner, found.by_value, positions))
        ones = inner.new_ones(len(inner), 1)
        by_bias = groups.sum(ones, found.by_value, positions).flatten()
        gradients.b_enc.copy_(by_bias)
        gradients.encoder.addr_(by_bias, sae.b_dec, alpha=-1)
        gradients.b_dec.copy_(found.error[::n_prefixes].sum(dim=0)).sub_(by_bias @ sae.encoder)

    def _auxiliary(
        self, pre: Tensor, inner: Tensor, residual: Tensor, unit: float, total: int
    ) -> tuple[Tensor, int]:
        """Let the dead latents fit what the others leave; adds to the gradients."""
        sae, gradients = self.sae, self.gradients
        dead = (self.idle > self.dead_window).nonzero().flatten()
        if self.config.aux_coefficient == 0 or len(dead) == 0:
            return pre.new_zeros(()), len(dead)
        values = keep_largest(functional.relu(pre[:, dead]), self.config.aux_k)
        rows = sae.W_dec[dead]
        left = values @ rows + residual
        weight = self.config.aux_coefficient
        error = left * (2 * weight / (unit * total))
        by_value = torch.where(values > 0, error @ rows.T, 0)
        by_bias = by_value.sum(dim=0)
        gradients.decoder.index_add_(0, dead, values.T @ error)
        gradients.encoder.index_add_(0, dead, by_value.T @ inner)
        gradients.encoder.index_add_(0, dead, torch.outer(by_bias, sae.b_dec), alpha=-1)
        gradients.b_enc.index_add_(0, dead, by_bias)
        gradients.b_dec.sub_(by_bias @ sae.encoder[dead])
        return weight * left.square().sum() / unit, len(dead)

    def _update(self) -> Tensor:
        sae, config = self.sae, self.config
        self._crew.sum(self._all_gradients)
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
        if config.ema is not None:
            # Short at first, so that the random start is soon forgotten.
            decay = min(config.ema, self.steps_done / (self.steps_done + 9))
            weights: list[Tensor] = [sae.encoder, sae.W_dec, sae.b_enc, sae.b_dec]
            torch._foreach_lerp_(self.average, weights, 1 - decay)
        return norm

    def _count(self, kept: Kept, total: int) -> None:
        alive = torch.zeros_like(self.idle, dtype=torch.bool)
        alive[kept.latents[kept.values > ALIVE_ABOVE]] = True
        self.idle.add_(total).masked_fill_(self._crew.any(alive), 0)


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

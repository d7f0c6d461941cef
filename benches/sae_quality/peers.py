"""Peers trained on the same batches, with settings as near to ours as theirs go.

All of them get what saers' default map gives (none of them centres by itself), Adam with 100 steps
of warm-up and a linear fall over the last fifth, an auxiliary loss of 1/32 and latents that count
as dead after 20,000 positions. The learning rate is the caller's.
"""

import itertools
import os
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benches.sae_quality.world import CHANNELS, LATENTS

WARMUP, DEAD_AFTER, AUX = 100, 20_000, 1 / 32

Learned = tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Tensor]
"""Dense codes and reconstruction of mapped input, and the decoder's rows."""


def part_of_rate(step: int, steps: int) -> float:
    """Share of the peak learning rate."""
    return min(1.0, (step + 1) / WARMUP) * min(1.0, (steps - step) / (steps / 5))


def sparsify(batches: Iterable[Tensor], k: int, steps: int, seed: int, rate: float) -> Learned:
    """SparseCoder, driven by hand as its trainer drives it (which takes language models only)."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    torch.manual_seed(seed)
    config = SparseCoderConfig(num_latents=LATENTS, k=k)
    coder = SparseCoder(CHANNELS, config)
    optimizer = torch.optim.Adam(coder.parameters(), lr=rate)
    idle = torch.zeros(LATENTS, dtype=torch.long)
    for step, x in enumerate(batches):
        coder.set_decoder_norm_to_unit_norm()
        found = coder(x, dead_mask=idle > DEAD_AFTER)
        (found.fvu + AUX * found.auxk_loss).backward()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        coder.remove_gradient_parallel_to_decoder_directions()
        for group in optimizer.param_groups:
            group["lr"] = rate * part_of_rate(step, steps)
        optimizer.step()
        optimizer.zero_grad()
        idle += len(x)
        idle[found.latent_indices[found.latent_acts > 1e-3]] = 0

    def use(x: Tensor) -> tuple[Tensor, Tensor]:
        top = coder.encode(x)
        acts, indices = top.top_acts, top.top_indices
        codes = torch.zeros(len(x), LATENTS).scatter(1, indices, acts)
        return codes, coder.decode(acts, indices)

    return use, coder.W_dec.detach()


def dictionary_learning(
    batches: Iterable[Tensor], k: int, steps: int, seed: int, rate: float
) -> Learned:
    """TopKTrainer as it is, with its dead threshold within the run."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=steps,
        activation_dim=CHANNELS,
        dict_size=LATENTS,
        k=k,
        layer=0,
        lm_name="planted",
        lr=rate,
        auxk_alpha=AUX,
        warmup_steps=WARMUP,
        decay_start=int(0.8 * steps),
        seed=seed,
        device="cpu",
    )
    trainer.dead_feature_threshold = DEAD_AFTER
    for step, x in enumerate(batches):
        trainer.update(step, x)
    ae = trainer.ae

    def use(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = ae.encode(x)
        return codes, ae.decode(codes)

    return use, ae.decoder.weight.detach().T


def sae_lens(batches: Iterable[Tensor], k: int, steps: int, seed: int, rate: float) -> Learned:
    """SAETrainer with TopKTrainingSAE."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(seed)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=CHANNELS, d_sae=LATENTS, k=k))
    iterator = iter(batches)
    first = next(iterator)
    size = len(first)

    config = SAETrainerConfig(
        total_training_samples=steps * size,
        train_batch_size_samples=size,
        lr=rate,
        lr_end=rate / 10,
        lr_warm_up_steps=WARMUP,
        lr_decay_steps=steps // 5,
        dead_feature_window=DEAD_AFTER // size,
        logger=LoggingConfig(log_to_wandb=False),
    )
    SAETrainer(config, sae, itertools.chain([first], iterator)).fit()

    def use(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = sae.encode(x)
        return codes, sae.decode(codes)

    return use, sae.W_dec.detach()


PEERS = {"sparsify": sparsify, "dictionary_learning": dictionary_learning, "sae_lens": sae_lens}

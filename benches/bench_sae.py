"""Training and use of a sparse autoencoder: 608 channels, 2,432 latents, k = 30, batches of 4,096.

Steps of all trainers on the same four batches, ours with dead counting, AuxK, clipping and unit
rows. The seed is SAE-Borzoi's trainer, written down from its formula.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from benches.harness import Job, Row, Timing, alternate, once
from benches.sae_quality import report
from saers.sae.config import TrainConfig
from saers.sae.normalise import fit, measure
from saers.sae.sparse import largest_of_all
from saers.sae.step import Stepper
from saers.sae.sweep import grid
from saers.sae.training import initial_sae, train_sae, train_sweep

D, N, K, BATCH = 608, 2432, 30, 4096
SIZE = f"{BATCH:,} positions"
RATE = 5e-4
extra = report.text


def run() -> Iterator[Row]:
    """Time steps, inference, reading and a sweep."""
    torch.set_num_threads(1)
    batches = _batches()
    yield from _steps(batches)
    yield from _floor(batches)
    yield _selection(batches)
    yield _waiting()
    yield _sweep()


def _batches() -> list[Tensor]:
    """Sums of few of 300 unit directions on a fifth of the positions, and noise."""
    generator = torch.Generator().manual_seed(0)
    directions = nn.functional.normalize(torch.randn(300, D, generator=generator), dim=1)

    def one() -> Tensor:
        fires = torch.rand(BATCH, 300, generator=generator) < 0.02
        strength = 1 + 4 * torch.rand(BATCH, 300, generator=generator)
        somewhere = torch.rand(BATCH, 1, generator=generator) < 0.2
        noise = 0.1 * torch.randn(BATCH, D, generator=generator)
        return ((fires * strength * somewhere) @ directions + noise).clamp_min(-1)

    return [one() for _ in range(4)]


def _taking_turns(step: Callable[[Tensor], object], batches: list[Tensor]) -> Job:
    """Make a job of one step on the next batch."""
    count = iter(range(10**9))
    return lambda: step(batches[next(count) % len(batches)])


def _steps(batches: list[Tensor]) -> Iterator[Row]:
    """Compare with every peer that is installed."""
    ours = _taking_turns(_saers_step(batches), batches)
    for name, make, aim in (
        ("eai-sparsify, its eager kernels, Adam", _sparsify, 1.6),
        ("dictionary-learning, TopKTrainer", _dictionary_learning, 2.2),
        ("sae-lens, SAETrainer", _sae_lens, 3.0),
        ("overcomplete, TopKSAE, Adam, clipping", _overcomplete, 2.0),
        ("SAE-Borzoi's step", _seed, 2.6),
    ):
        try:
            step = make()
        except ImportError as error:
            print(f"  {name}: left out, {error}")
            continue
        mine, theirs = alternate([ours, _taking_turns(step, batches)])
        yield Row("a training step", SIZE, mine, name, theirs, aim, note=_per_token(mine, theirs))


def _per_token(ours: Timing, theirs: Timing) -> str:
    scale = 1e6 / BATCH
    return f"{ours.cpu * scale:.0f} and {theirs.cpu * scale:.0f} µs a position"


def _stepper(batches: list[Tensor]) -> tuple[Stepper, object]:
    config = TrainConfig(k=K, n_latents=N, steps=10_000, batch_size=BATCH).resolve(D)
    normaliser = fit("center_rms", measure(torch.cat(batches)))
    stepper = Stepper(initial_sae(config, normaliser), config, variance=normaliser.variance)
    return stepper, normaliser


def _saers_step(batches: list[Tensor]) -> Callable[[Tensor], object]:
    stepper, normaliser = _stepper(batches)
    return lambda x: stepper.step(normaliser.apply(x))


def _sparsify() -> Callable[[Tensor], object]:
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(D, SparseCoderConfig(num_latents=N, k=K))
    optimizer = torch.optim.Adam(coder.parameters(), lr=RATE)

    def step(x: Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        coder(x).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _dictionary_learning() -> Callable[[Tensor], object]:
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10_000, activation_dim=D, dict_size=N, k=K, layer=0, lm_name="x", device="cpu"
    )
    steps = iter(range(10_000))
    return lambda x: trainer.update(next(steps), x)


def _sae_lens() -> Callable[[Tensor], object]:
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = SAETrainerConfig(
        total_training_samples=10**9,
        train_batch_size_samples=BATCH,
        lr=RATE,
        lr_end=RATE / 10,
        logger=LoggingConfig(log_to_wandb=False),
    )
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D, d_sae=N, k=K))
    return SAETrainer(config, sae, iter(())).step


def _overcomplete() -> Callable[[Tensor], object]:
    import matplotlib

    # Its plots ask for a function that matplotlib no longer has where they look for it.
    matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap
    from overcomplete.sae import TopKSAE

    sae = TopKSAE(D, N, top_k=K)
    optimizer = torch.optim.Adam(sae.parameters(), lr=RATE)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        _, codes, decoded = sae(x)
        (decoded - x).square().mean().backward()
        nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()
        (codes > 0).any(dim=0)  # its loop counts dead codes too

    return step


def _seed() -> Callable[[Tensor], object]:
    encoder, decoder = nn.Linear(D, N, bias=False), nn.Linear(N, D, bias=False)
    bias, latent_bias = nn.Parameter(torch.zeros(D)), nn.Parameter(torch.zeros(N))
    weights = [*encoder.parameters(), *decoder.parameters(), bias, latent_bias]
    optimizer = torch.optim.Adam(weights, lr=1e-5)

    def step(x: Tensor) -> None:
        mean = x.mean(dim=-1, keepdim=True)
        deviation = (x - mean).std(dim=-1, keepdim=True)
        h = torch.relu(encoder((x - mean) / (deviation + 1e-5) - bias) + latent_bias)
        values, places = torch.topk(h, K, dim=-1)
        codes = torch.zeros_like(h).scatter_(-1, places, values)
        loss = nn.functional.mse_loss((decoder(codes) + bias) * deviation + mean, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _floor(batches: list[Tensor]) -> Iterator[Row]:
    """Compare step and inference with the encoder's matrix product alone."""
    stepper, _ = _stepper(batches)
    sae = stepper.sae
    step = _taking_turns(_saers_step(batches), batches)
    with torch.no_grad():
        encode = _taking_turns(sae.encode, batches)
        product = _taking_turns(lambda x: x @ sae.encoder.T, batches)
        for _ in range(3):
            step()
        trained, encoded, floor = alternate([step, encode, product], repeats=7)
    for job, timing, limit in (("a training step", trained, 3), ("encode", encoded, 1.3)):
        note = f"{timing.cpu / floor.cpu:.2f} times the product, to be at most {limit}"
        yield Row(job, SIZE, timing, "the encoder's matrix product", floor, 1 / limit, note=note)


@torch.no_grad()
def _selection(batches: list[Tensor]) -> Row:
    """Compare what batchtopk keeps of a batch, k = 8, with torch's selection of it."""
    stepper, _ = _stepper(batches)
    pre, count = stepper.sae.pre_activations(batches[0]), 8 * BATCH

    def torch_top() -> Tensor:
        flat = pre.flatten()
        places = torch.topk(flat, count, sorted=False).indices
        return places[flat[places] > 0].sort().values

    if not torch.equal(largest_of_all(pre, count)[1], torch_top()):
        raise AssertionError("the two selections differ")
    ours, theirs = alternate([lambda: largest_of_all(pre, count), torch_top])
    return Row("batchtopk's selection, k = 8", SIZE, ours, "torch.topk of the batch", theirs)


def _waiting() -> Row:
    """Train from float16 HDF5 that does not fit in the buffer, and count what is waited for."""
    windows, positions = 80, 2048
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "activations.h5"
        rng = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            made = file.create_dataset("a", (windows, positions, D), "f2", chunks=(1, 512, D))
            for window in range(windows):
                made[window] = rng.normal(size=(positions, D)).astype(np.float16)
        config = TrainConfig(
            k=K, n_latents=N, steps=60, batch_size=BATCH, buffer_tokens=65_536, holdout=0.0
        )
        found: list[float] = []

        def train() -> None:
            metrics = train_sae(path, config).metrics
            found.append(metrics["waiting_share"])

        timing = once(train)
    share = found[-1]
    wait = Timing(share * timing.cpu, share * timing.wall)
    size = f"{windows} windows of {positions:,} in float16, 60 steps"
    note = f"{100 * share:.2g} % of the time"
    return Row(
        "waiting for the reader", size, wait, "the steps", timing, 20, note=note, by_wall=True
    )


class _Convolutions(nn.Module):
    """The first layers of a model of Borzoi's shape, up to 608 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(4, 512, 15, padding=7), nn.MaxPool1d(2))
        self.layer = nn.Sequential(nn.GELU(), nn.Conv1d(512, D, 5, padding=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.stem(x))


class _Model:
    """Batches from a model that runs while they are asked for."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._model = _Convolutions()

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(1)
        for _ in range(10):
            bases = torch.randint(4, (1, 4096), generator=generator)
            with torch.no_grad():
                yield self._model(nn.functional.one_hot(bases, 4).float().mT)[0].T


def _sweep() -> Row:
    """Four autoencoders in one pass, and one by one."""
    base = TrainConfig(n_latents=N, steps=10, batch_size=2048, buffer_tokens=8192, holdout=0.0)
    configs = list(grid(base, {"k": [8, 16, 30, 60]}).values())
    together, apart = alternate(
        [
            lambda: train_sweep(_Model(), configs),
            lambda: [train_sae(_Model(), config) for config in configs],
        ]
    )
    note = f"{together.cpu / apart.cpu:.2f} of the time, to be at most 0.75"
    return Row(
        "a sweep of 4", "convolutions to 608 channels on the fly, 10 steps of 2,048", together,
        "4 runs one by one", apart, 1 / 0.75, note=note,
    )  # fmt: skip

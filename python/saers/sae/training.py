"""Training of a sparse autoencoder, from the first batch to the folded weights."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch

from saers.layer import ActivationSource
from saers.progress import SILENT, Progress
from saers.sae import checkpoint, normalise
from saers.sae.buffer import Feed
from saers.sae.config import TrainConfig
from saers.sae.dataset import open_file
from saers.sae.metrics import Evaluation, evaluate
from saers.sae.module import SAE
from saers.sae.normalise import Normaliser
from saers.sae.sources import Source, open_tokens
from saers.sae.sparse import unit_rows
from saers.sae.step import Report, Stepper


class TrainingDivergedError(ArithmeticError):
    """The loss or a weight became NaN or infinite; the last good checkpoint is kept."""


class TrainResult(NamedTuple):
    """A trained autoencoder and what was measured on it.

    ``metrics`` holds ``split`` (``holdout``, or ``train`` where nothing was held out), the keys
    of :meth:`saers.sae.metrics.Evaluation.summary`, and ``steps``, ``trained_tokens``,
    ``gamma_after``, ``seconds``.
    """

    sae: SAE
    metrics: dict[str, Any]


def train_sae(
    source: Source,
    config: TrainConfig,
    *,
    device: str | torch.device | None = None,
    stats: pl.DataFrame | None = None,
    validation: Source | None = None,
    progress: Progress | None = None,
    state_dir: str | Path | None = None,
    metrics_path: str | Path | None = None,
) -> TrainResult:
    """Train a sparse autoencoder.

    Parameters
    ----------
    source
        An (n, channels) array or tensor; an HDF5 file, or a folder of activations; an
        `ActivationSource`, of which the windows of split ``train`` are taken; or an iterable of
        (n, channels) batches. An iterator that cannot start again ends the training when it
        ends, unless it fits in the buffer.
    config
        Settings.
    device
        Where to compute; by default (or "auto") a GPU where there is one. On a CPU torch's number
        of threads holds (``torch.set_num_threads``).
    stats
        Channel statistics (`schema.STATS`) for the map of the input; by default they are
        measured on the first buffer.
    validation
        What to measure the result on; by default the windows of split ``holdout`` of an
        `ActivationSource`, else the source.
    progress
        Told of every step.
    state_dir
        Folder for checkpoints. A run that finds one there goes on from it, with the result that
        an unbroken run would have had, to the bit on a CPU.
    metrics_path
        File for one line of JSON every ``log_every`` steps, and one for the evaluation.

    Returns
    -------
    TrainResult
        The autoencoder with the input map folded in, and its metrics.

    Raises
    ------
    ValueError
        If an argument does not fit, the source does not fill a batch, or an activation is NaN
        or infinite.
    TrainingDivergedError
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> rows = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    >>> sae, metrics = train_sae(rows, TrainConfig(k=2, steps=20, batch_size=64))
    >>> sae.encode(rows).values.shape, metrics["trained_tokens"]
    (torch.Size([512, 2]), 1280)
    """
    began = time.monotonic()
    run = _Run(source, config, _device(device), stats)
    run.keep_in(state_dir, metrics_path)
    run.learn(progress or SILENT)
    sae = run.folded()
    split, held_out = _held_out(source, validation)
    result = evaluate(sae, run.feed.look() if held_out is None else held_out, seed=config.seed)
    facts = run.conclude(sae, result, split)
    return TrainResult(sae, facts | {"seconds": time.monotonic() - began})


class _Run:
    """One run: where it stands, and what it leaves behind."""

    def __init__(
        self,
        source: Source,
        config: TrainConfig,
        device: torch.device,
        stats: pl.DataFrame | None,
    ) -> None:
        self.tokens = open_tokens(source, config)
        self.config = config.resolve(self.tokens.channels)
        self._asked = config
        self.device = device
        self._stats = stats
        self._folder: Path | None = None
        self._log: Path | None = None
        self._saved_step = 0

    def keep_in(self, folder: str | Path | None, log: str | Path | None) -> None:
        """Find the checkpoint of an earlier run, or begin; cut its log back to that place."""
        self._folder = None if folder is None else Path(folder)
        self._log = None if log is None else Path(log)
        found = None if self._folder is None else checkpoint.read(self._folder)
        if found is not None:
            found.require(self._identity())
        self.feed = Feed(
            self.tokens,
            self.config.batch_size,
            seed=self.config.seed,
            place=None if found is None else found.facts.place,
        )
        self.normaliser = (self._fit() if found is None else found.normaliser).to(self.device)
        sae = initial_sae(self.config, self.normaliser)
        self.stepper = Stepper(sae, self.config, variance=self.normaliser.variance)
        if found is not None:
            found.restore(self.stepper)
            self._saved_step = self.stepper.steps_done
        if self._log is not None:
            _cut(self._log, 0 if found is None else found.facts.metrics_bytes)

    def learn(self, progress: Progress) -> None:
        """Take the steps that are left."""
        stepper, config = self.stepper, self.config
        progress.start("train", config.steps)
        progress.advance(stepper.steps_done)
        while stepper.steps_done < config.steps:
            batch = self.feed.next_batch()
            if batch is None:
                progress.say(f"the source ended after {stepper.steps_done} of {config.steps} steps")
                break
            report = stepper.step(self.normaliser.apply(batch.to(self.device)))
            progress.advance()
            done, last = stepper.steps_done, stepper.steps_done == config.steps
            if done % config.log_every == 0 or last:
                self._note(report)
            if done % config.checkpoint_every == 0:
                self._save()
        if stepper.steps_done > self._saved_step:
            self._save()

    def folded(self) -> SAE:
        """Write the input map into a copy of the weights."""
        sae = self.stepper.sae.fold(self.normaliser.centre, self.normaliser.scale)
        return sae.requires_grad_(False)

    def conclude(self, sae: SAE, result: Evaluation, split: str) -> dict[str, Any]:
        """Describe the autoencoder, and log the evaluation."""
        facts = {
            "split": split,
            **result.summary(),
            "gamma_after": self.normaliser.gamma_after,
            "steps": self.stepper.steps_done,
            "trained_tokens": self.stepper.steps_done * self.config.batch_size,
        }
        normaliser = {
            "centre": self.normaliser.centre.tolist(),
            "scale": self.normaliser.scale.tolist(),
        }
        sae.describe(self.tokens.origin())
        sae.describe({"training": self.config.as_dict(), "normaliser": normaliser})
        sae.describe({"metrics": facts, "torch_version": torch.__version__})
        self._write_line({"step": self.stepper.steps_done, "evaluation": facts})
        return facts

    def _identity(self) -> dict[str, Any]:
        settings = self._asked.as_dict()
        # How often a run writes does not change what it learns.
        kept = {key: settings[key] for key in settings if not key.endswith("_every")}
        return kept | {"source": self.tokens.signature()}

    def _fit(self) -> Normaliser:
        if self._stats is not None:
            moments = normalise.moments_of(self._stats, self.tokens.channels)
        else:
            moments = normalise.measure(self.feed.look())
        return normalise.fit(self.config.normalize, moments)

    def _note(self, report: Report) -> None:
        """Log one step, having made sure that it is sound."""
        step, config = self.stepper.steps_done, self.config
        numbers = {
            "loss": float(report.loss),
            "fvu": float(report.fvu),
            "aux_loss": float(report.aux_loss),
            "l0": float(report.active),
            "dead_share": report.dead / self.stepper.sae.latents,
            "gradient_norm": float(report.gradient_norm),
        }
        if not all(map(math.isfinite, numbers.values())):
            self._diverged()
        line = {"step": step, "tokens": step * config.batch_size, "epoch": self.feed.place.epoch}
        self._write_line(line | {"learning_rate": config.rate_at(step - 1)} | numbers)

    def _save(self) -> None:
        if self._folder is None:
            return
        if not all(torch.isfinite(weight).all() for weight in self.stepper.sae.parameters()):
            self._diverged()
        size = self._log.stat().st_size if self._log is not None and self._log.exists() else 0
        facts = checkpoint.Facts(self._identity(), self.stepper.steps_done, self.feed.place, size)
        checkpoint.write(self._folder, self.stepper, self.normaliser, facts)
        self._saved_step = self.stepper.steps_done

    def _diverged(self) -> None:
        kept = "no checkpoint was asked for"
        if self._folder is not None:
            kept = f"the last good checkpoint is of step {self._saved_step}, in {self._folder}"
        raise TrainingDivergedError(
            f"the loss is no longer finite at step {self.stepper.steps_done}; {kept}. Lower "
            f"learning_rate (it is {self.config.learning_rate:g}), or set clip"
        )

    def _write_line(self, facts: dict[str, Any]) -> None:
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(json.dumps(facts) + "\n")


@torch.no_grad()
def initial_sae(config: TrainConfig, normaliser: Normaliser) -> SAE:
    """Draw the first weights, on the CPU so that they are the same for every device."""
    channels = len(normaliser.centre)
    config = config.resolve(channels)
    latents = config.latents(channels)
    sae = SAE(channels, latents, config.k or 1, layer_norm=config.layer_norm)
    generator = torch.Generator().manual_seed(config.seed)
    if config.unit_decoder:
        sae.W_dec.normal_(generator=generator)
        unit_rows(sae.W_dec)
    else:
        # As torch.nn.Linear draws the weights of a layer with that many inputs.
        sae.W_dec.uniform_(-(latents**-0.5), latents**-0.5, generator=generator)
    if config.tied_init:
        sae.encoder.copy_(sae.W_dec)
    else:
        sae.encoder.uniform_(-(channels**-0.5), channels**-0.5, generator=generator)
    if config.bias_init and not config.layer_norm:
        sae.b_dec.copy_(normaliser.mean)
    return sae.to(normaliser.centre.device)


def _held_out(source: Source, validation: Source | None) -> tuple[str, Source | None]:
    """Choose what to measure on; None stands for a part of what was trained on."""
    if validation is not None:
        return "holdout", validation
    if isinstance(source, str | Path):
        source = open_file(source)
    if isinstance(source, ActivationSource) and (source.windows["split"] == "holdout").any():
        return "holdout", source
    return "train", None


def _device(name: str | torch.device | None) -> torch.device:
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be a device of torch, got {name!r}: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be there, got {str(name)!r}, but torch sees no GPU")
    return device


def _cut(log: Path, length: int) -> None:
    """Keep the first ``length`` bytes: a killed run wrote more after its last checkpoint."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.truncate(min(length, file.tell()))

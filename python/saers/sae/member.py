"""One autoencoder of a run: its weights, its log, its checkpoints."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from saers.sae import checkpoint
from saers.sae.buffer import Place, Thinning
from saers.sae.config import TrainConfig
from saers.sae.divergence import TrainingDivergedError, Watch
from saers.sae.metrics import Evaluation, Tally
from saers.sae.module import SAE
from saers.sae.normalise import Normaliser
from saers.sae.parallel import Crew
from saers.sae.start import initial_sae
from saers.sae.step import Report, Stepper


class Tracker(Protocol):
    """Shows numbers elsewhere, such as TensorBoard."""

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Show the numbers of a step."""

    def close(self) -> None:
        """End the run, whether it is complete or not."""


class Member:
    """One autoencoder of a run.

    Parameters
    ----------
    asked
        Settings as they were asked for.
    channels
        Channels of the source.
    signature
        What tells the source from others.
    folder, log
        Where checkpoints and metrics go, if anywhere.
    crew
        The processes that train it; the first of them writes.
    trackers
        Are told the metrics as well.

    Raises
    ------
    ValueError
        If the settings do not fit the source, or the folder holds the state of another run.
    """

    def __init__(
        self,
        asked: TrainConfig,
        channels: int,
        signature: dict[str, Any],
        *,
        folder: Path | None,
        log: Path | None,
        crew: Crew,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.config = asked.resolve(channels)
        settings = asked.as_dict() | {"order_seed": asked.stream_seed}
        # How often a run writes, and when it gives up, does not change what it learns.
        free = [key for key in settings if key.endswith("_every") or key.startswith("divergence_")]
        kept = {key: settings[key] for key in settings if key not in free}
        self._identity = kept | {"source": signature}
        self._folder, self._log, self._crew, self._trackers = folder, log, crew, trackers
        self.found = None if folder is None else checkpoint.read(folder)
        if self.found is not None:
            self.found.require(self._identity)
        self._saved_step = 0
        lowest = math.inf if self.found is None else self.found.facts.lowest_fvu
        self._watch = Watch(asked.divergence_factor, asked.divergence_steps, lowest)

    @property
    def steps_done(self) -> int:
        """Steps that were taken before this run."""
        return 0 if self.found is None else self.found.facts.steps_done

    @property
    def place(self) -> Place:
        """Where in the stream it goes on."""
        return Place() if self.found is None else self.found.facts.place

    def begin(self, normaliser: Normaliser, thinning: Thinning | None) -> None:
        """Draw or restore the weights; cut the log back to that place."""
        self.normaliser, self._thinning = normaliser, thinning
        sae = initial_sae(self.config, normaliser)
        self.stepper = Stepper(sae, self.config, variance=normaliser.variance, crew=self._crew)
        if self.found is not None:
            self.found.restore(self.stepper)
            self._saved_step = self.stepper.steps_done
        if self._log is not None and self._crew.rank == 0:
            _cut(self._log, 0 if self.found is None else self.found.facts.metrics_bytes)
        self._crew.wait()

    def learn(self, batch: Tensor, place: Place, probe: Tensor | None) -> None:
        """Take one step, and note what is due.

        Parameters
        ----------
        batch
            (n, channels), not mapped.
        place
            Where in the stream the next batch lies.
        probe
            Held-out positions to measure now and then.
        """
        stepper, config = self.stepper, self.config
        report = stepper.step(self.normaliser.apply(batch))
        done = stepper.steps_done
        logged = done % config.log_every == 0 or done == config.steps
        if logged or done % config.checkpoint_every == 0:
            self._look_at(report)
        if logged:
            self._note(report, place)
        if probe is not None and done % config.eval_every == 0 and done < config.steps:
            self._measure(probe)
        if done % config.checkpoint_every == 0:
            self.save(place)

    def folded(self) -> SAE:
        """Write the input map into a copy of the weights."""
        centre, scale = self.normaliser.centre, self.normaliser.scale
        mixing, unmixing = self.normaliser.mixing, self.normaliser.unmixing
        made = self.stepper.result().fold(centre, scale, mixing, unmixing)
        return made.requires_grad_(False)

    def conclude(
        self, sae: SAE, result: Evaluation, split: str, origin: dict[str, Any]
    ) -> dict[str, Any]:
        """Describe the autoencoder, and log the evaluation."""
        facts = {
            "split": split,
            **result.summary(),
            "gamma_after": self.normaliser.gamma_after,
            "steps": self.stepper.steps_done,
            "trained_tokens": self.stepper.steps_done * self.config.batch_size,
        }
        if sae.threshold is not None:
            # Room in files: twice what the fullest position of the evaluation needed.
            sae.k = min(sae.latents, max(1, 2 * result.most_active))
        normaliser = {
            "centre": self.normaliser.centre.tolist(),
            "scale": self.normaliser.scale.tolist(),
        }
        sae.describe(origin)
        sae.describe({"training": self.config.as_dict(), "normaliser": normaliser})
        sae.describe({"metrics": facts, "torch_version": torch.__version__})
        self._write(self.stepper.steps_done, {"evaluation": facts})
        return facts

    def save(self, place: Place) -> None:
        """Write a checkpoint, having made sure that the weights are sound."""
        if self._folder is None or self.stepper.steps_done == self._saved_step:
            return
        if not all(torch.isfinite(weight).all() for weight in self.stepper.sae.parameters()):
            self._diverged("a weight is no longer finite")
        if self._watch.risen_since is not None and self.stepper.steps_done < self.config.steps:
            return  # the one before is of a better time, should this be a divergence
        self._saved_step = self.stepper.steps_done
        if self._crew.rank > 0:
            return
        size = self._log.stat().st_size if self._log is not None and self._log.exists() else 0
        facts = checkpoint.Facts(
            self._identity, self.stepper.steps_done, place, size, self._watch.lowest
        )
        checkpoint.write(
            self._folder, self.stepper, self.normaliser, facts, thinning=self._thinning
        )

    def close(self) -> None:
        """Let the trackers end."""
        for tracker in self._trackers:
            tracker.close()

    def _look_at(self, report: Report) -> None:
        """Make sure that a step is sound."""
        seen = (report.loss, report.fvu, report.aux_loss, report.active, report.gradient_norm)
        if not all(math.isfinite(float(number)) for number in seen):
            self._diverged("the loss is no longer finite")
        if self._watch.see(self.stepper.steps_done, float(report.fvu)):
            self._diverged(
                f"the error has stayed above {self.config.divergence_factor:g} times its lowest "
                f"(an FVU of {self._watch.lowest:.3g}) since step {self._watch.risen_since}"
            )

    def _note(self, report: Report, place: Place) -> None:
        """Log one step."""
        step, config = self.stepper.steps_done, self.config
        numbers = {
            "loss": float(report.loss),
            "fvu": float(report.fvu),
            "aux_loss": float(report.aux_loss),
            "l0": float(report.active),
            "dead_share": report.dead / self.stepper.sae.latents,
            "gradient_norm": float(report.gradient_norm),
        }
        rate = {"learning_rate": config.rate_at(step - 1)}
        where = {"tokens": step * config.batch_size, "epoch": place.epoch}
        self._write(step, where | rate | numbers)

    def _measure(self, probe: Tensor) -> None:
        sae = self.folded()
        tally = Tally(sae, probe)
        for rows in torch.split(probe, 8192):
            tally.update(rows)
        self._write(self.stepper.steps_done, {"holdout": tally.finish().summary()})

    def _diverged(self, what: str) -> NoReturn:
        kept = "no checkpoint was asked for"
        if self._folder is not None:
            kept = f"the last good checkpoint is of step {self._saved_step}, in {self._folder}"
            kept = kept if self._saved_step else f"no checkpoint had been written to {self._folder}"
        raise TrainingDivergedError(
            f"step {self.stepper.steps_done}: {what}; {kept}. Lower "
            f"learning_rate (it is {self.config.learning_rate:g}), or set clip"
        )

    def _write(self, step: int, facts: dict[str, Any]) -> None:
        if self._crew.rank > 0:
            return
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(json.dumps({"step": step, **facts}) + "\n")
        for tracker in self._trackers:
            tracker.write(step, flat(facts))


def flat(facts: dict[str, Any], before: str = "") -> dict[str, float]:
    """Name the numbers of nested facts by their paths.

    Examples
    --------
    >>> flat({"fvu": 0.5, "holdout": {"l0": 3, "split": "x"}})
    {'fvu': 0.5, 'holdout/l0': 3.0}
    """
    numbers: dict[str, float] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            numbers |= flat(value, f"{before}{key}/")
        elif isinstance(value, int | float):
            numbers[before + key] = float(value)
    return numbers


def _cut(log: Path, length: int) -> None:
    """Keep the first ``length`` bytes: a killed run wrote more after its last checkpoint."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.truncate(min(length, file.tell()))

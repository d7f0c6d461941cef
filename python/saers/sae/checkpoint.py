"""Training state in one file: all or nothing, exact to the bit."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from saers import FormatError, store
from saers.sae.buffer import Place, Thinning
from saers.sae.normalise import Normaliser
from saers.sae.step import Stepper

STATE = "train_state.safetensors"
_VERSION = 2


class Facts(NamedTuple):
    """What a checkpoint holds beside tensors."""

    identity: dict[str, Any]  # configuration and source: a resumed run must have the same
    steps_done: int
    place: Place
    metrics_bytes: int  # length of metrics.jsonl when the checkpoint was written
    lowest_fvu: float = math.inf  # of the steps that were looked at


def write(
    folder: Path,
    stepper: Stepper,
    normaliser: Normaliser,
    facts: Facts,
    *,
    thinning: Thinning | None = None,
) -> None:
    """Write a checkpoint; the one before stays until this one is whole and on the disk."""
    tensors = {f"sae.{name}": weight for name, weight in stepper.sae.state_dict().items()}
    for number, state in stepper.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
    tensors |= {f"average.{i}": value for i, value in enumerate(stepper.average)}
    tensors |= {"idle": stepper.idle, "threshold": stepper.threshold}
    parts = normaliser._asdict().items()
    tensors |= {f"normaliser.{name}": v for name, v in parts if isinstance(v, Tensor)}
    if thinning is not None:
        tensors |= {"thinning.mean": thinning.mean, "thinning.border": thinning.border}
    numbers = [normaliser.variance, normaliser.gamma_before, normaliser.gamma_after]
    header = {"version": _VERSION, "normaliser": numbers, **facts._asdict()}
    with store.atomic_path(folder / STATE) as file:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            file,
            metadata={"saers": json.dumps(header)},
        )


class Checkpoint(NamedTuple):
    """A checkpoint as read; :meth:`restore` puts it into a run of the same shape."""

    path: Path
    facts: Facts
    normaliser: Normaliser
    tensors: dict[str, Tensor]

    def require(self, identity: dict[str, Any]) -> None:
        """Require that configuration and source are those of the run that wrote it.

        Raises
        ------
        ValueError
            Naming the differences.
        """
        then, now = self.facts.identity, json.loads(json.dumps(identity))
        differences = [
            f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
            for name in then | now
            if then.get(name) != now.get(name)
        ]
        if differences:
            raise ValueError(
                f"{self.path} is of another run: {'; '.join(differences)}. Remove it to train "
                "anew, or take another state_dir"
            )

    def thinning(self, share: float) -> Thinning | None:
        """Tell what the run left out of its background."""
        if "thinning.mean" not in self.tensors:
            return None
        return Thinning(self.tensors["thinning.mean"], self.tensors["thinning.border"], share)

    def restore(self, stepper: Stepper) -> None:
        """Copy weights, optimiser state and counts into place.

        Raises
        ------
        FormatError
            If it holds weights of another shape.
        """
        for name, weight in stepper.sae.state_dict().items():
            found = self.tensors.get(f"sae.{name}")
            if found is None or found.shape != weight.shape:
                shape = "none" if found is None else tuple(found.shape)
                raise FormatError(
                    f"{self.path}: {name} must be {tuple(weight.shape)}, got {shape}: the state "
                    "is of another autoencoder"
                )
        # Copies into tensors that are there keep their alignment, on which the last bits of a
        # matrix product may depend.
        weights = stepper.sae.state_dict()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.tensors[f"sae.{name}"])
            stepper.idle.copy_(self.tensors["idle"])
            stepper.threshold.copy_(self.tensors["threshold"])
            for i, average in enumerate(stepper.average):
                average.copy_(self.tensors[f"average.{i}"])
        optimizer = stepper.optimizer.state_dict()
        for name, value in self.tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "adam":
                number, _, moment = rest.partition(".")
                optimizer["state"].setdefault(int(number), {})[moment] = value.clone()
        stepper.optimizer.load_state_dict(optimizer)
        stepper.steps_done = self.facts.steps_done


def read(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder, None where there is none.

    Raises
    ------
    FormatError
        If the file is broken.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["saers"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["version"] != _VERSION:
            raise FormatError(f"{path}: training state of version {header['version']}")
        facts = Facts(
            header["identity"],
            int(header["steps_done"]),
            Place(*header["place"]),
            int(header["metrics_bytes"]),
            float(header.get("lowest_fvu", math.inf)),
        )
        parts = [tensors[f"normaliser.{name}"] for name in ("centre", "scale", "mean")]
        turns = [tensors.get(f"normaliser.{name}") for name in ("mixing", "unmixing")]
        normaliser = Normaliser(*parts, *header["normaliser"], *turns)
        return Checkpoint(path, facts, normaliser, tensors)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not a training state: {error!r}") from error

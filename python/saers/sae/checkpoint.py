"""Training state in one file: all or nothing, exact to the bit."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from saers import FormatError, store
from saers.sae.buffer import Place
from saers.sae.normalise import Normaliser
from saers.sae.step import Stepper

STATE = "train_state.safetensors"
_VERSION = 1


class Facts(NamedTuple):
    """What a checkpoint holds beside tensors."""

    identity: dict[str, Any]  # configuration and source: a resumed run must have the same
    steps_done: int
    place: Place
    metrics_bytes: int  # length of metrics.jsonl when the checkpoint was written


def write(folder: Path, stepper: Stepper, normaliser: Normaliser, facts: Facts) -> None:
    """Write a checkpoint; the one before stays until this one is whole."""
    tensors = {f"sae.{name}": weight for name, weight in stepper.sae.state_dict().items()}
    for number, state in stepper.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
    tensors["idle"] = stepper.idle
    for name in ("centre", "scale", "mean"):
        tensors[f"normaliser.{name}"] = getattr(normaliser, name)
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

    def restore(self, stepper: Stepper) -> None:
        """Copy weights, optimiser state and counts into place."""
        # Copies into tensors that are there keep their alignment, on which the last bits of a
        # matrix product may depend.
        weights = stepper.sae.state_dict()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.tensors[f"sae.{name}"])
            stepper.idle.copy_(self.tensors["idle"])
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
        )
        parts = [tensors[f"normaliser.{name}"] for name in ("centre", "scale", "mean")]
        return Checkpoint(path, facts, Normaliser(*parts, *header["normaliser"]), tensors)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not a training state: {error!r}") from error

"""Metrics on TensorBoard and wandb, where these are installed."""

import importlib
from pathlib import Path
from types import ModuleType

from saers import checks
from saers.sae.member import Tracker

TRACKERS = ("tensorboard", "wandb")


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._writer = _require("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Write the numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class Wandb:
    """A run of wandb, whose own environment variables say where it goes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        wandb = _require("wandb", "wandb")
        # The autoencoders of a sweep are logged side by side, each as a run of its own.
        self._run = wandb.init(
            project="saers", dir=str(folder), name=folder.name, reinit="create_new"
        )

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Log the numbers of a step."""
        self._run.log(numbers, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def open_tracker(name: str, folder: Path) -> Tracker:
    """Open a tracker by its name.

    Raises
    ------
    ValueError
        If the name is unknown or the package is not installed.

    Examples
    --------
    >>> open_tracker("tensorbord", Path("runs"))
    Traceback (most recent call last):
    ...
    ValueError: log_to must be one of tensorboard, wandb, got 'tensorbord'; did you mean 'tensorboard'?
    """  # noqa: E501
    checks.one_of("log_to", name, TRACKERS)
    return TensorBoard(folder) if name == "tensorboard" else Wandb(folder)


def _require(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"log_to {package}: install it with pip install {package}") from error

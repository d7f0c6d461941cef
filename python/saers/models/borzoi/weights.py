"""Folders of weights: what tensors they hold, and a network made of just those that are needed."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from saers import FormatError
from saers.checks import existing_file, one_of
from saers.models.borzoi.config import BorzoiConfig, Shape, aliases, infer_config
from saers.models.borzoi.network import Borzoi
from saers.store import atomic_directory

SETTINGS, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_COUNTS = ".num_batches_tracked"  # of norms while training; some files leave them out
_NAMED = 5


@dataclass(frozen=True)
class Weights:
    """A folder of weights that was looked at but not read."""

    folder: Path
    """The folder."""
    settings: dict[str, Any]
    """config.json."""
    places: dict[str, Path]
    """Tensor -> the file that holds it."""
    config: BorzoiConfig
    """Size of the network."""

    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Read some tensors, and nothing else of their files."""
        wanted = set(names)
        tensors: dict[str, torch.Tensor] = {}
        for file in sorted({self.places[name] for name in wanted}):
            with _opened(file) as stored:
                tensors |= {key: stored.get_tensor(key) for key in stored.keys() if key in wanted}  # noqa: SIM118 (not a dict)
        return tensors


def open_weights(folder: str | Path) -> Weights:
    """Look at a folder with config.json and model.safetensors, whole or in shards.

    Raises
    ------
    FileNotFoundError
        If there are no weights.
    FormatError
        If files are broken, or hold other tensors than a Borzoi of their shapes.
    """
    place = Path(folder)
    settings_file = place / SETTINGS
    settings = _json(settings_file) if settings_file.is_file() else {}
    shapes: dict[str, Shape] = {}
    places: dict[str, Path] = {}
    for file in _files(place):
        with _opened(file) as stored:
            for key in stored.keys():  # noqa: SIM118 (not a dict)
                shapes[key] = tuple(stored.get_slice(key).get_shape())
                places[key] = file
    try:
        config = infer_config(shapes, settings)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise FormatError(f"{place}: {error}") from error
    _check_tensors(place, config, shapes)
    return Weights(place, settings, places, config)


def build(weights: Weights, upto: Sequence[str] = ()) -> Borzoi:
    """Build a network up to the last of some layers, or the whole, filled in float32."""
    config = weights.config
    names = [aliases(config).get(layer, layer) for layer in upto]
    for name in names:
        one_of("layer", name, config.layers)
    if names:
        config = dataclasses.replace(config, upto=max(names, key=config.layers.index))
    with torch.device("meta"):
        network = Borzoi(config)
    state = network.state_dict()
    found = weights.read(name for name in state if name in weights.places)
    counts = {name: torch.zeros((), dtype=torch.long) for name in state if name.endswith(_COUNTS)}
    network.load_state_dict(counts | found, assign=True)
    return network.float().eval().requires_grad_(requires_grad=False)


def adopt(module: torch.nn.Module) -> Borzoi:
    """Build the network of a model that borzoi-pytorch has made, from its own tensors.

    Parameters
    ----------
    module
        A ``borzoi_pytorch.Borzoi``, its tracks chosen or not. The tensors are shared, not copied.

    Raises
    ------
    FormatError
        If it has other tensors than a Borzoi, as ``Prime`` does.
    """
    state = module.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    config_of = getattr(module, "config", None)
    settings = {} if config_of is None else vars(config_of)
    place = Path(type(module).__name__)
    try:
        config = infer_config(shapes, settings)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise FormatError(f"{place}: {error}") from error
    _check_tensors(place, config, shapes)
    with torch.device("meta"):
        network = Borzoi(config)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def truncate(folder: str | Path, layer: str, out: str | Path) -> BorzoiConfig:
    """Write a folder with just the tensors up to a layer, which loads as the whole one does.

    Parameters
    ----------
    folder
        The weights.
    layer
        The last layer to keep, by its name in the paper or in PyTorch.
    out
        The folder to make.

    Raises
    ------
    ValueError
        If there is no such layer.

    Returns
    -------
    The size of what was written.
    """
    weights = open_weights(folder)
    network = build(weights, [layer])
    config = network.config
    settings = {
        **weights.settings,
        "tower": list(config.tower),
        "dim": config.dim,
        "depth": config.depth,
        "heads": config.heads,
        "flashed": config.rotary,
        "truncated_to": config.upto,
    }
    write(network.state_dict(), settings, out)
    return config


def write(state: Mapping[str, torch.Tensor], settings: Mapping[str, Any], out: str | Path) -> None:
    """Write a folder of weights."""
    with atomic_directory(out) as place:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, place / SINGLE)
        (place / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def _check_tensors(place: Path, config: BorzoiConfig, shapes: Mapping[str, Shape]) -> None:
    """Require every tensor of the network, in its shape, and none beside."""
    with torch.device("meta"):
        expected = {key: tuple(t.shape) for key, t in Borzoi(config).state_dict().items()}
    missing = [key for key in expected if key not in shapes and not key.endswith(_COUNTS)]
    beside = [key for key in shapes if key not in expected]
    other = [
        f"{key} {list(shapes[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in shapes and shapes[key] != shape
    ]
    problems = {"missing": missing, "unexpected": beside, "of another shape": other}
    worded = [f"{what}: {_listed(names)}" for what, names in problems.items() if names]
    if worded:
        raise FormatError(f"{place}: tensors {'; '.join(worded)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _files(place: Path) -> list[Path]:
    """Find the files of weights in a folder."""
    if (place / SINGLE).is_file():
        return [place / SINGLE]
    if not (place / INDEX).is_file():
        raise FileNotFoundError(f"weights: neither {SINGLE} nor {INDEX} in {place}")
    shards = _json(place / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise FormatError(f"{place / INDEX}: no weight_map from tensors to files")
    # Names of files, not paths: a shard lies beside its index.
    names = sorted({Path(name).name for name in shards.values()})
    return [existing_file(place / name, what=f"shard of {place / INDEX}") for name in names]


def _opened(file: Path) -> Any:  # noqa: ANN401
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{file}: not a readable safetensors file: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{file}: not an object")
    return found

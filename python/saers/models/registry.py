"""Opens models: by an adapter's name, or by what the path looks like."""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from saers import FormatError
from saers.checks import did_you_mean, existing_file, one_of
from saers.models.base import SequenceModel

if TYPE_CHECKING:
    import torch


class Adapter(Protocol):
    """Opens the model at ``source``."""

    def __call__(
        self,
        source: str,
        *,
        layer: str | Sequence[str] | None,
        options: Mapping[str, Any],
        weights: str | None,
        device: str | None,
    ) -> SequenceModel:
        """Open it; ``options`` are the adapter's own.

        Where ``layer`` names one or several, nothing behind the last will be asked for.
        """


_ADAPTERS: dict[str, Adapter] = {}


def register_adapter(name: str, adapter: Adapter) -> None:
    """Add a way to open models, or replace one.

    Examples
    --------
    >>> from saers.models.registry import load_module
    >>> register_adapter("mine", load_module)
    >>> "mine" in adapters()
    True
    """
    _ADAPTERS[name] = adapter


def adapters() -> list[str]:
    """List the names of the adapters.

    Examples
    --------
    >>> {"module", "toy"} <= set(adapters())
    True
    """
    return sorted(_ADAPTERS)


def load(
    path_or_name: str | Path,
    layer: str | Sequence[str] | None = None,
    *,
    adapter: str | None = None,
    options: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
) -> SequenceModel:
    """Open a sequence model.

    Parameters
    ----------
    path_or_name
        For the adapter "module": ``file.py:function`` or ``package.module:function``, which
        returns a torch.nn.Module, or a `SequenceModel` where more is to be said. For "borzoi"
        and "toy": a folder with config.json and model.safetensors. For "huggingface": one with
        a tokenizer besides, of a language model that reads tokens.
    layer
        A layer that must be there, or several. Borzoi is read up to the last of them and no
        further, so that it has no outputs then.
    adapter
        Name of the adapter; left out, "borzoi", "toy" or "huggingface" for a folder, by its
        config.json, and "module" for all else.
    options
        Keyword arguments of the function; for "borzoi", ``species`` and ``input_length``;
        for "huggingface", ``kmer``, ``step``, ``input_length`` and ``max_tokens``.
    weights
        State dict for the network: .safetensors, or a file of torch that holds tensors alone.
    device
        "cpu", "cuda", "cuda:1", ...; "auto" is a GPU where there is one; None leaves the model
        where it is built.

    Raises
    ------
    ValueError
        If adapter, function, options or layer do not exist.
    FormatError
        If the weights do not fit or cannot be read.

    Examples
    --------
    >>> load("torch.nn:Sequentail")
    Traceback (most recent call last):
    ...
    ValueError: torch.nn: no function 'Sequentail'; did you mean 'Sequential'?
    """
    source = str(path_or_name)
    if adapter is None:
        adapter = _adapter_of(Path(source)) if Path(source).is_dir() else "module"
    one_of("adapter", adapter, adapters())
    model = _ADAPTERS[adapter](
        source,
        layer=layer,
        options=options or {},
        weights=str(weights) if weights else None,
        device=_device(device),
    )
    for name in [layer] if isinstance(layer, str) else layer or ():
        check_layer(model, name)
    return model


def check_layer(model: SequenceModel, layer: str) -> None:
    """Require a layer that can be captured, and describe it.

    Raises
    ------
    ValueError
        Naming the nearest layers, and all.
    """
    try:
        _ = model.layers[layer]
    except KeyError:
        hint = did_you_mean(layer, model.layers, most=3)
        raise ValueError(f"no layer {layer!r}{hint}; layers: {', '.join(model.layers)}") from None


def load_module(
    source: str,
    *,
    layer: str | Sequence[str] | None = None,
    options: Mapping[str, Any],
    weights: str | None,
    device: str | None,
) -> SequenceModel:
    """Open what a user's own function builds; models of borzoi-pytorch and Enformer are known."""
    import torch

    from saers.models.module import ModuleModel

    place, colon, name = source.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(
            f"model source must be 'file.py:function' or 'package.module:function', got {source!r}"
        )
    function = _function(place, name)
    try:
        built = function(**options)
    except TypeError as error:
        raise ValueError(f"{source}: {error} (options: {', '.join(options) or 'none'})") from error
    network = built.module if isinstance(built, ModuleModel) else built
    if isinstance(network, torch.nn.Module):
        if weights:
            load_weights(network, weights)
        if device:
            network.to(device)
        return built if isinstance(built, ModuleModel) else _known(network)
    if not isinstance(built, SequenceModel):
        raise ValueError(
            f"{source} must return a torch.nn.Module or a SequenceModel, got {type(built).__name__}"
        )
    return built


def _known(network: "torch.nn.Module") -> SequenceModel:
    """Take a network apart that is known by the package it comes from; any other by its modules."""
    from saers.models.module import ModuleModel

    package = type(network).__module__.partition(".")[0]
    if package == "borzoi_pytorch":
        borzoi = importlib.import_module("saers.models.borzoi")
        return cast(SequenceModel, borzoi.BorzoiModel(borzoi.adopt(network)))
    if package == "enformer_pytorch":
        enformer = importlib.import_module("saers.models.enformer")
        return cast(SequenceModel, enformer.EnformerModel(network))
    return ModuleModel(network)


def folder_adapter(module: str, what: str, known: Sequence[str], *, upto: bool = False) -> Adapter:
    """Make an adapter for folders that hold both settings and weights.

    Parameters
    ----------
    module
        Module whose ``load(folder, **options)`` opens them.
    what
        What messages call such a model.
    known
        Names of its options.
    upto
        ``load`` takes a ``layer`` as well, and reads no further.
    """

    def adapter(
        source: str,
        *,
        layer: str | Sequence[str] | None = None,
        options: Mapping[str, Any],
        weights: str | None,
        device: str | None,
    ) -> SequenceModel:
        if weights:
            raise ValueError(f"{what} takes no weights beside those of its folder")
        if options and not known:
            raise ValueError(f"{what} takes no options, got {', '.join(options)}")
        for option in options:
            one_of(f"option of {what}", option, known)
        given = {"layer": layer, **options} if upto else options
        model = importlib.import_module(module).load(source, **given)
        if device:
            model.module.to(device)
        return cast(SequenceModel, model)

    return adapter


def _adapter_of(folder: Path) -> str:
    """Tell by a folder's settings which adapter opens it."""
    try:
        settings = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):  # which the adapter will name
        settings = {}
    if "filters" in settings:
        return "toy"
    return "huggingface" if "vocab_size" in settings else "borzoi"


register_adapter("module", load_module)
register_adapter("toy", folder_adapter("saers.models.toy", "a toy model", ()))
register_adapter(
    "borzoi",
    folder_adapter("saers.models.borzoi", "a Borzoi model", ("species", "input_length"), upto=True),
)
register_adapter(
    "huggingface",
    folder_adapter(
        "saers.models.huggingface",
        "a model of Hugging Face",
        ("kmer", "step", "input_length", "max_tokens"),
    ),
)


def load_weights(network: "torch.nn.Module", path: str | Path) -> None:
    """Load a state dict into a network, every tensor of both accounted for.

    Parameters
    ----------
    network
        The network.
    path
        A .safetensors file, or one of torch with a state dict, bare or under ``state_dict`` or
        ``model_state_dict``. Files of torch are read with ``weights_only=True``: nothing in
        them is executed.

    Raises
    ------
    FormatError
        If the file cannot be read so, or tensors are missing, unexpected or of another shape.
    """
    import torch

    file = existing_file(path, what="model weights")
    state: Any
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and safetensors each raise their own
        raise FormatError(f"{file}: not a readable state dict: {error}") from error
    for key in ("state_dict", "model_state_dict"):
        state = state[key] if isinstance(state, dict) and key in state else state
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise FormatError(f"{file}: {error}") from error


def _function(place: str, name: str) -> Callable[..., Any]:
    """Import a function from a file, or from an installed module."""
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import(place)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:  # whatever the user's own code raises
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(f"{place}: no function {name!r}{did_you_mean(name, known)}")
    return function  # type: ignore[no-any-return]


def _import(name: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"model source: {error}") from error


def _import_file(path: Path) -> Any:  # noqa: ANN401
    """Import a file under a name of its own, so that it hides no other module."""
    file = existing_file(path, what="model source").resolve()
    name = "saers_user_model" + re.sub(r"\W", "_", str(file.with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    sys.path.append(str(file.parent))  # its neighbours can be imported, but hide nothing
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(file.parent))
    return module


def _device(device: str | None) -> str | None:
    """Resolve "auto"."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""Files of an autoencoder: the directory that SAELens 6 and later read, with a model card."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import saers
from saers import FormatError, store
from saers.sae.card import CARD, model_card
from saers.sae.module import SAE

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
_KEYS = ("W_enc", "W_dec", "b_enc", "b_dec")
_SCALE = "input_scale"  # beside the weights, for LayerNorm only
_ROOM = "most_active"  # latents at a position that files have room for, where a threshold decides
_DEFAULT_ROOM = 128


def save(sae: SAE, path: str | Path) -> Path:
    """Write ``cfg.json``, ``sae_weights.safetensors`` and ``README.md`` into a new directory.

    One with a threshold is a ``jumprelu`` there, any other a ``topk``.

    Where each position is standardised over its channels, a scale of the input cannot be folded
    in: it stands in the metadata as ``input_scale``, and other programs must divide by it first.

    Parameters
    ----------
    sae
        The autoencoder.
    path
        The directory; one that is there is replaced, whole.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = save(SAE(4, 16, k=2), Path(folder) / "sae")
    ...     sorted(file.name for file in place.iterdir()), load(place).k
    (['README.md', 'cfg.json', 'sae_weights.safetensors'], 2)
    """
    target = Path(path)
    weights = {
        "W_enc": sae.W_enc.detach().cpu().contiguous(),
        "W_dec": sae.W_dec.detach().cpu().contiguous(),
        "b_enc": sae.b_enc.detach().cpu(),
        "b_dec": sae.b_dec.detach().cpu(),
    }
    if sae.threshold is not None:
        weights["threshold"] = sae.threshold.detach().cpu()
    with store.atomic_directory(target) as folder:
        (folder / CARD).write_text(model_card(sae))
        (folder / CONFIG).write_text(json.dumps(_describe(sae), indent=2) + "\n")
        save_file(weights, folder / WEIGHTS)
    return target


def load(path: str | Path) -> SAE:
    """Read such a directory, of saers or of SAELens (``topk``, ``jumprelu``).

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FormatError
        If a file is broken, of another architecture, or does not fit the other.
    """
    config_file, weights_file = Path(path) / CONFIG, Path(path) / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise FileNotFoundError(f"SAE: no file at {file}")
    config = _read_config(config_file)
    weights = _read_weights(weights_file)
    shape = (config["d_sae"], config["d_in"])
    if weights["W_dec"].shape != shape or weights["W_enc"].shape != shape[::-1]:
        raise FormatError(
            f"{weights_file}: W_dec is {tuple(weights['W_dec'].shape)}, {CONFIG} says {shape}"
        )
    sae = SAE(
        shape[1],
        shape[0],
        _width(config),
        layer_norm=_has_layer_norm(config, config_file),
        threshold=_threshold(config, weights, weights_file),
    )
    _assign(sae, weights, config)
    sae.metadata = dict(config.get("metadata", {}))
    if sae.layer_norm and _SCALE in sae.metadata:
        sae.scale.copy_(torch.tensor(sae.metadata.pop(_SCALE)))
    return sae


def _describe(sae: SAE) -> dict[str, Any]:
    metadata = {
        "sae_lens_version": "6.0.0",
        "model_name": "",
        "hook_name": "",
        "saers_version": saers.__version__,
        **sae.metadata,
    }
    if sae.layer_norm:
        metadata[_SCALE] = sae.scale.tolist()
    # A scale that is folded in leaves decoder rows of other lengths than 1.
    kind: dict[str, Any] = {"architecture": "topk", "k": sae.k}
    kind["rescale_acts_by_decoder_norm"] = False
    if sae.threshold is not None:
        kind = {"architecture": "jumprelu"}
        metadata[_ROOM] = sae.k
    return {
        **kind,
        "d_in": sae.channels,
        "d_sae": sae.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "layer_norm" if sae.layer_norm else "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{file}: must hold an object, got {type(config).__name__}")
    architecture = config.get("architecture")
    if architecture not in ("topk", "jumprelu"):
        raise FormatError(f"{file}: architecture must be topk or jumprelu, got {architecture!r}")
    for key in ("d_in", "d_sae") + (("k",) if architecture == "topk" else ()):
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise FormatError(f"{file}: {key} must be a whole number above 0")
    if config.get("k", 0) > config["d_sae"]:
        raise FormatError(f"{file}: k is {config['k']}, above d_sae ({config['d_sae']})")
    return config


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{file}: not a readable safetensors file: {error}") from error
    missing = [key for key in _KEYS if key not in weights]
    if missing:
        raise FormatError(f"{file}: lacks {', '.join(missing)}, has {', '.join(sorted(weights))}")
    for key in _KEYS:
        if not torch.isfinite(weights[key]).all():
            raise FormatError(f"{file}: {key} holds NaN or infinite values")
    return weights


def _width(config: dict[str, Any]) -> int:
    """Latents at a position for which codes have room."""
    room = config.get("metadata", {}).get(_ROOM, _DEFAULT_ROOM)
    return int(config.get("k", min(config["d_sae"], room)))


def _threshold(config: dict[str, Any], weights: dict[str, Tensor], file: Path) -> Tensor | None:
    if config["architecture"] == "topk":
        return None
    found = weights.get("threshold")
    if found is None or found.shape != (config["d_sae"],) or not torch.isfinite(found).all():
        raise FormatError(f"{file}: threshold must be {config['d_sae']} finite numbers")
    return found


def _has_layer_norm(config: dict[str, Any], file: Path) -> bool:
    kind = config.get("normalize_activations", "none")
    if kind not in ("none", "layer_norm"):
        raise FormatError(f"{file}: normalize_activations must be none or layer_norm, got {kind!r}")
    return bool(kind == "layer_norm")


@torch.no_grad()
def _assign(sae: SAE, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Copy the weights, with SAELens's two options written into them."""
    sae.encoder.copy_(weights["W_enc"].T)
    for name in ("W_dec", "b_enc", "b_dec"):
        getattr(sae, name).copy_(weights[name])
    if not config.get("apply_b_dec_to_input", True):
        sae.b_enc.add_(sae.encoder @ sae.b_dec)
    if config.get("rescale_acts_by_decoder_norm", False):
        length = torch.linalg.vector_norm(sae.W_dec, dim=1)
        sae.b_enc.mul_(length)  # thresholds stay: SAELens compares what is rescaled
        sae.encoder.mul_(length.unsqueeze(1))
        sae.W_dec.div_(length.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1))

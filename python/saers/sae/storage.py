"""Files of an autoencoder: the directory that SAELens 6 and later read."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import saers
from saers import FormatError, store
from saers.sae.module import SAE

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
_KEYS = ("W_enc", "W_dec", "b_enc", "b_dec")
_SCALE = "input_scale"  # beside the weights, for LayerNorm only


def save(sae: SAE, path: str | Path) -> Path:
    """Write ``cfg.json`` and ``sae_weights.safetensors`` into a new directory.

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
    (['cfg.json', 'sae_weights.safetensors'], 2)
    """
    target = Path(path)
    weights = {
        "W_enc": sae.W_enc.detach().cpu().contiguous(),
        "W_dec": sae.W_dec.detach().cpu().contiguous(),
        "b_enc": sae.b_enc.detach().cpu(),
        "b_dec": sae.b_dec.detach().cpu(),
    }
    with store.atomic_directory(target) as folder:
        (folder / CONFIG).write_text(json.dumps(_describe(sae), indent=2) + "\n")
        save_file(weights, folder / WEIGHTS)
    return target


def load(path: str | Path) -> SAE:
    """Read such a directory, of saers or of SAELens (architecture ``topk``).

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
    sae = SAE(shape[1], shape[0], config["k"], layer_norm=_has_layer_norm(config, config_file))
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
    return {
        "architecture": "topk",
        "d_in": sae.channels,
        "d_sae": sae.latents,
        "k": sae.k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "layer_norm" if sae.layer_norm else "none",
        "reshape_activations": "none",
        # A scale that is folded in leaves decoder rows of other lengths than 1.
        "rescale_acts_by_decoder_norm": False,
        "metadata": metadata,
    }


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{file}: must hold an object, got {type(config).__name__}")
    if config.get("architecture") != "topk":
        raise FormatError(f"{file}: architecture must be topk, got {config.get('architecture')!r}")
    for key in ("d_in", "d_sae", "k"):
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise FormatError(f"{file}: {key} must be a whole number above 0")
    if config["k"] > config["d_sae"]:
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
        sae.b_enc.mul_(length)
        sae.encoder.mul_(length.unsqueeze(1))
        sae.W_dec.div_(length.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1))

"""Autoencoders of other programs: sparsify's directory, and the checkpoints of SAE-Borzoi."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from saers import FormatError, store
from saers.checks import existing_file
from saers.sae.module import SAE

SPARSIFY_CONFIG, SPARSIFY_WEIGHTS = "cfg.json", "sae.safetensors"
_SEED_KEYS = ("encoder.weight", "decoder.weight", "pre_bias", "latent_bias")
_SEED_SHARE = 0.05  # of the channels, which SAE-Borzoi keeps as many latents as


def export_sparsify(sae: SAE, path: str | Path) -> Path:
    """Write the directory that EleutherAI's sparsify reads (``SparseCoder.load_from_disk``).

    Parameters
    ----------
    sae
        A TopK autoencoder.
    path
        The directory; one that is there is replaced, whole.

    Raises
    ------
    ValueError
        If the autoencoder has a threshold or a standardisation, which sparsify does not know.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = export_sparsify(SAE(4, 16, k=2), Path(folder) / "coder")
    ...     sorted(file.name for file in place.iterdir())
    ['cfg.json', 'sae.safetensors']
    """
    for has, what in (
        (sae.threshold is not None, "a threshold (batchtopk)"),
        (sae.layer_norm, "layer_norm"),
    ):
        if has:
            raise ValueError(f"sae must be a plain topk for sparsify, got one with {what}")
    config = {
        "activation": "topk",
        "expansion_factor": max(1, sae.latents // sae.channels),
        # A scale that is folded in leaves decoder rows of other lengths than 1.
        "normalize_decoder": False,
        "num_latents": sae.latents,
        "k": sae.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.channels,
    }
    weights = {
        "encoder.weight": sae.encoder,
        "encoder.bias": sae.b_enc,
        "W_dec": sae.W_dec,
        "b_dec": sae.b_dec,
    }
    with store.atomic_directory(Path(path)) as folder:
        (folder / SPARSIFY_CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        save_file(
            {name: weight.detach().cpu().contiguous() for name, weight in weights.items()},
            folder / SPARSIFY_WEIGHTS,
        )
    return Path(path)


def load_sae_borzoi(
    path: str | Path, *, k: int | None = None, global_max: str | Path | None = None
) -> SAE:
    """Read a ``best_model.pt`` of calico/sae-borzoi.

    Its training clamps values at 0 before the largest are taken; so does :meth:`SAE.encode`.
    (SAE-Borzoi's own inference does not, and may keep negative values.)

    Parameters
    ----------
    path
        The checkpoint; read with ``weights_only=True``, so that it can run no code.
    k
        Latents kept at each position, which the file does not tell; by default 5 % of the
        channels, as the paper has it.
    global_max
        JSON list of the channels' maxima, by which SAE-Borzoi divides its input; without it the
        autoencoder takes input that is already divided.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FormatError
        If a file is broken or something else.
    """
    file = existing_file(path, what="checkpoint")
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise FormatError(f"{file}: not a checkpoint of weights: {error}") from error
    weights = _seed_weights(saved, file)
    encoder, decoder = weights["encoder.weight"], weights["decoder.weight"]
    latents, channels = encoder.shape
    kept = max(1, int(_SEED_SHARE * channels)) if k is None else k
    sae = SAE(channels, latents, kept, layer_norm=True)
    with torch.no_grad():
        sae.encoder.copy_(encoder)
        sae.W_dec.copy_(decoder.T)
        sae.b_enc.copy_(weights["latent_bias"])
        sae.b_dec.copy_(weights["pre_bias"])
        if global_max is not None:
            sae.scale.copy_(_read_maxima(Path(global_max), channels))
    sae.describe({"imported_from": file.name})
    return sae.requires_grad_(False)


def _seed_weights(saved: Any, file: Path) -> dict[str, Tensor]:  # noqa: ANN401 - whatever was saved
    """Find the weights, and require that they fit each other."""
    found = saved.get("model_state_dict") if isinstance(saved, dict) else None
    if not isinstance(found, dict):
        raise FormatError(f"{file}: no model_state_dict, so no checkpoint of SAE-Borzoi")
    missing = [key for key in _SEED_KEYS if not isinstance(found.get(key), Tensor)]
    if missing:
        raise FormatError(f"{file}: model_state_dict lacks {', '.join(missing)}")
    shape = found["encoder.weight"].shape
    wanted = (shape, shape[::-1], shape[1:], shape[:1])
    for key, fitting in zip(_SEED_KEYS, wanted, strict=True):
        if len(shape) != 2 or found[key].shape != fitting:
            raise FormatError(f"{file}: {key} is {tuple(found[key].shape)}, beside {tuple(shape)}")
        if not torch.isfinite(found[key]).all():
            raise FormatError(f"{file}: {key} holds NaN or infinite values")
    return {key: found[key].float() for key in _SEED_KEYS}


def _read_maxima(file: Path, channels: int) -> Tensor:
    existing_file(file, what="global_max")
    try:
        maxima = torch.tensor(json.loads(file.read_text()), dtype=torch.float32).flatten()
    except (json.JSONDecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise FormatError(f"{file}: not a JSON list of numbers: {error}") from error
    if len(maxima) != channels or not ((maxima != 0) & maxima.isfinite()).all():
        raise FormatError(f"{file}: must hold {channels} numbers other than 0, got {len(maxima)}")
    return maxima

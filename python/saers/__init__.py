"""Sparse autoencoders for regulatory sequence.

What a sequence model has learned, as features with motifs and names. Everything public is
reached from here; modules load when first used, so that ``import saers`` stays quick and
does not import torch.
"""

import importlib
from typing import Any

from saers._core import FormatError, TimeoutExceeded, __version__

# Public name -> the module that defines it (PEP 562).
_HOME: dict[str, str] = {
    "ChannelStats": "saers.stats",
    "Codes": "saers.codes",
    "Genome": "saers.genome",
    "LayerInfo": "saers.layer",
    "ModelActivations": "saers.capture",
    "ModelLayers": "saers.capture",
    "Motif": "saers.motif",
    "SAE": "saers.sae.module",
    "TopSeqlets": "saers.codes",
    "TrainConfig": "saers.sae.config",
    "TrainResult": "saers.sae.training",
    "channel_stats": "saers.stats",
    "choose_k": "saers.sae.agreement",
    "cluster_motifs": "saers.clusters",
    "count_overlaps": "saers.annotations",
    "discover_features": "saers.motifs.discovery",
    "discover_motifs": "saers.motifs.engines",
    "export_bigwig": "saers.bigwig",
    "feature_track": "saers.code_files",
    "index_codes": "saers.code_files",
    "jaccard": "saers.relations",
    "models": "saers.models",
    "open_activations": "saers.activations",
    "overlap_enrichment": "saers.annotations",
    "read_codes": "saers.code_files",
    "read_motifs": "saers.motif",
    "scan": "saers.sites",
    "tomtom": "saers.matches",
    "top_positions": "saers.topk",
    "train_sae": "saers.sae.training",
    "train_sweep": "saers.sae.training",
    "write_cache": "saers.cache",
    "write_caches": "saers.cache",
    "write_codes": "saers.code_files",
    "write_motifs": "saers.motif",
}

__all__ = ["FormatError", "TimeoutExceeded", "__version__", *_HOME]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the home of a public name when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'saers' has no attribute {name!r}")
    module = importlib.import_module(home)
    value = module if home == f"saers.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)

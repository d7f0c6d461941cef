"""The first verb of the pipeline: windows, the layer, and activations where they are kept.

As in `saers.steps`, all science is in the modules that it calls.
"""

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl

from saers.context import Context
from saers.layer import ActivationSource


def capture(context: Context) -> dict[str, Any]:
    """Choose the windows, measure the layer, and cache activations where asked to."""
    from saers.activations import open_activations
    from saers.cache import write_cache

    recipe, store = context.recipe, context.store
    source: ActivationSource = (
        open_activations(recipe.capture.activations)
        if recipe.capture.activations
        else context.computed(_choose_windows(context))
    )
    store.write_table("windows", source.windows)
    store.write_json("layer", dataclasses.asdict(source.layer))
    # A finished cache of other options; one that was interrupted is continued.
    store.path("activations").unlink(missing_ok=True)
    if recipe.capture.cache == "hdf5" and not recipe.capture.activations:
        write_cache(
            source,
            store.path("activations"),
            dtype=recipe.capture.dtype,
            model=context.model_name,
            progress=context.progress,
        )
    layer = source.layer
    return {
        "windows": source.windows.height,
        "positions each": source.n_positions,
        "channels": layer.channels,
        "bp receptive window": layer.receptive_field,
        **accuracy(source),
        **throughput(source, kept=True),
    }


def capture_layers(
    context: Context, folder: Path, *, resume: bool = True
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Write the layers of the context in one pass, a file each, and tell how fast that was."""
    from saers.cache import write_caches
    from saers.capture import ModelLayers

    source = context.stream(_choose_windows(context))
    layers = ModelLayers(source, context.wanted)
    files = write_caches(
        layers,
        folder,
        dtype=context.recipe.capture.dtype,
        model=context.model_name,
        resume=resume,
        progress=context.progress,
    )
    errors = {
        f"{name}: {key}": value
        for name, one in layers.sources.items()
        for key, value in accuracy(one).items()
    }
    speed = throughput(source, kept=True)
    return files, {"windows": source.windows.height, **errors, **speed}


def accuracy(source: ActivationSource) -> dict[str, Any]:
    """Tell how far half precision lies from float32."""
    from saers.capture import ModelActivations

    if not isinstance(source, ModelActivations) or source.precision == "float32":
        return {}
    error = source.precision_error()
    return {
        f"greatest error of {source.precision}": error["max_abs"],
        "relative error": error["relative"],
        "cosine distance to float32": 1 - error["cosine"],
    }


def throughput(source: ActivationSource, *, kept: bool = False) -> dict[str, float]:
    """Tell what was computed and how fast; nothing where activations came from a file."""
    from saers.capture import ModelActivations

    facts = source.throughput.facts() if isinstance(source, ModelActivations) else {}
    return {name: value for name, value in facts.items() if not (kept and "disk" in name)}


def _choose_windows(context: Context) -> pl.DataFrame:
    from saers.intervals import read_bed
    from saers.windows import WindowRules, from_bed, tile

    section, blacklist = context.recipe.windows, context.recipe.genome.blacklist
    rules = WindowRules(
        max_n=section.max_n,
        blacklist=read_bed(blacklist) if blacklist else None,
        holdout=section.holdout,
        limit=section.limit,
        seed=context.recipe.seed,
    )
    if section.bed:
        return from_bed(section.bed, context.genome, rules=rules)
    length = section.length or context.model.input_length
    if length is None:
        raise ValueError("windows.length is needed: the model takes input of any length")
    return tile(
        context.genome, length, step=section.step, chromosomes=section.chromosomes, rules=rules
    )

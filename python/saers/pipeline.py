"""The main job: the stages in order, what each reads and writes, skipping and resuming.

A stage is skipped when its options, its inputs and its outputs are what they were when it last
finished. What a killed stage left behind is used again if it was made under the same options
and inputs, and removed otherwise; either way the result is that of an unbroken run.
"""

import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from saers import capturing, checks, steps
from saers._core import __version__
from saers.context import Context, check_train_options, outside_files
from saers.digests import Digest, digest_path, digest_text
from saers.memory import peak_memory, reset_peak_memory
from saers.progress import SILENT, Progress
from saers.recipe import Recipe, dump_recipe, load_recipe
from saers.store import RunStore, atomic_path

# Options that change how long a stage takes, not what comes out.
_MANNER = {"capture": {"batch_size", "device"}, "motifs": {"time_limit"}}


@dataclass(frozen=True)
class Stage:
    """One row of the table of stages."""

    name: str
    run: Callable[[Context], dict[str, Any]]
    """Reads, calls and writes; returns facts for the manifest and the summary."""
    sections: tuple[str, ...]
    """Recipe sections that its result depends on."""
    reads: tuple[str, ...]
    """Artefacts of earlier stages."""
    writes: tuple[str, ...]
    """Artefacts; those that a recipe leaves out are simply not there."""
    scratch: tuple[str, ...] = ()
    """Artefacts that a killed run continues from."""
    may_read: tuple[str, ...] = ()
    """Artefacts that are read where they are there: answers to questions."""
    streams: bool = False
    """Reads activations: from the cache, or again from the model."""


STAGES: tuple[Stage, ...] = (
    Stage(
        "capture",
        capturing.capture,
        ("model", "genome", "windows", "capture"),
        (),
        ("windows", "layer", "activations"),
        ("activations_part",),
    ),
    Stage("stats", steps.stats, (), ("windows", "layer"), ("stats",), streams=True),
    Stage(
        "train",
        steps.train,
        ("train",),
        ("windows", "layer", "stats"),
        ("sae",),
        ("train_state",),
        streams=True,
    ),
    Stage(
        "encode",
        steps.encode,
        ("encode",),
        ("windows", "layer", "sae"),
        ("top", "totals", "encoding", "codes"),
        streams=True,
    ),
    Stage(
        "seqlets",
        steps.seqlets,
        ("seqlets", "genome"),
        ("windows", "layer", "top", "totals", "encoding"),
        ("features", "seqlets", "seqlets_fasta"),
    ),
    Stage(
        "motifs",
        steps.motifs,
        ("motifs",),
        ("features", "seqlets"),
        ("motifs", "motifs_meme"),
        ("motifs_parts",),
    ),
    Stage("match", steps.match, ("match",), ("motifs",), ("matches", "tomtom_tsv")),
    Stage(
        "annotate",
        steps.annotate,
        ("annotate", "genome"),
        ("windows", "seqlets"),
        ("annotations",),
    ),
    Stage("relate", steps.relate, (), ("seqlets",), ("relations",)),
    Stage("embed", steps.embed, ("embed",), ("sae", "features"), ("embedding",)),
    Stage(
        "atlas",
        steps.atlas,
        ("atlas", "match"),
        ("windows", "layer", *steps.ATLAS_TABLES),
        ("atlas_h5ad", "atlas"),
        may_read=steps.ANSWERS,
    ),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)


class StageReport(NamedTuple):
    """What happened to one stage."""

    stage: str
    skipped: bool
    seconds: float
    peak_memory: int  # bytes
    facts: dict[str, Any]


def run_recipe(
    recipe: str | Path | Recipe,
    out: str | Path,
    *,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> list[StageReport]:
    """Run the stages of a recipe in a run directory.

    Parameters
    ----------
    recipe
        Path of a recipe, or one that was read.
    out
        The run directory; made when missing.
    first, last
        Names of the first and the last stage to run; default: all.
    force
        Run the stages even if nothing changed.
    threads
        Threads of the kernels; default: all cores.
    progress
        Hears of the progress.

    Raises
    ------
    ValueError
        If a stage name or a training option is unknown.
    saers.FormatError
        If the recipe, the manifest or an input file is broken.
    """
    chosen = _chosen(first, last)
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    check_train_options(loaded.train)
    store = RunStore(out)
    with store.locked():
        with atomic_path(store.path("recipe")) as temporary:
            temporary.write_text(dump_recipe(loaded))
        context = Context(store, loaded, progress, threads)
        manifest = store.read_manifest()
        return [_run_stage(stage, context, manifest, force=force) for stage in chosen]


def _chosen(first: str | None, last: str | None) -> Sequence[Stage]:
    for argument, name in (("from", first), ("to", last)):
        if name is not None:
            checks.one_of(argument, name, STAGE_NAMES)
    low = STAGE_NAMES.index(first) if first else 0
    high = STAGE_NAMES.index(last) if last else len(STAGES) - 1
    if low > high:
        raise ValueError(f"--from {first} comes after --to {last}")
    return STAGES[low : high + 1]


def _run_stage(
    stage: Stage, context: Context, manifest: dict[str, Any], *, force: bool
) -> StageReport:
    store, record = context.store, manifest.get(stage.name, {})
    inputs = _inputs(stage, context, manifest)
    options = _options(stage, context.recipe)
    fingerprint = digest_text(
        json.dumps([__version__, options, {k: v["hash"] for k, v in inputs.items()}])
    )
    unchanged = record.get("fingerprint") == fingerprint
    if unchanged and not force and _finished(stage, store, record):
        return StageReport(
            stage.name, True, record["seconds"], record["peak_memory"], record["facts"]
        )
    if force or not unchanged:
        _remove(store, stage.scratch)
    manifest[stage.name] = {"fingerprint": fingerprint, "state": "running"}
    store.write_manifest(manifest)
    context.progress.say(f"{stage.name} …")
    reset_peak_memory()
    started = time.perf_counter()
    facts = stage.run(context)
    _remove(store, stage.scratch)
    report = StageReport(stage.name, False, time.perf_counter() - started, peak_memory(), facts)
    manifest[stage.name] = {
        "fingerprint": fingerprint,
        "state": "finished",
        "inputs": inputs,
        "options": options,
        "seed": context.recipe.seed,
        "versions": _versions(),
        "seconds": round(report.seconds, 3),
        "peak_memory": report.peak_memory,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "outputs": {name: store.digest(name) for name in stage.writes if store.has(name)},
        "facts": facts,
    }
    store.write_manifest(manifest)
    return report


def record_question(
    store: RunStore,
    question: str,
    *,
    options: Mapping[str, Any],
    seed: int,
    seconds: float,
    written: Sequence[Path],
) -> None:
    """Keep in the manifest how a question was asked of a finished run, and what was written.

    Parameters
    ----------
    store
        The run.
    question
        Name of the question; an earlier record of it is replaced.
    options
        How it was asked.
    seed
        Seed of whatever was drawn.
    seconds
        How long it took.
    written
        The files.
    """
    with store.locked():
        manifest = store.read_manifest()
        manifest[question] = {
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
            "seed": seed,
            "versions": _versions(),
            "seconds": round(seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "outputs": {path.name: digest_path(path) for path in written},
        }
        store.write_manifest(manifest)


def _options(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    values = recipe.model_dump(include={"seed", *stage.sections})
    for section, keys in _MANNER.items():
        if section in values:
            values[section] = {k: v for k, v in values[section].items() if k not in keys}
    return values


def _inputs(stage: Stage, context: Context, manifest: dict[str, Any]) -> dict[str, Digest]:
    known: dict[str, Digest] = manifest.get(stage.name, {}).get("inputs", {})
    inputs: dict[str, Digest] = {}
    for name in stage.reads:
        digest = context.store.digest(name, known.get(name))
        if digest is None:
            writer = next(s.name for s in STAGES if name in s.writes)
            raise FileNotFoundError(
                f"{stage.name} needs {context.store.path(name)}, which {writer} writes; "
                f"run from {writer}"
            )
        inputs[name] = digest
    for name in stage.may_read:
        if answer := context.store.digest(name, known.get(name)):
            inputs[name] = answer
    for path in outside_files(stage.sections, context.recipe):
        inputs[str(path)] = digest_path(path, known.get(str(path)))
    if stage.streams:
        inputs["activations"] = _activations_digest(manifest)
    return inputs


def _activations_digest(manifest: dict[str, Any]) -> Digest:
    """Stand for activations that may never touch the disk: what capture was made of."""
    fingerprint = manifest.get("capture", {}).get("fingerprint", "")
    return Digest(path="", size=0, mtime_ns=0, hash=fingerprint)


def _finished(stage: Stage, store: RunStore, record: dict[str, Any]) -> bool:
    if record.get("state") != "finished":
        return False
    outputs: dict[str, Digest] = record["outputs"]
    for name in stage.writes:
        digest = store.digest(name, outputs.get(name))
        recorded = outputs.get(name)
        if (digest and digest["hash"]) != (recorded and recorded["hash"]):
            return False
    return True


def _remove(store: RunStore, artefacts: Sequence[str]) -> None:
    for path in map(store.path, artefacts):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    packages = ("numpy", "polars", "torch")
    return {
        "saers": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }

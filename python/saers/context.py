"""What the verbs of the pipeline work with: the store, the recipe, and what they open."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from saers.checks import existing_file
from saers.genome import Genome
from saers.layer import ActivationSource, LayerInfo
from saers.progress import Progress
from saers.recipe import Recipe, unknown_key
from saers.splicing import same_layer
from saers.store import RunStore
from saers.windows import whole_windows

if TYPE_CHECKING:
    from saers.capture import ModelActivations
    from saers.models.base import SequenceModel
    from saers.sae.config import TrainConfig

_OF_POSITIONS = ("crop", "parts", "precision")


@dataclass(frozen=True)
class Context:
    """What every verb works with; the genome and the model are opened once and kept."""

    store: RunStore
    recipe: Recipe
    progress: Progress
    threads: int | None = None
    wanted: tuple[str, ...] = ()
    """Layers that are asked of the model; empty: that of the recipe."""

    @cached_property
    def genome(self) -> Genome:
        """The genome of the recipe."""
        return Genome(existing_file(self.recipe.genome.fasta, what="genome.fasta"))

    @cached_property
    def model(self) -> "SequenceModel":
        """The model of the recipe."""
        return load_model(self.recipe, layers=self.wanted)

    @property
    def device(self) -> str | None:
        """The device of the recipe; None leaves the choice to torch."""
        return None if self.recipe.capture.device == "auto" else self.recipe.capture.device

    @property
    def model_name(self) -> str:
        """What the model is called in records and on the page."""
        source = self.recipe.model.source if self.recipe.model else self.recipe.capture.activations
        return Path(source).name

    def windows(self, split: str = "all") -> list[int]:
        """Numbers of the windows of a split."""
        table = self.store.read_table("windows")
        chosen = table if split == "all" else table.filter(pl.col("split") == split)
        return chosen["window"].to_list()

    def layer(self) -> LayerInfo:
        """Read what capture measured of the layer."""
        return LayerInfo(**self.store.read_json("layer"))

    def same_layer(self, one: str, other: str) -> bool:
        """Tell whether two names mean one layer of the recipe's model.

        Activations that come without a model have no other names to tell by.
        """
        return one == other or self.recipe.model is None or same_layer(self.model, one, other)

    def source(self) -> ActivationSource:
        """Activations: from the cache where there is one, else from the model again."""
        from saers.activations import open_activations

        if self.store.has("activations"):
            return open_activations(self.store.path("activations"))
        if self.recipe.capture.activations:
            return open_activations(self.recipe.capture.activations)
        return self.computed(self._inputs())

    def computed(self, windows: pl.DataFrame) -> ActivationSource:
        """Activations computed by the model: at positions, or where it has them at tokens."""
        from saers.tokens import TokenActivations

        section = self.recipe.capture
        if self.recipe.model is None or not hasattr(self.model, "places"):
            return self.stream(windows)
        for name in ("cache", *_OF_POSITIONS):
            if getattr(section, name) != type(section).model_fields[name].default:
                raise ValueError(
                    f"capture.{name}: positions of {self.recipe.model.layer!r} are tokens, for "
                    "which there is none: leave it out"
                )
        layer = self.recipe.model.layer
        return TokenActivations(self.model, layer, self.genome, windows, **self._masking())

    def stream(self, windows: pl.DataFrame) -> "ModelActivations":
        """Activations computed by the model over windows as it sees them, whole."""
        from saers.capture import ModelActivations

        own = self.recipe.model.layer if self.recipe.model else ""
        layer = self.wanted[0] if self.wanted else own
        options = self._masking() | self._of_positions()
        return ModelActivations(self.model, layer, self.genome, windows, **options)

    def layers(self, names: Sequence[str]) -> dict[str, ActivationSource]:
        """Activations of several layers of the recipe's model, from passes that they share."""
        from saers.shared_capture import layer_sources

        model, options = load_model(self.recipe, layers=names), self._masking()
        options |= self._of_positions()
        return dict(layer_sources(model, names, self.genome, self._inputs(), **options))

    def _masking(self) -> dict[str, Any]:
        """Options of [capture] that hold for positions and tokens alike."""
        from saers.intervals import read_bed

        section, blacklist = self.recipe.capture, self.recipe.genome.blacklist
        return {
            "batch_size": section.batch_size,
            "blacklist": read_bed(blacklist) if blacklist else None,
            "edge": section.edge,
        }

    def _of_positions(self) -> dict[str, Any]:
        """Options of [capture] that hold where positions lie at a stride."""
        return {name: getattr(self.recipe.capture, name) for name in _OF_POSITIONS}

    def _inputs(self) -> pl.DataFrame:
        """Windows of the run as the model sees them."""
        section, windows = self.recipe.capture, self.store.read_table("windows")
        return whole_windows(windows, crop=section.crop, parts=section.parts)


def load_model(
    recipe: Recipe, *, whole: bool = False, layers: Sequence[str] = ()
) -> "SequenceModel":
    """Load the model of a recipe: as much as its layer needs, or the whole with its outputs.

    ``layers`` stand in for the recipe's own.

    Raises
    ------
    ValueError
        If the recipe names none, or the layer is not one of the model's.
    """
    from saers.models import load

    section = recipe.model
    if section is None:
        raise ValueError("the recipe has no [model]: activations alone have no outputs")
    return load(
        section.source,
        layer=None if whole else (layers or section.layer),
        adapter=section.adapter,
        options=section.options,
        weights=section.weights or None,
        device=recipe.capture.device,
    )


def outside_files(sections: Sequence[str], recipe: Recipe) -> Iterator[Path]:
    """Name the files outside the run directory that sections of a recipe point to."""
    named = {
        "model": [
            recipe.model.source.rpartition(":")[0] or recipe.model.source,
            recipe.model.weights,
        ]
        if recipe.model
        else [],
        "genome": [recipe.genome.fasta, recipe.genome.blacklist],
        "windows": [recipe.windows.bed],
        "capture": [recipe.capture.activations],
        "train": [str(recipe.train.get("pretrained", ""))],
        "motifs": [recipe.motifs.control],
        "match": recipe.match.databases,
        "annotate": [*recipe.annotate.bed.values(), recipe.annotate.repeatmasker],
    }
    for section in sections:
        for text in named.get(section, []):
            if text and Path(text).exists():
                yield Path(text)


def check_train_options(options: dict[str, Any]) -> None:
    """Require that [train] holds fields of TrainConfig, before anything runs."""
    from saers.sae.config import TrainConfig

    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for key in options:
        if key not in (*known, "preset", "pretrained"):
            raise ValueError(f"train.{key}: {unknown_key(key, [*known, 'preset', 'pretrained'])}")
    if "seed" in options:
        raise ValueError("train.seed: the seed of a run is the recipe's, at its top")
    train_config(options, channels=1_000_000, seed=0)


def train_config(options: dict[str, Any], *, channels: int, seed: int) -> "TrainConfig":
    """Make the trainer's settings from [train]."""
    from saers.sae.config import TrainConfig

    fields = {k: v for k, v in options.items() if k not in ("preset", "pretrained")}
    if "preset" in options:
        return TrainConfig.preset(options["preset"], channels, seed=seed, **fields)
    return TrainConfig(seed=seed, **fields)

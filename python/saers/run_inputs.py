"""What the questions ask of a finished run: its whole model, its autoencoder, its windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from saers.context import load_model
from saers.genome import Genome
from saers.recipe import Recipe
from saers.splicing import Splice
from saers.store import RunStore
from saers.tracks import read_targets
from saers.windows import common_length, whole_windows

if TYPE_CHECKING:
    import torch

    from saers.models.base import SequenceModel
    from saers.sae.module import SAE

_BATCH_BASES = 2**19  # of one forward pass through a whole model


@dataclass(frozen=True)
class RunInputs:
    """A run directory, opened part by part."""

    store: RunStore
    recipe: Recipe

    @cached_property
    def model(self) -> "SequenceModel":
        """The whole model of the recipe, outputs and all."""
        return load_model(self.recipe, whole=True)

    @cached_property
    def splice(self) -> Splice:
        """The model with the autoencoder of its layer."""
        return Splice(self.model, self.sae, self.recipe.model.layer if self.recipe.model else "")

    @cached_property
    def sae(self) -> "SAE":
        """The autoencoder."""
        from saers.sae.module import SAE

        return SAE.load(self.store.path("sae"))

    @cached_property
    def mean(self) -> npt.NDArray[np.float32] | None:
        """The layer's mean, where the run has statistics."""
        if not self.store.has("stats"):
            return None
        return self.store.read_table("stats")["mean"].to_numpy().astype(np.float32)

    def windows(self, split: str, limit: int | None = None) -> pl.DataFrame:
        """Choose windows of a split; of too many, some that are spread over all.

        They are as the model sees them, whole also where a run reads parts of them.

        Raises
        ------
        ValueError
            If the split has none.
        """
        section = self.recipe.capture
        table = whole_windows(
            self.store.read_table("windows"), crop=section.crop, parts=section.parts
        )
        chosen = table if split == "all" else table.filter(pl.col("split") == split)
        if chosen.is_empty():
            raise ValueError(
                f"the run has no windows of split {split!r}: name holdout chromosomes in the "
                "recipe, or choose --split all"
            )
        if limit is None or limit >= chosen.height:
            return chosen
        return chosen[np.linspace(0, chosen.height - 1, limit).round().astype(int)]

    def sequences(self, windows: pl.DataFrame) -> Iterator["torch.Tensor"]:
        """Yield one-hot batches (b, length, 4) of windows of one length."""
        import torch

        genome = Genome(self.recipe.genome.fasta)
        size = self._batch_size(windows)
        for batch in windows.select("chrom", "start", "end").iter_slices(size):
            yield torch.from_numpy(genome.onehot(batch, np.float32, pad=True))

    def targets(self, path: Path, windows: pl.DataFrame) -> Iterator[npt.NDArray[np.float32]]:
        """Yield measured tracks (b, tracks, bins) of a file, batch by batch as `sequences`."""
        return read_targets(path, windows["window"].to_list(), self._batch_size(windows))

    def _batch_size(self, windows: pl.DataFrame) -> int:
        if hasattr(self.model, "places"):  # windows of other numbers of tokens have other bins
            return 1
        length = int(windows.select(pl.col("end") - pl.col("start")).item(0, 0))
        return self.recipe.capture.batch_size or min(16, max(1, _BATCH_BASES // length))

    def around(self, places: pl.DataFrame) -> Iterator["torch.Tensor"]:
        """Yield one-hot windows (1, length, 4) with places (chrom, start, end) in the middle.

        They are as long as the model's input, or the run's windows where it takes any.
        """
        import torch

        genome = Genome(self.recipe.genome.fasta)
        length = self.model.input_length or common_length(self.windows("all"))
        # The middle bases of both meet, of two the left one.
        first = (pl.col("start") + pl.col("end") - 1) // 2 - (length - 1) // 2
        windows = places.select("chrom", first.alias("start"), (first + length).alias("end"))
        for window in windows.iter_slices(1):
            yield torch.from_numpy(genome.onehot(window, np.float32, pad=True))

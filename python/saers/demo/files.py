"""Files of the demonstration: what the pipeline is given, and the truth that it never sees."""

from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
import torch

from saers.demo.simulate import Simulation, letters_of
from saers.motif import write_motifs
from saers.recipe import Recipe, load_recipe
from saers.sae.module import SAE
from saers.store import atomic_path

_LINE = 60  # letters in a line of FASTA


def write_truth(truth: Simulation, folder: Path) -> None:
    """Write planted motifs, their sites, rates and pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    write_motifs(truth.motifs, folder / "motifs.meme")
    for name in ("rates", "sites", "pairs"):
        getattr(truth, name).write_parquet(folder / f"{name}.parquet")


def write_input(truth: Simulation, folder: Path) -> None:
    """Write the genome as FASTA, enhancers and repeats as BED."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "genome.fa") as temporary, temporary.open("w") as file:
        for name in truth.chromosomes:
            text = letters_of(truth, name)
            lines = (text[start : start + _LINE] for start in range(0, len(text), _LINE))
            file.write(f">{name}\n" + "\n".join(lines) + "\n")
    for name in ("enhancers", "repeats"):
        table: pl.DataFrame = getattr(truth, name)
        table.write_csv(folder / f"{name}.bed", separator="\t", include_header=False)


def write_recipe(sections: dict[str, Any], path: Path) -> Recipe:
    """Write a recipe and read it back, checked.

    Parameters
    ----------
    sections
        Of the recipe, as TOML has them; paths relative to the folder of the recipe.
    path
        Where to.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(tomli_w.dumps(sections))
    return load_recipe(path)


def channels_as_sae(means: list[float]) -> SAE:
    """Make an autoencoder of the raw channels: a unit for either side of each one's mean.

    Through it the pipeline treats channels as it treats features. Unit ``c`` is channel ``c``
    above its mean, unit ``channels + c`` the same channel below.

    Examples
    --------
    >>> sae = channels_as_sae([1.0, 0.0])
    >>> codes = sae.encode(torch.tensor([[3.0, -5.0]]))
    >>> sorted(zip(codes.indices[0].tolist(), codes.values[0].tolist()))[::3]
    [(0, 2.0), (3, 5.0)]
    """
    count = len(means)
    sae = SAE(count, 2 * count, k=2 * count)
    signs = torch.cat([torch.eye(count), -torch.eye(count)])
    with torch.no_grad():
        sae.encoder.copy_(signs)
        sae.W_dec.copy_(signs)
        sae.b_dec.copy_(torch.tensor(means))
    return sae

"""A run that is small enough for a test: a network that knows one motif, and its genome."""

from pathlib import Path

import numpy as np

MOTIF = "TGACTCATGC"

MODEL = '''
import torch

MOTIF = {motif!r}


def build(extra=6):
    """One convolution: a scanner of the motif on each strand, and a few random ones."""
    torch.manual_seed(5)
    conv = torch.nn.Conv1d(4, 2 + extra, 21, padding=10)
    columns = torch.tensor(["ACGT".index(base) for base in MOTIF])
    scanner = torch.zeros(4, 21)
    scanner[:, 5 : 5 + len(MOTIF)] = torch.nn.functional.one_hot(columns, 4).T - 0.3
    with torch.no_grad():
        conv.weight[0] = scanner
        conv.weight[1] = scanner.flip(0, 1)
        conv.weight[2:] *= 0.5
        conv.bias[:2] = -4.0
        conv.bias[2:] = 0.0
    return torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.Conv1d(2 + extra, 3, 1))
'''

RECIPE = """
seed = 3

[model]
source = "model.py:build"
options = {{ extra = 6 }}
layer = "1"

[genome]
fasta = "genome.fa"

[windows]
length = 1000
holdout = ["chr2"]

[train]
expansion = 2
k = 3
steps = {steps}
batch_size = 512
buffer_tokens = 8192
log_every = 20
checkpoint_every = 20

[encode]
per_feature = 300

[seqlets]
min_nonzero = 50
min_above_half = 10

[motifs]
count = 1
max_sequences = 300

[annotate.bed]
sites = "sites.bed"

[annotate]
n_controls = 0
"""


def write_inputs(folder: Path, *, steps: int = 120, seed: int = 11) -> Path:
    """Write genome, sites, model and recipe into a folder; return the recipe."""
    rng = np.random.default_rng(seed)
    records, sites = [], []
    for chrom, length in (("chr1", 60_000), ("chr2", 20_000)):
        bases = rng.choice(list("ACGT"), size=length)
        bases[500:700] = "N"
        for start in rng.choice(
            np.arange(1000, length - 1000, 40), size=length // 200, replace=False
        ):
            bases[start : start + len(MOTIF)] = list(MOTIF)
            sites.append(f"{chrom}\t{start}\t{start + len(MOTIF)}\tplanted")
        sequence = "".join(bases)
        lines = [sequence[i : i + 60] for i in range(0, length, 60)]
        records.append(f">{chrom}\n" + "\n".join(lines))
    (folder / "genome.fa").write_text("\n".join(records) + "\n")
    (folder / "sites.bed").write_text("\n".join(sites) + "\n")
    (folder / "model.py").write_text(MODEL.format(motif=MOTIF))
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(steps=steps))
    return recipe

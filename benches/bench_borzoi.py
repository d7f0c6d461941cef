"""Borzoi at full size: random weights, one window of 524,288 bp, two threads

CPU seconds of both threads, each pass once. Attention is not zero and norms are not the identity,
as in trained weights; times do not depend on their values.
"""

import dataclasses
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr

from benches.harness import Row, Timing, alternate, once, scaled
from saers import Genome, ModelActivations, write_cache
from saers.faithfulness import measure
from saers.models.borzoi import Borzoi, BorzoiConfig, BorzoiModel, load
from saers.models.borzoi.model import LENGTH
from saers.models.borzoi.weights import write
from saers.perturbation import effects
from saers.sae.module import SAE
from saers.screening import screen
from saers.splicing import Splice
from saers.windows import tile

LAYER = "conv1d_1"
SIZE = f"{LENGTH:,} bp"
NOTHING = Timing(float("nan"), float("nan"))
ABLATED, MEASURED = 100, 2
RANKED, SHORT = 20, 65_536


def run():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with tempfile.TemporaryDirectory(dir=os.environ.get("SAERS_BENCH_DIR")) as folder:
            weights = Path(folder) / "borzoi"
            write(random_weights(), {"bins_to_return": 6144}, weights)
            theirs = yield from against_peer(weights, Path(folder))
            yield from questions(load(weights), theirs)
    finally:
        torch.set_num_threads(threads)


def random_weights(seed=0):
    """Weights under which every part of the network counts."""
    generator = torch.Generator().manual_seed(seed)
    state = Borzoi(BorzoiConfig()).state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return state


def sequence(seed=0):
    letters = np.random.default_rng(seed).integers(0, 4, (1, LENGTH))
    return torch.eye(4)[torch.from_numpy(letters)]


def peer_of(weights):
    from borzoi_pytorch import Borzoi as Peer

    return Peer.from_pretrained(str(weights)).eval()


def hooked_to_file(peer, onehot, path):
    """Run the whole model, keep a layer by a hook, write it in half precision."""
    kept = []
    hook = peer.res_tower[0].register_forward_hook(lambda *args: kept.append(args[2]))
    peer(onehot.mT)
    hook.remove()
    store(kept[0].mT, path)


def store(values, path):
    with h5py.File(path, "w") as file:
        file["activations"] = values.numpy().astype(np.float16)


def built(weights):
    """Build the whole network of borzoi-pytorch and fill it, as its constructor does."""
    from borzoi_pytorch import Borzoi as Peer
    from borzoi_pytorch.config_borzoi import BorzoiConfig as PeerConfig

    peer = Peer(PeerConfig())
    peer.load_state_dict(load_file(weights / "model.safetensors"))


def against_peer(weights, folder):
    """Load, capture and store beside borzoi-pytorch; return what its forward pass takes."""
    load_part = functools.partial(load, weights, layer=LAYER)
    jobs = [load_part, lambda: built(weights), lambda: peer_of(weights)]
    part, whole, mapped = alternate(jobs)
    job, size = "load up to conv1d_1", "6.4 of 744 MB"
    yield Row(job, size, part, "borzoi-pytorch, build and load", whole, 10)
    note = "the peer maps the file and reads it when it is used"
    yield Row(job, size, part, "borzoi-pytorch, from_pretrained", mapped, note=note)
    captured, stored, full, hooked = passes(load_part(), peer_of(weights), folder)
    yield Row("conv1d_1", SIZE, captured, "borzoi-pytorch, full forward", full, 5)
    job = "conv1d_1, float16 to HDF5"
    yield Row(job, SIZE, stored, "borzoi-pytorch, hook, to HDF5", hooked, 6)
    yield memory(weights, folder)
    return full


def passes(ours, peer, folder):
    """Time each once."""
    onehot = sequence()
    source = window_of(ours, fasta(onehot, folder))
    with torch.no_grad():
        ours.capture(onehot, LAYER)
        return (
            once(lambda: ours.capture(onehot, LAYER)),
            once(lambda: write_cache(source, folder / "ours.h5", resume=False)),
            once(lambda: peer(onehot.mT)),
            once(lambda: hooked_to_file(peer, onehot, folder / "theirs.h5")),
        )


def fasta(onehot, folder):
    """Write a sequence as a genome of one chromosome."""
    path = folder / "genome.fa"
    path.write_text(">chr1\n" + "".join("ACGT"[i] for i in onehot[0].argmax(dim=1)) + "\n")
    return path


def window_of(model, path):
    genome = Genome(path)
    return ModelActivations(model, LAYER, genome, tile(genome, LENGTH))


MEASURE = """
import sys
from pathlib import Path
import torch

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

torch.set_num_threads(2)
before = peak()
from saers import Genome, ModelActivations, write_cache
from saers.models.borzoi import load
from saers.windows import tile

model, genome = load(sys.argv[1], layer="conv1d_1"), Genome(sys.argv[2])
windows = tile(genome, model.input_length)
write_cache(ModelActivations(model, "conv1d_1", genome, windows), sys.argv[3])
print(before, peak())
"""


def memory(weights, folder):
    paths = weights, fasta(sequence(), folder), folder / "measured.h5"
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    before, after = (int(word) / 1024**2 for word in found)
    reached = "reached" if after <= 1.2 else "missed"
    note = f"{after:.2f} GB, {before:.2f} of them PyTorch; ≤ 1.2 GB {reached}"
    job = "peak memory of that, loading and writing included"
    return Row(job, SIZE, NOTHING, "–", NOTHING, note=note)


def questions(model: BorzoiModel, theirs: Timing):
    """Splice, ablate and screen; baselines are full forwards, saers' own and the peer's."""
    sae = SAE(608, 2432, k=30)
    torch.nn.init.normal_(sae.encoder, std=608**-0.5)
    onehot = sequence(1)
    # Weights at random fire a few latents everywhere and most nowhere: those that fire are asked.
    rows = model.capture(onehot, LAYER)[0]
    sae.W_dec.data.copy_(0.01 * sae.encoder)
    sae.b_dec.data.copy_(rows.mean(dim=0))
    firing = torch.bincount(sae.encode(rows[:: len(rows) // 4096]).indices.flatten())
    features = firing.argsort(descending=True).tolist()
    full = once(lambda: model(onehot))
    spliced = once(lambda: splice(model, sae, onehot))
    job = "faithfulness: original and spliced"
    two = "two full forwards of borzoi-pytorch"
    yield Row(job, SIZE, spliced, two, scaled(theirs, 2), 1 / 0.95)
    note = "1.82 forwards and 0.16 of one for the autoencoder by operations"
    yield Row(job, SIZE, spliced, "two full forwards of saers", scaled(full, 2), 1 / 0.95, note)
    few, many = (
        once(functools.partial(ablate, model, sae, onehot, features[:n])) for n in (1, 1 + MEASURED)
    )
    each = Timing(*((b - a) / MEASURED for a, b in zip(few, many, strict=True)))
    all_ = Timing(*(a + (ABLATED - 1) * b for a, b in zip(few, each, strict=True)))
    note = f"from 1 and {1 + MEASURED} features; peer from one"
    job = f"ablate {ABLATED} features"
    for name, forward in (("borzoi-pytorch", theirs), ("saers", full)):
        forwards = f"{ABLATED} full forwards of {name}"
        yield Row(job, SIZE, all_, forwards, scaled(forward, ABLATED), 1 / 0.85, note)
    screened = once(lambda: screen(Splice(model, sae, LAYER), [onehot], tracks=range(100)))
    note = f"rank correlation with ablation {agreement(model, sae, features[:RANKED]):.2f}"
    note += f", {RANKED} features, {SHORT:,} bp"
    job, four = "gradient screen of 2,432 features", "four full forwards of saers"
    yield Row(job, SIZE, screened, four, scaled(full, 4), 1, note)


def agreement(model, sae, features):
    """Rank correlation of the screen with exact ablation, over a shorter input."""
    with torch.device("meta"):
        network = Borzoi(dataclasses.replace(model.config, bins=None))
    network.load_state_dict(model.module.state_dict(), assign=True)
    short = BorzoiModel(network.requires_grad_(requires_grad=False), input_length=SHORT)
    onehot = sequence(2)[:, :SHORT]
    estimated = screen(Splice(short, sae, LAYER), [onehot])[features]
    table = ablate(short, sae, onehot, features)
    exact = table.group_by("feature").agg(pl.col("effect").mean())
    found = dict(exact.iter_rows())
    return spearmanr(estimated, [found[feature] for feature in features]).statistic


def ablate(model, sae, onehot, features):
    return effects(Splice(model, sae, LAYER), [onehot], features, n_bootstrap=0)


def splice(model, sae, onehot):
    """Original and spliced outputs, with the sums behind the table."""
    return measure(Splice(model, sae, LAYER), [onehot], n_bootstrap=0, zero=False)

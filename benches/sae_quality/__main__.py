"""Train saers and its peers on planted dictionaries; goes on where it was stopped.

python -m benches.sae_quality [--seeds 3] [--steps 5000] [--only NAME ...]

Every finished run is one entry of benches/results/sae_quality.json, which `python -m benches`
lays out as a table.
"""

import argparse
import functools
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benches.sae_quality import peers
from benches.sae_quality.report import RESULTS
from benches.sae_quality.world import LATENTS, Score, World, make_world, score
from saers.sae.agreement import choose_k
from saers.sae.buffer import Feed
from saers.sae.config import TrainConfig
from saers.sae.module import SAE
from saers.sae.normalise import fit, measure
from saers.sae.sources import ArrayTokens
from saers.sae.training import train_sae
from saers.store import atomic_path

BATCH = 1024
KS = (4, 11, 30)
BATCH_K = 2  # of the k of an informative position, times the 15 % of them, rounded


def main() -> None:
    """Run what is not yet there."""
    parser = argparse.ArgumentParser(prog="python -m benches.sae_quality", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--only", nargs="*", default=None)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers
    every = [(seed, *run) for seed in range(wanted.seeds) for run in runs(seed, wanted.steps)]
    # Those that choose k by itself take the longest: last.
    for seed, name, run in sorted(every, key=lambda found: "choose" in found[1]):
        key = f"{name}, seed {seed}, {wanted.steps} steps"
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        if key in known or (wanted.only and name not in wanted.only):
            continue
        began = time.process_time()
        found = run()
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        known[key] = found | {"cpu_seconds": round(time.process_time() - began, 1)}
        RESULTS.parent.mkdir(exist_ok=True)
        with atomic_path(RESULTS) as file:
            file.write_text(json.dumps(known, indent=1) + "\n")
        print(key, known[key], file=sys.stderr, flush=True)


@functools.lru_cache(maxsize=1)
def _world(seed: int) -> World:
    return make_world(seed)


def runs(seed: int, steps: int) -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
    """Name every run of a seed."""
    world = functools.partial(_world, seed)

    def ours(**changes: object) -> dict[str, object]:
        made = train_sae(world().train, settings(seed, steps, **changes)).sae
        return use_saers(world(), made)._asdict()

    def chosen() -> dict[str, object]:
        choice = choose_k(world().train, settings(seed, steps, k=1), KS)
        table = [
            {key: row[key] for key in ("k", "fvu", "shared", "matched")} for row in choice.table
        ]
        first = use_saers(world(), choice.results[0].sae)._asdict()
        return {"k": choice.k, "table": table, **first}

    def other(name: str) -> Callable[[], dict[str, object]]:
        return lambda: use_peer(name, world(), steps, seed)

    yield "saers topk, k 11", lambda: ours(k=11)
    yield "saers batchtopk", lambda: ours(k=BATCH_K, architecture="batchtopk")
    for name in peers.PEERS:
        yield name, other(name)
    yield "saers topk, k by --choose-k", chosen


def settings(seed: int, steps: int, **changes: object) -> TrainConfig:
    """Settings of every run of saers; the seed of the weights is not the world's."""
    plain = {
        "n_latents": LATENTS,
        "steps": steps,
        "batch_size": BATCH,
        "learning_rate": peers.RATE,
        "warmup": peers.WARMUP,
        "dead_window": peers.DEAD_AFTER,
        "holdout": 0.05,
        "seed": seed,
    }
    return TrainConfig(**(plain | changes))


@torch.no_grad()
def use_saers(world: World, sae: SAE) -> Score:
    """Score an autoencoder of saers."""
    found = sae.encode(world.test)
    codes = torch.zeros(len(world.test), sae.latents).scatter_add(1, found.indices, found.values)
    return score(world, codes, sae.decode(found), sae.W_dec)


def use_peer(name: str, world: World, steps: int, seed: int) -> dict[str, object]:
    """Train a peer on the batches that saers sees, at the k of the truth, and score it."""
    config = settings(seed, steps)
    train = world.train[: -int(len(world.train) * config.holdout)]
    feed = Feed(ArrayTokens(train), BATCH, seed=config.stream_seed, wanted=steps)
    normaliser = fit("center_rms", measure(feed.look()))

    def batches() -> Iterator[Tensor]:
        for _ in range(steps):
            yield normaliser.apply(feed.next_batch())

    use, rows = peers.PEERS[name](batches(), 11, steps, seed)
    feed.close()
    with torch.no_grad():
        codes, decoded = use(normaliser.apply(world.test))
        found = score(world, codes, decoded * normaliser.scale + normaliser.centre, rows)
    return found._asdict()


if __name__ == "__main__":
    main()

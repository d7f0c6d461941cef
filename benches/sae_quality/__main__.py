"""Train saers and its peers on planted dictionaries; goes on where it was stopped.

python -m benches.sae_quality [--seeds 3] [--steps 5000] [--only NAME ...]
python -m benches.sae_quality --ablate [--steps 5000] [--only NAME ...]

Every finished run is one entry of benches/results/sae_quality.json, which `python -m benches`
lays out as a table.
"""

import argparse
import functools
import itertools
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benches.sae_quality import peers
from benches.sae_quality.report import RESULTS
from benches.sae_quality.world import CHANNELS, LATENTS, Score, World, make_world, score
from saers.sae.agreement import choose_k
from saers.sae.buffer import Feed
from saers.sae.config import TrainConfig
from saers.sae.module import SAE
from saers.sae.normalise import fit, measure
from saers.sae.sources import ArrayTokens
from saers.sae.training import train_sae
from saers.store import atomic_path

BATCH = 1024
K = 11  # features of an informative position
KS = (4, 11, 30)
RATE = TrainConfig(n_latents=LATENTS).resolve(CHANNELS).learning_rate
LOWER_RATE = 6e-3  # peers are run at both
DEVELOPMENT = (500, 501, 502)  # worlds that are not reported on: the defaults were chosen on them
THINNED = "a tenth of the background"
SHARE = 0.15  # of informative positions: what batchtopk's mean over all positions is scaled by


def main() -> None:
    """Run what is not yet there."""
    parser = argparse.ArgumentParser(prog="python -m benches.sae_quality", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--ablate", action="store_true", help="what each default is worth")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers
    every = [(seed, *run) for seed in range(wanted.seeds) for run in runs(seed, wanted.steps)]
    if wanted.ablate:
        every = list(ablations(wanted.steps))
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

    def chosen(ks: Sequence[float], **changes: object) -> dict[str, object]:
        choice = choose_k(world().train, settings(seed, steps, k=ks[0], **changes), ks)
        table = [
            {key: row[key] for key in ("k", "fvu", "shared", "matched")} for row in choice.table
        ]
        first = use_saers(world(), choice.results[0].sae)._asdict()
        return {"k": choice.k, "table": table, **first}

    def other(name: str, rate: float) -> Callable[[], dict[str, object]]:
        return lambda: use_peer(name, world(), steps, seed, rate)

    yield "saers topk", functools.partial(_train, seed, steps, {"k": K})
    of_batch = {"k": K * SHARE, "architecture": "batchtopk"}
    yield "saers batchtopk", functools.partial(_train, seed, steps, of_batch)
    thinned = {"k": K, "background": 0.1}
    yield f"saers topk, {THINNED}", functools.partial(_train, seed, steps, thinned)
    for name, rate in itertools.product(peers.PEERS, (LOWER_RATE, RATE)):
        yield f"{name}, learning rate {rate:g}", other(name, rate)
    yield "saers topk, k by --choose-k", lambda: chosen(KS)
    means = [k * SHARE for k in KS]
    yield (
        "saers batchtopk, k by --choose-k",
        lambda: chosen(means, architecture="batchtopk"),
    )


def ablations(steps: int) -> Iterator[tuple[int, str, Callable[[], dict[str, object]]]]:
    """Name runs that lack one of what the defaults have, or all of it; the first on all worlds."""
    slow: dict[str, object] = {"learning_rate": RATE / 6}
    dense: dict[str, object] = {"aux_k": CHANNELS // 2, "aux_coefficient": 1 / 32}
    changed = {
        "the defaults": {},
        "two thirds of the learning rate": {"learning_rate": 2 / 3 * RATE},
        "a sixth of the learning rate": slow,
        "AuxK of half the channels": dense,
        "a sixth of the rate and AuxK of half the channels": slow | dense,
        THINNED: {"background": 0.1},
    }
    kinds: dict[str, dict[str, object]] = {
        "batchtopk": {"k": K * SHARE, "architecture": "batchtopk"},
        "topk": {"k": K},
    }
    for (kind, plain), (name, change) in itertools.product(kinds.items(), changed.items()):
        if kind == "batchtopk" and name == THINNED:
            change = change | {"k": K * 0.6}  # informative positions are four times as many of it
        for seed in DEVELOPMENT if name in list(changed)[:2] else DEVELOPMENT[:1]:
            yield seed, f"{kind}, {name}", functools.partial(_train, seed, steps, plain | change)


def _train(seed: int, steps: int, changes: dict[str, object]) -> dict[str, object]:
    made = train_sae(_world(seed).train, settings(seed, steps, **changes)).sae
    return use_saers(_world(seed), made)._asdict()


def settings(seed: int, steps: int, **changes: object) -> TrainConfig:
    """Saers' defaults, for the sizes of the world; the seed of the weights is not the world's."""
    plain = {
        "n_latents": LATENTS,
        "steps": steps,
        "batch_size": BATCH,
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


def use_peer(name: str, world: World, steps: int, seed: int, rate: float) -> dict[str, object]:
    """Train a peer on the batches that saers sees, at the k of the truth, and score it."""
    config = settings(seed, steps)
    train = world.train[: -int(len(world.train) * config.holdout)]
    feed = Feed(ArrayTokens(train), BATCH, seed=config.stream_seed, wanted=steps)
    normaliser = fit("center_rms", measure(feed.look()))

    def batches() -> Iterator[Tensor]:
        for _ in range(steps):
            yield normaliser.apply(feed.next_batch())

    use, rows = peers.PEERS[name](batches(), K, steps, seed, rate)
    feed.close()
    with torch.no_grad():
        codes, decoded = use(normaliser.apply(world.test))
        found = score(world, codes, decoded * normaliser.scale + normaliser.centre, rows)
    return found._asdict()


if __name__ == "__main__":
    main()

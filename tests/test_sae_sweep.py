"""Several autoencoders over one stream, and the choice of k."""

import json
import sys
import threading
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers.sae.agreement import agreement, choose_k
from saers.sae.config import TrainConfig
from saers.sae.member import flat
from saers.sae.sweep import grid
from saers.sae.training import train_sae, train_sweep
from tests.test_sae_training import KillAt, Killed, Windows, planted, rows, small


def unlike():
    """Settings that differ in whatever a sweep may differ in."""
    return [
        small(),
        small(seed=4, k=2),
        small(n_latents=31, architecture="batchtopk", steps=25),
        small(normalize="whiten", matryoshka=(0.25,), ema=0.9),
        small(learning_rate=1e-2, layer_norm=True, normalize="none", aux_coefficient=0.0),
    ]


def test_each_of_a_sweep_is_what_it_would_be_alone():
    source = Windows(9)
    for config, result in zip(unlike(), train_sweep(source, unlike()), strict=True):
        alone = train_sae(source, TrainConfig(**(config.as_dict() | {"order_seed": 0})))
        for name, weight in alone.sae.state_dict().items():
            assert torch.equal(weight, result.sae.state_dict()[name]), name
        assert alone.metrics["fvu"] == result.metrics["fvu"]


class Counting(Windows):
    """Counts how often a window is read."""

    read = 0

    def blocks(self, *, windows=None):
        for block in super().blocks(windows=windows):
            self.read += 1
            yield block


def test_a_sweep_reads_the_source_once():
    counts = []
    for configs in ([small()], unlike()):
        source = Counting(9, holdout=[8])
        train_sweep(source, [TrainConfig(**(c.as_dict() | {"holdout": 0.0})) for c in configs])
        counts.append(source.read - len(configs))  # each is measured on the one held out
    assert counts[0] == counts[1]


@pytest.mark.parametrize("stop", [4, 11, 26])
def test_a_sweep_that_was_stopped_goes_on(tmp_path, stop):
    configs = [small(checkpoint_every=every, seed=every) for every in (4, 7)]
    whole = train_sweep(Windows(9), configs)
    folders = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(Killed):
        train_sweep(Windows(9), configs, folders=folders, progress=KillAt(stop))
    resumed = train_sweep(Windows(9), configs, folders=folders)
    for one, other, folder in zip(whole, resumed, folders, strict=True):
        assert torch.equal(one.sae.W_dec, other.sae.W_dec)
        lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [*range(5, 41, 5), 40]


def test_settings_of_the_stream_must_be_the_same():
    with pytest.raises(ValueError, match="batch_size must be the same for all"):
        train_sweep(rows(), [small(), small(batch_size=16)])
    with pytest.raises(ValueError, match="configs must hold at least one"):
        train_sweep(rows(), [])
    with pytest.raises(ValueError, match="folders must be 1, one for each, got 2"):
        train_sweep(rows(), [small()], folders=["a", "b"])


def test_a_grid_has_each_combination():
    made = grid(small(), {"k": [1, 2], "architecture": ["topk", "batchtopk"]})
    assert [(c.k, c.architecture) for c in made.values()] == [
        (1, "topk"),
        (1, "batchtopk"),
        (2, "topk"),
        (2, "batchtopk"),
    ]


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=30)
def test_agreement_is_symmetric_and_at_most_1(seed, n, m):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(count, 5, generator=generator) for count in (n, m))
    one, other = agreement(first, second), agreement(second, first)
    assert one == pytest.approx(other)
    assert max(one.matched, one.mean_max_cosine) <= 1 + 1e-9
    if n == m:  # a matching of all rows gives none of them more than its nearest
        assert one.matched <= one.mean_max_cosine + 1e-9


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_order_and_length_of_rows_do_not_matter(seed):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(7, 5, generator=generator)
    again = first[torch.randperm(7, generator=generator)] * 3
    assert agreement(first, again) == pytest.approx((1.0, 1.0, 7))


def test_the_matching_is_the_best_of_all():
    import itertools

    generator = torch.Generator().manual_seed(2)
    first, second = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    unit = [torch.nn.functional.normalize(part.double(), dim=1) for part in (first, second)]
    cosine = unit[0] @ unit[1].T
    best = max(
        float(cosine[range(4), list(order)].sum()) for order in itertools.permutations(range(4))
    )
    assert agreement(first, second).matched == pytest.approx(best / 4)


def test_nothing_agrees_with_nothing():
    assert agreement(torch.zeros(0, 3), torch.eye(3)) == (0.0, 0.0, 0)


@pytest.mark.slow
def test_the_k_that_seeds_agree_on_is_near_the_truth():
    _, x = planted(1234, tokens=60_000)
    config = TrainConfig(n_latents=64, steps=600, batch_size=512, learning_rate=1e-2, warmup=50)
    choice = choose_k(x, config, [1, 5, 20])
    assert choice.k == 5
    errors = [row["fvu"] for row in choice.table]
    assert errors == sorted(errors, reverse=True)  # the error alone would have taken 20
    assert len(choice.results) == 2


def test_a_source_that_is_gone_once_read_cannot_be_chosen_on():
    with pytest.raises(ValueError, match="source must be one that can be read twice"):
        choose_k(iter([rows()]), small(), [1])
    with pytest.raises(ValueError, match="at least one k and 2 seeds"):
        choose_k(rows(), small(), [])


def test_background_is_thinned_in_training_and_not_in_the_evaluation():
    generator = torch.Generator().manual_seed(0)
    near = 0.01 * torch.randn(5000, 6, generator=generator)
    far = torch.randn(5000, 6, generator=generator) * (torch.arange(5000) % 10 == 0).unsqueeze(1)
    x = near + 10 * far
    seen = {}
    for share in (1.0, 0.1):
        config = small(background=share, steps=30, batch_size=64)
        result = train_sae(x, config)
        seen[share] = result.metrics
    assert seen[1.0]["tokens"] == seen[0.1]["tokens"] == 500
    assert seen[1.0]["gamma"] == seen[0.1]["gamma"]
    assert seen[0.1]["fvu_informative"] < seen[1.0]["fvu_informative"]


def test_a_thinned_run_that_was_stopped_goes_on(tmp_path):
    config = small(background=0.3, checkpoint_every=6)
    whole = train_sae(Windows(9), config)
    with pytest.raises(Killed):
        train_sae(Windows(9), config, state_dir=tmp_path, progress=KillAt(15))
    assert torch.equal(whole.sae.W_dec, train_sae(Windows(9), config, state_dir=tmp_path).sae.W_dec)


def test_held_out_positions_are_measured_during_training(tmp_path):
    path = tmp_path / "metrics.jsonl"
    train_sae(rows(), small(eval_every=15), metrics_path=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    measured = [line for line in lines if "holdout" in line]
    assert [line["step"] for line in measured] == [15, 30]
    wanted = {"fvu", "fvu_informative", "fvu_background", "l0", "l0_background", "dead_share"}
    assert (wanted | {"log10_density", "alignment_median", "tokens"}) <= set(measured[0]["holdout"])


def test_no_thread_is_left_behind():
    before = threading.active_count()
    train_sae(Windows(9), small())
    with pytest.raises(Killed):
        train_sae(Windows(9), small(), progress=KillAt(3))
    for thread in threading.enumerate():
        if thread.name.startswith("saers-"):
            thread.join(10)
    assert threading.active_count() <= before


def test_too_little_memory_says_what_to_lower():
    class Hungry(Windows):
        def blocks(self, *, windows=None):
            raise np._core._exceptions._ArrayMemoryError((10, 10), np.dtype(np.float32))
            yield

    message = r"lower batch_size \(it is 32\), n_latents .* 20 latents"
    with pytest.raises(MemoryError, match=message):
        train_sae(Hungry(3), small())


def test_tensorboard_gets_the_metrics(tmp_path):
    pytest.importorskip("tensorboard")
    train_sae(rows(), small(), metrics_path=tmp_path / "m.jsonl", log_to="tensorboard")
    assert list(tmp_path.glob("events.out.tfevents.*"))


class FakeRun:
    """What the adapter uses of a run of wandb, with the rules that wandb has for it."""

    def __init__(self, **settings):
        self.settings, self.logged, self.finished = settings, [], False

    def log(self, numbers, *, step):
        assert not self.finished
        assert not self.logged or step >= self.logged[-1][0]  # wandb drops earlier steps
        self.logged.append((step, numbers))

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A module of that name, which keeps the runs that were begun."""
    module = types.ModuleType("wandb")
    module.runs = []

    def init(**settings):
        module.runs.append(FakeRun(**settings))
        return module.runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_what_the_metrics_file_has(tmp_path, wandb):
    train_sae(rows(), small(), metrics_path=tmp_path / "one" / "m.jsonl", log_to="wandb")
    (run,) = wandb.runs
    assert run.settings["project"] == "saers"
    assert (run.settings["dir"], run.settings["name"]) == (str(tmp_path / "one"), "one")
    assert run.finished
    lines = [json.loads(x) for x in (tmp_path / "one" / "m.jsonl").read_text().splitlines()]
    assert run.logged == [(line.pop("step"), flat(line)) for line in lines]
    assert "evaluation/fvu" in run.logged[-1][1]


def test_each_of_a_sweep_is_a_run_of_wandb(tmp_path, wandb):
    configs = [small(), small(seed=4, k=2)]
    train_sweep(rows(), configs, folders=[tmp_path / "a", tmp_path / "b"], log_to="wandb")
    assert [run.settings["name"] for run in wandb.runs] == ["a", "b"]
    assert {run.settings["reinit"] for run in wandb.runs} == {"create_new"}
    assert wandb.runs[0].logged != wandb.runs[1].logged


def test_a_run_of_wandb_ends_when_the_training_fails(tmp_path, wandb):
    with pytest.raises(Killed):
        train_sae(rows(), small(), log_to="wandb", progress=KillAt(12))
    assert [run.finished for run in wandb.runs] == [True]


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="log_to wandb: install it with pip install wandb"):
        train_sae(rows(), small(), log_to="wandb")


def test_a_tracker_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="log_to must be one of tensorboard, wandb"):
        train_sae(rows(), small(), log_to="wandbb")

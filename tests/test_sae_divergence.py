"""Training that goes wrong ends, and keeps what was good."""

import pytest
import torch

from saers.sae import checkpoint
from saers.sae.config import TrainConfig
from saers.sae.training import TrainingDivergedError, train_sae
from tests.test_sae_training import KillAt, Killed, one_thread, rows, small

__all__ = ["one_thread"]  # a fixture that all tests use


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    # The input overflows float32 when it is squared: the loss is infinite, the input is not.
    x = rows()
    with pytest.raises(TrainingDivergedError, match="no checkpoint was asked for"):
        train_sae(x, small(learning_rate=1e30, clip=None, unit_decoder=False, warmup=0))
    config = small(learning_rate=1e30, clip=None, unit_decoder=False, warmup=39, log_every=1)
    with pytest.raises(TrainingDivergedError, match="last good checkpoint is of step"):
        train_sae(
            x,
            TrainConfig(**(config.as_dict() | {"checkpoint_every": 1})),
            state_dir=tmp_path,
        )
    kept = checkpoint.read(tmp_path)
    assert kept is not None
    assert torch.isfinite(kept.tensors["sae.W_dec"]).all()


class Worsening:
    """Positions of a few directions, and from a batch on noise that nothing explains."""

    def __init__(self, bad=()):
        self._bad = bad

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        ways = torch.eye(6)[:3]
        for number in range(80):
            x = torch.rand(32, 3, generator=generator) @ ways
            noise = 30 * torch.randn(32, 6, generator=generator)
            yield x + noise if number in self._bad else x


def worsening(**changes):
    """Settings under which each batch is a step, in order of the batches' pools."""
    plain = {"steps": 80, "buffer_tokens": 32, "log_every": 1, "checkpoint_every": 1, "k": 3}
    return small(**(plain | {"learning_rate": 0.02, "divergence_steps": 10} | changes))


def test_an_error_that_rises_and_stays_ends_the_run(tmp_path):
    told = (
        r"step 51: the error has stayed above 5 times its lowest \(an FVU of .*\) since step 41; "
        "the last good checkpoint is of step 40"
    )
    with pytest.raises(TrainingDivergedError, match=told):
        train_sae(Worsening(range(40, 80)), worsening(), state_dir=tmp_path / "bad")
    with pytest.raises(Killed):
        train_sae(Worsening(), worsening(), state_dir=tmp_path / "good", progress=KillAt(40))
    kept, good = (checkpoint.read(tmp_path / name) for name in ("bad", "good"))
    assert kept.facts.steps_done == good.facts.steps_done == 40
    for name, weight in good.tensors.items():
        assert torch.equal(kept.tensors[name], weight), name


def test_an_error_that_comes_down_again_ends_nothing(tmp_path):
    bad = range(40, 45)
    whole = train_sae(Worsening(bad), worsening())
    # A kill while the error is high goes on from before the rise, to the same bits.
    with pytest.raises(Killed):
        train_sae(Worsening(bad), worsening(), state_dir=tmp_path, progress=KillAt(44))
    assert checkpoint.read(tmp_path).facts.steps_done < 42
    resumed = train_sae(Worsening(bad), worsening(), state_dir=tmp_path)
    assert torch.equal(whole.sae.W_dec, resumed.sae.W_dec)


def test_a_resumed_run_knows_the_lowest_error_there_was(tmp_path):
    bad = range(40, 80)
    with pytest.raises(Killed):
        train_sae(Worsening(bad), worsening(), state_dir=tmp_path, progress=KillAt(39))
    with pytest.raises(TrainingDivergedError, match="has stayed above 5 times its lowest"):
        train_sae(Worsening(bad), worsening(), state_dir=tmp_path)


def test_without_a_factor_a_finite_error_ends_nothing():
    result = train_sae(Worsening(range(40, 80)), worsening(divergence_factor=None))
    assert result.metrics["steps"] == 80
    with pytest.raises(ValueError, match=r"divergence_factor must be above 1, got 1\.0"):
        small(divergence_factor=1.0)

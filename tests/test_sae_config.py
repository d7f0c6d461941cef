import dataclasses
import inspect
import json
import math

import pytest

from saers.sae import config as module
from saers.sae.config import TrainConfig


def test_the_learning_rate_follows_the_number_of_latents():
    rate = TrainConfig().resolve(608).learning_rate
    assert rate == pytest.approx(1.2e-3 / math.sqrt(2432 / 2**14))
    assert rate == pytest.approx(3.11e-3, rel=0.01)
    assert TrainConfig(n_latents=40).resolve(8).learning_rate == pytest.approx(9.6e-3)


@pytest.mark.parametrize("channels, k", [(608, 30), (736, 36), (896, 44), (1056, 52), (4, 1)])
def test_the_sae_borzoi_preset_keeps_five_percent_of_the_channels(channels, k):
    preset = TrainConfig.preset("sae-borzoi", channels)
    assert preset.k == k
    assert preset.resolve(channels).n_latents == 4 * channels


def test_the_sae_borzoi_preset_is_the_paper():
    preset = TrainConfig.preset("sae-borzoi", 608, steps=50).resolve(608)
    assert [preset.rate_at(step) for step in (0, 20, 49)] == [1e-5] * 3
    assert preset.normalize == "channel_max"
    assert preset.layer_norm
    assert preset.loss == "mse"
    assert preset.aux_coefficient == 0
    assert preset.clip is None
    assert not preset.tied_init
    assert not preset.unit_decoder


@pytest.mark.parametrize("steps, window", [(1, 20), (1000, 20_480), (100_000, 2_048_000)])
def test_the_dead_window_is_short_in_short_runs(steps, window):
    assert TrainConfig(steps=steps).resolve(64).dead_window == window


def test_the_learning_rate_rises_stays_and_falls():
    config = TrainConfig(steps=100, learning_rate=1.0, warmup=10).resolve(32)
    rates = [config.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[79] == rates[80] == 1.0
    assert rates[99] == pytest.approx(0.05)
    assert rates == sorted(rates[:10]) + [1.0] * 71 + sorted(rates[81:], reverse=True)


def test_narrow_layers_have_longer_buffers():
    assert TrainConfig().buffer(64) == 2_621_440
    assert TrainConfig(buffer_tokens=5000).buffer(64) == 5000
    assert TrainConfig(batch_size=10**6).buffer(608) == 10**6


def test_resolving_twice_changes_nothing():
    resolved = TrainConfig(k=None).resolve(64)
    assert resolved.resolve(64) == resolved


def test_whole_numbers_serve_as_numbers():
    assert TrainConfig(clip=1, learning_rate=1).clip == 1


def test_settings_survive_json():
    config = TrainConfig(k=None, n_latents=12, clip=None)
    assert TrainConfig(**json.loads(json.dumps(config.as_dict()))) == config


def test_every_setting_is_explained():
    lines = inspect.getsource(module).splitlines()
    for field in dataclasses.fields(TrainConfig):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"    {field.name}: "))
        assert lines[place + 1].startswith('    """'), field.name


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"architecture": "topkk"}, "did you mean 'topk'"),
        ({"normalize": "center-rms"}, "did you mean 'center_rms'"),
        ({"loss": "l1"}, "loss must be one of fvu, mse, got 'l1'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": -4}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"decay_fraction": 1.5}, "decay_fraction must lie in 0..1"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"buffer_tokens": 100}, "buffer_tokens must be at least batch_size"),
        ({"k": "30"}, "k must be a number, got '30'"),
        ({"k": 1.5}, "k must be a whole number of at least 1 with topk, got 1.5"),
        ({"k": 0}, "k must be a whole number of at least 1 with topk, got 0"),
        ({"k": math.nan, "architecture": "batchtopk"}, "k must be above 0, got nan"),
        ({"aux_k": 0}, "aux_k must be at least 1, got 0"),
        ({"steps": 1e3}, "steps must be a whole number, got 1000.0"),
        ({"steps": True}, "steps must be a whole number, got True"),
        ({"clip": "1"}, "clip must be a number, got '1'"),
        ({"tied_init": 1}, "tied_init must be true or false, got 1"),
        ({"normalize": None}, "normalize must be a word, got None"),
        ({"layer_norm": True}, "aux_coefficient must be 0 with layer_norm"),
    ],
)
def test_a_wrong_setting_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


def test_more_latents_kept_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.16, got 30"):
        TrainConfig().resolve(4)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset must be one of sae-borzoi"):
        TrainConfig.preset("borzoi", 608)


def test_a_rate_needs_a_resolved_configuration():
    with pytest.raises(ValueError, match="not resolved"):
        TrainConfig().rate_at(0)

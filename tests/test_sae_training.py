import json
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
import torch

from saers import schema
from saers.layer import ActivationBlock, LayerInfo
from saers.sae import checkpoint
from saers.sae.config import TrainConfig
from saers.sae.metrics import evaluate
from saers.sae.normalise import measure
from saers.sae.training import train_sae

SMALL = {"k": 3, "n_latents": 20, "steps": 40, "batch_size": 32, "log_every": 5}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices gain nothing from threads, and tests run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes):
    return TrainConfig(**(SMALL | changes))


def rows(count=600, channels=6, seed=0):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed)) + 2


def planted(seed, *, tokens=150_000, channels=32, features=48, gamma=5.0):
    """Sparse sums of unit directions on 15 % of positions, noise, and a large mean."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(
        torch.randn(features, channels, generator=generator), dim=1
    )
    rates = 6 * torch.logspace(-1.3, -2.3, features)
    informative = torch.rand(tokens, 1, generator=generator) < 0.15
    fires = (torch.rand(tokens, features, generator=generator) < rates) & informative
    strength = 1 + torch.rand(tokens, features, generator=generator)
    noise = 0.03 * torch.randn(tokens, channels, generator=generator)
    x = (fires * strength) @ directions + noise
    mean = torch.nn.functional.normalize(torch.randn(channels, generator=generator), dim=0)
    return directions, x + mean * gamma * x.std(dim=0).norm()


def recovered(directions, sae, x):
    """Share of the true directions that a live decoder row meets at a cosine above 0.9."""
    live = torch.from_numpy(evaluate(sae, x, max_tokens=20_000).density > 0)
    unit = torch.nn.functional.normalize(sae.W_dec[live], dim=1)
    return float(((directions @ unit.T).amax(dim=1) > 0.9).float().mean())


def test_a_planted_dictionary_is_recovered_and_centring_is_why():
    # Drawn with another seed than the weights: with the same, a random start is the dictionary.
    directions, x = planted(1234)
    config = TrainConfig(
        n_latents=96, k=5, steps=1200, batch_size=512, learning_rate=1e-2, warmup=50, seed=0
    )
    sae, metrics = train_sae(x, config)
    assert recovered(directions, sae, x) >= 0.9
    assert metrics["gamma"] == pytest.approx(5, rel=0.05)
    assert metrics["gamma_after"] < 1e-6
    assert metrics["fvu"] < 0.25
    changes = {"normalize": "none", "bias_init": False, "aux_coefficient": 0.0, "steps": 600}
    plain, raw = train_sae(x, TrainConfig(**(config.as_dict() | changes)))
    assert recovered(directions, plain, x) < 0.6
    assert raw["dead_share"] > metrics["dead_share"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, second = (train_sae(rows(), small()).sae.state_dict() for _ in range(2))
    other = train_sae(rows(), small(seed=1)).sae.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["W_dec"], other["W_dec"])


class Windows:
    """Random activations of a few windows; position 0 is not usable."""

    def __init__(self, n_windows, holdout=()):
        self.layer = LayerInfo("layer", 6, 1, 0, 0)
        self.n_positions = 40
        columns = {"window": range(n_windows), "chrom": "chr1", "start": 0, "end": 40}
        split = ["holdout" if w in holdout else "train" for w in range(n_windows)]
        table = pl.DataFrame(columns).with_columns(split=pl.Series(split))
        self.windows = schema.conform(table, schema.WINDOWS, table="windows")

    def blocks(self, *, windows=None):
        mask = np.arange(40) > 0
        for window in range(self.windows.height) if windows is None else windows:
            values = rows(40, seed=window).numpy()
            yield ActivationBlock(np.array([window]), values[None], mask[None])


class Killed(Exception):
    pass


class KillAt:
    """A progress that stops the run at a step, as a kill would: nothing is tidied up."""

    def __init__(self, step):
        self.left = step

    def start(self, description, total):
        pass

    def advance(self, steps=1):
        self.left -= steps
        if self.left <= 0:
            raise Killed

    def say(self, message):
        pass


def sources():
    return {
        "array": lambda: rows(),
        "windows": lambda: Windows(9),
        "batches": lambda: list(rows().split(50)),
    }


@pytest.mark.parametrize("kind", ["array", "windows", "batches"])
@pytest.mark.parametrize("stop", [3, 17, 31])
def test_a_run_that_was_stopped_ends_as_an_unbroken_one_to_the_bit(tmp_path, kind, stop):
    make = sources()[kind]
    config = small(buffer_tokens=120, buffer_windows=3, checkpoint_every=7, dead_window=200)
    whole = train_sae(make(), config, metrics_path=tmp_path / "whole.jsonl")
    places = {"state_dir": tmp_path / "state", "metrics_path": tmp_path / "broken.jsonl"}
    with pytest.raises(Killed):
        train_sae(make(), config, progress=KillAt(stop), **places)
    resumed = train_sae(make(), config, **places)
    for name, weight in whole.sae.state_dict().items():
        assert torch.equal(weight, resumed.sae.state_dict()[name]), name
    for metrics in (whole.metrics, resumed.metrics):
        del metrics["seconds"], metrics["waiting_share"]
    assert whole.metrics == resumed.metrics
    assert (tmp_path / "whole.jsonl").read_text() == (tmp_path / "broken.jsonl").read_text()


LONG_RUN = """
import sys, torch, saers
torch.set_num_threads(1)
config = saers.TrainConfig(k=3, n_latents=20, steps=10**6, batch_size=32, checkpoint_every=3)
saers.train_sae(torch.randn(600, 6), config, state_dir=sys.argv[1])
"""


def test_a_killed_process_leaves_a_checkpoint_that_can_be_read(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", LONG_RUN, str(tmp_path)])
    while not (tmp_path / checkpoint.STATE).exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.2)
    process.kill()
    process.wait()
    found = checkpoint.read(tmp_path)
    assert found.facts.steps_done % 3 == 0
    assert torch.isfinite(found.tensors["sae.W_dec"]).all()


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train_sae(rows(), small(), state_dir=tmp_path)
    again = train_sae(rows(), small(), state_dir=tmp_path, progress=KillAt(41))
    assert torch.equal(first.sae.W_dec, again.sae.W_dec)


@pytest.mark.parametrize(
    "config, source, message",
    [
        (small(steps=50), rows(), "run: steps was 40 and is 50. Remove"),
        (small(n_latents=21), rows(), "run: n_latents was 20 and is 21. Remove"),
        (small(), rows(700), r"source was .*\[540, 6\].* and is .*\[630, 6\]"),
        (small(), [rows()], "source was .*'array'.* and is .*'batches'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, config, source, message):
    train_sae(rows(), small(), state_dir=tmp_path)
    with pytest.raises(ValueError, match=message):
        train_sae(source, config, state_dir=tmp_path)


def test_how_often_is_logged_may_change_between_runs(tmp_path):
    train_sae(rows(), small(), state_dir=tmp_path)
    train_sae(rows(), small(log_every=1, checkpoint_every=2), state_dir=tmp_path)


def test_a_broken_checkpoint_is_a_format_error(tmp_path):
    (tmp_path / checkpoint.STATE).write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match=r"train_state\.safetensors: not a training state"):
        train_sae(rows(), small(), state_dir=tmp_path)


def test_the_metrics_file_has_a_line_every_few_steps_and_the_evaluation(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"
    _, metrics = train_sae(rows(), small(), metrics_path=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30, 35, 40, 40]
    assert lines[0]["tokens"] == 160
    assert {"loss", "fvu", "l0", "dead_share", "learning_rate", "gradient_norm"} <= set(lines[0])
    assert lines[-1]["evaluation"]["fvu"] == metrics["fvu"]


def test_windows_held_out_are_measured_and_not_trained_on():
    source = Windows(8, holdout=[6, 7])
    _, metrics = train_sae(source, small())
    assert metrics["split"] == "holdout"
    assert metrics["tokens"] == 78


def test_the_file_names_the_layer(tmp_path):
    sae, _ = train_sae(Windows(4), small())
    assert sae.metadata["hook_name"] == "layer"
    assert sae.metadata["stride"] == 1


def test_other_data_can_be_given_for_validation():
    _, metrics = train_sae(rows(), small(), validation=rows(77, seed=5))
    assert (metrics["split"], metrics["tokens"]) == ("holdout", 77)
    assert train_sae(rows(), small(holdout=0.0)).metrics["split"] == "train"


def test_statistics_given_set_the_map_of_the_input():
    moments = measure(rows())
    stats = pl.DataFrame(
        {
            "channel": np.arange(6),
            "max": moments.max * 2,
            "min": moments.min,
            "mean": moments.mean,
            "std": moments.std,
            "nonzero": np.full(6, 600),
            "count": np.full(6, 600),
            "nan": np.zeros(6),
        }
    )
    config = small(normalize="channel_max")
    measured, given = (train_sae(rows(), config, stats=table).sae for table in (None, stats))
    assert given.metadata["normaliser"]["scale"] == pytest.approx(
        [2 * scale for scale in measured.metadata["normaliser"]["scale"]]
    )


def test_an_iterator_trains_until_it_ends():
    said = []
    progress = KillAt(10**9)
    progress.say = said.append
    batches = (rows(64, seed=seed) for seed in range(10))
    _, metrics = train_sae(batches, small(buffer_tokens=64), progress=progress)
    assert metrics["steps"] == 20
    assert said == ["the source ended after 20 of 40 steps"]


def test_constant_channels_do_not_disturb():
    x = rows()
    x[:, 2] = 7.0
    for kind in ("center_rms", "zscore", "channel_max", "none"):
        sae, metrics = train_sae(x, small(normalize=kind))
        assert torch.isfinite(sae(x)).all()
        assert np.isfinite(metrics["fvu"])


def test_the_result_takes_input_in_its_own_units_and_can_be_saved(tmp_path):
    sae, metrics = train_sae(rows() * 50 + 300, small(steps=300, k=6))
    x = rows() * 50 + 300
    assert float((sae(x) - x).square().mean() / x.var()) < 0.2
    found = type(sae).load(sae.save(tmp_path / "sae"))
    assert torch.equal(found(x), sae(x))
    assert found.metadata["metrics"]["fvu"] == metrics["fvu"]
    assert found.metadata["training"]["k"] == 6


def test_the_sae_borzoi_preset_trains():
    config = TrainConfig.preset("sae-borzoi", 40, steps=30, batch_size=32, learning_rate=1e-3)
    sae, metrics = train_sae(rows(channels=40), config)
    assert (sae.layer_norm, sae.k, sae.latents) == (True, 2, 160)
    assert np.isfinite(metrics["fvu"])


def test_a_device_that_is_none_is_refused():
    with pytest.raises(ValueError, match="device must be a device of torch, got 'gpu'"):
        train_sae(rows(), small(), device="gpu")


@pytest.mark.parametrize(
    "config, message",
    [
        (small(k=21), r"k must lie in 1\.\.20, got 21"),
        (small(batch_size=601), "must fill one batch of 601 positions"),
    ],
)
def test_settings_that_do_not_fit_the_source_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        train_sae(rows(), config)


KILLED_RUN = """
import sys, torch, saers
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
rows = torch.randn(600, 6, generator=generator) + 2
config = saers.TrainConfig(k=3, n_latents=20, steps=400, batch_size=32, checkpoint_every=5,
                           log_every=5, ema=0.9)
saers.train_sae(rows, config, state_dir=sys.argv[1], metrics_path=sys.argv[1] + "/m.jsonl")
"""


def test_a_process_killed_again_and_again_ends_with_the_bits_of_an_unbroken_one(tmp_path):
    command = [sys.executable, "-c", KILLED_RUN]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, timeout=200)
    state = tmp_path / "broken" / checkpoint.STATE
    kills, seen = 0, -1
    while kills < 3:
        process = subprocess.Popen([*command, str(tmp_path / "broken")])
        while process.poll() is None:
            found = checkpoint.read(state.parent) if state.exists() else None
            if found is not None and found.facts.steps_done > seen + 40 * (kills + 1):
                seen = found.facts.steps_done
                process.kill()  # SIGKILL, wherever it stands
                break
            time.sleep(0.002)
        if process.wait() == 0:
            break  # it was quicker than the watch
        kills += 1
    subprocess.run([*command, str(tmp_path / "broken")], check=True, timeout=200)
    whole, broken = (checkpoint.read(tmp_path / name) for name in ("whole", "broken"))
    assert broken.facts.steps_done == 400
    assert kills > 0
    for name, value in whole.tensors.items():
        assert torch.equal(value, broken.tensors[name]), name
    logs = [(tmp_path / name / "m.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]


def test_a_state_of_another_shape_is_a_format_error(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    train_sae(rows(), small(), state_dir=tmp_path)
    file = tmp_path / checkpoint.STATE
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors | {"sae.W_dec": torch.zeros(19, 6)}, file, metadata=header)
    with pytest.raises(ValueError, match=r"W_dec must be \(20, 6\), got \(19, 6\)"):
        train_sae(rows(), small(steps=40), state_dir=tmp_path)


def test_an_activation_that_is_not_a_number_is_named_with_window_and_channel():
    class Broken(Windows):
        def blocks(self, *, windows=None):
            for block in super().blocks(windows=windows):
                if 2 in block.windows:
                    block.values[0, 7, 4] = np.nan
                yield block

    with pytest.raises(ValueError, match="nan in window 2, position 7, channel 4"):
        train_sae(Broken(6), small(buffer_tokens=32, buffer_windows=1))


def test_waiting_for_the_source_is_measured():
    class Slow(Windows):
        def blocks(self, *, windows=None):
            for block in super().blocks(windows=windows):
                time.sleep(0.05)
                yield block

    settings = {"buffer_tokens": 40, "buffer_windows": 1, "steps": 20}
    slow = train_sae(Slow(8), small(**settings)).metrics
    assert slow["waiting_share"] > 0.5
    assert 0 <= train_sae(Windows(8), small()).metrics["waiting_share"] <= 1

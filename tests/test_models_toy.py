"""The demonstration's model: fast layers that equal PyTorch's own, trained the same each time."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saers import FormatError
from saers.models import load
from saers.models.receptive import perturbed_window
from saers.models.toy import (
    LAYER,
    ToyConfig,
    ToyNetwork,
    ToyTraining,
    save,
    train_toy,
)
from saers.models.toy import load as load_toy

CONFIG = ToyConfig(tracks=3, bin=16, filters=8, channels=4, hidden=6)
TRAINING = ToyTraining(mega_bp=0.03, crop=64, batch_size=8, learning_rate=2e-2, seed=1)


def windows(count=40, length=128, seed=0):
    """Windows whose tracks are where TGACTCA stands, on either strand."""
    rng = np.random.default_rng(seed)
    letters = rng.integers(0, 4, (count, length), dtype=np.uint8)
    tracks = np.zeros((count, 3, length // 16), dtype=np.float32)
    for window in range(count):
        for place in rng.integers(0, length // 16, 3):
            site = np.array([3, 2, 0, 1, 3, 1, 0], dtype=np.uint8)
            site = 3 - site[::-1] if rng.random() < 0.5 else site
            start = 16 * place + 4
            letters[window, start : start + 7] = site
            tracks[window, :, place] = 3.0
    return letters, tracks


@pytest.fixture(scope="module")
def trained():
    letters, tracks = windows()
    holdout = np.arange(40) < 8
    return train_toy(letters, tracks, config=CONFIG, training=TRAINING, holdout=holdout)


def random_network(seed=0):
    torch.manual_seed(seed)
    network = ToyNetwork(CONFIG)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def plain_forward(network, onehot):
    """The same network by PyTorch's functions for sequences."""

    def norm(module, values):
        return F.gelu(
            F.batch_norm(
                values, module.running_mean, module.running_var, module.weight, module.bias
            )
        )

    weight = network.stem.weight
    stem = F.conv1d(onehot, torch.cat([weight, weight.flip(1, 2)]), padding=7)
    x = norm(network.norm_1, F.max_pool1d(stem, 2))
    x = F.conv1d(x, network.conv1d_1.weight, network.conv1d_1.bias, padding=2)
    x = norm(network.norm_2, F.max_pool1d(x, 2))
    x = F.conv1d(x, network.conv1d_2.weight, network.conv1d_2.bias, padding=2)
    x = norm(network.norm_3, F.max_pool1d(x, CONFIG.bin // 4))
    x = F.conv1d(x, network.conv1d_3.weight, network.conv1d_3.bias, padding=2)
    return F.conv1d(norm(network.norm_4, x), network.head.weight, network.head.bias)


def random_onehot(count=2, length=64):
    letters = torch.randint(0, 4, (count, length), generator=torch.Generator().manual_seed(3))
    return F.one_hot(letters, 4).float().transpose(1, 2)


@pytest.mark.parametrize("contiguous", [True, False])
def test_layers_equal_pytorchs_own_in_either_memory_layout(contiguous):
    network, onehot = random_network(), random_onehot()
    onehot = onehot.contiguous() if contiguous else onehot
    with torch.no_grad():
        assert torch.allclose(network(onehot), plain_forward(network, onehot), atol=1e-5)


def test_half_of_the_stem_is_the_reverse_complement_of_the_other():
    network, onehot = random_network(), random_onehot()
    with torch.no_grad():
        forward = network.stem(onehot)
        backward = network.stem(onehot.flip(1, 2)).flip(2)
    assert torch.allclose(forward[:, :4], backward[:, 4:], atol=1e-5)


def test_training_twice_gives_the_same_weights(trained):
    letters, tracks = windows()
    holdout = np.arange(40) < 8
    again = train_toy(letters, tracks, config=CONFIG, training=TRAINING, holdout=holdout)
    for name, value in trained.model.module.state_dict().items():
        assert torch.equal(value, again.model.module.state_dict()[name]), name
    assert again.r_squared == trained.r_squared


def test_training_leaves_the_global_generator_alone():
    letters, tracks = windows(8)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    quick = ToyTraining(mega_bp=0.002, crop=64, batch_size=2)
    train_toy(letters, tracks, config=CONFIG, training=quick, holdout=np.zeros(8, dtype=bool))
    assert torch.equal(torch.rand(3), expected)


def test_a_motif_is_learned(trained):
    assert trained.r_squared > 0.5


def test_held_out_windows_do_not_change_the_training():
    letters, tracks = windows(20)
    holdout = np.arange(20) < 5
    other = tracks.copy()
    other[holdout] = 9 - 2 * other[holdout]
    quick = ToyTraining(mega_bp=0.005, crop=64, batch_size=4)
    first = train_toy(letters, tracks, config=CONFIG, training=quick, holdout=holdout)
    second = train_toy(letters, other, config=CONFIG, training=quick, holdout=holdout)
    for name, value in first.model.module.state_dict().items():
        assert torch.equal(value, second.model.module.state_dict()[name]), name


def test_a_saved_model_opens_as_any_model_does(trained, tmp_path):
    save(trained.model, tmp_path / "model")
    opened = load(tmp_path / "model", LAYER)
    onehot = random_onehot(2, 128).transpose(1, 2)
    assert torch.equal(opened(onehot), trained.model(onehot))
    assert torch.equal(opened.capture(onehot, LAYER), trained.model.capture(onehot, LAYER))
    assert opened.input_length == 128


def test_the_stated_window_is_the_one_that_perturbation_finds():
    network = random_network()
    model = load_model_of(network)
    found = perturbed_window(lambda onehot: model.capture(onehot, LAYER), 128)
    info = model.layers[LAYER]
    assert (info.stride, info.window_lo, info.window_hi) == tuple(found)
    assert info.receptive_field == 24


def load_model_of(network):
    from saers.models.toy import _model

    return _model(network, 128)


def test_running_from_the_layer_gives_the_outputs(trained):
    onehot = random_onehot(2, 128).transpose(1, 2)
    inner = trained.model.capture(onehot, LAYER)
    assert torch.allclose(trained.model.run_from(LAYER, inner), trained.model(onehot), atol=1e-6)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_toy(tmp_path)


def test_broken_files_are_named(trained, tmp_path):
    save(trained.model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"model\.safetensors"):
        load_toy(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "depth": 3}))
    with pytest.raises(FormatError, match=r"config\.json.*depth"):
        load_toy(tmp_path)


def test_other_models_cannot_be_saved_as_toys(tmp_path):
    from saers.models.module import ModuleModel

    with pytest.raises(ValueError, match="Conv1d"):
        save(ModuleModel(torch.nn.Conv1d(4, 2, 3)), tmp_path)


@pytest.mark.parametrize("crop", [48, 72])
def test_a_crop_that_does_not_fit_is_refused(crop):
    letters, tracks = windows(4)
    wrong = ToyTraining(crop=crop)
    with pytest.raises(ValueError, match="crop"):
        train_toy(letters, tracks, config=CONFIG, training=wrong, holdout=np.zeros(4, dtype=bool))


@pytest.mark.parametrize("wrong", [{"bin": 30}, {"bin": 2}, {"filters": 7}, {"filters": 0}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ToyConfig(tracks=1, **wrong)

"""saers.models.module: layers of any network by name."""

import pytest
import torch
from torch import nn

from saers.models import SequenceModel
from saers.models.module import ModuleModel


class Net(nn.Module):
    """Shares one pool, has a branch around the second block, and counts what it runs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(4, 6, 5, padding=2)
        self.pool = nn.MaxPool1d(2)
        self.block = nn.Sequential(nn.ReLU(), nn.Conv1d(6, 6, 3, padding=1))
        self.recurrent = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 2)
        self.unused = nn.Conv1d(6, 6, 1)
        self.heads = 0

    def forward(self, x):
        x = self.pool(self.stem(x))
        x = self.pool(x + self.block(x))
        self.heads += 1
        x, _ = self.recurrent(x.transpose(1, 2))
        return self.head(x.mean(dim=1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ModuleModel(Net(), input_length=32)


@pytest.fixture
def onehot():
    torch.manual_seed(1)
    return torch.eye(4)[torch.randint(4, (3, 32))]


def by_hand(net, onehot, calls):
    with torch.no_grad():
        x = net.stem(onehot.transpose(1, 2))
        if calls == "stem":
            return x.transpose(1, 2)
        return net.block(net.pool(x)).transpose(1, 2)


def test_it_is_a_sequence_model(model):
    assert isinstance(model, SequenceModel)
    assert (model.input_length, model.alphabet) == (32, "ACGT")


@pytest.mark.parametrize("layer, calls", [("stem", "stem"), ("block", "block"), ("block.1", "b")])
def test_a_layer_is_what_the_network_computes(model, onehot, layer, calls):
    assert torch.equal(model.capture(onehot, layer), by_hand(model.module, onehot, calls))


def test_nothing_runs_behind_the_layer(model, onehot):
    model.outputs()
    before = model.module.heads
    model.capture(onehot, "block")
    assert model.module.heads == before


def test_a_model_that_catches_everything_is_stopped_all_the_same(onehot):
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 2, 3, padding=1)

        def forward(self, x):
            try:
                return self.conv(x)
            except Exception:
                return x

    assert ModuleModel(Stubborn(), input_length=32).capture(onehot, "conv").shape == (3, 32, 2)


def test_hooks_are_gone_afterwards(model, onehot):
    model.capture(onehot, "stem")
    with pytest.raises(ValueError, match="no layer"):
        model.capture(onehot, "stm")
    assert not any(module._forward_hooks for module in model.module.modules())


def test_an_unknown_layer_lists_the_nearest_and_all(model, onehot):
    with pytest.raises(ValueError, match=r"no layer 'stme'; did you mean 'stem'\?; layers: stem,"):
        model.capture(onehot, "stme")


def test_a_module_that_never_runs_is_no_layer(model, onehot):
    assert "unused" not in model.layers
    with pytest.raises(ValueError, match="no layer 'unused'"):
        model.capture(onehot, "unused")


def test_a_shared_module_asks_which_call_is_meant(model, onehot):
    with pytest.raises(ValueError, match=r"'pool' runs 2 times .*: choose pool#1, pool#2"):
        model.capture(onehot, "pool")
    assert model.capture(onehot, "pool#1").shape == (3, 16, 6)
    assert model.capture(onehot, "pool#2").shape == (3, 8, 6)
    assert model.layers["pool#2"].stride == 4


def test_the_other_names_of_a_shared_module_are_told(onehot):
    pool = nn.MaxPool1d(2)
    net = nn.Sequential(nn.Conv1d(4, 2, 3, padding=1), pool, nn.ReLU(), pool)
    with pytest.raises(ValueError, match=r"'1' \(also named 3\) runs 2 times"):
        ModuleModel(net, input_length=32).capture(onehot, "1")


@pytest.mark.parametrize(
    "layer, what", [("recurrent", "it gives tuple"), ("head", r"a tensor of shape \(1, 2\)")]
)
def test_a_layer_without_positions_and_channels_is_refused(model, onehot, layer, what):
    assert layer not in model.layers
    with pytest.raises(ValueError, match=rf"'{layer}' must give .*{what}"):
        model.capture(onehot, layer)


@pytest.mark.parametrize("shape, message", [
    ((3, 4, 32), r"onehot must be \(b, length, 4\), got \(3, 4, 32\)"),
    ((32, 4), r"must be \(b, length, 4\)"),
    ((3, 31, 4), "onehot must be 32 bp long, got 31"),
])  # fmt: skip
def test_input_of_another_shape_is_refused(model, shape, message):
    with pytest.raises(ValueError, match=message):
        model.capture(torch.zeros(shape), "stem")


def test_the_outputs_follow_from_the_layers_own_activations(model, onehot):
    outputs = model(onehot)
    for layer in ("stem", "pool#1", "pool#2"):
        assert torch.equal(model.run_from(layer, model.capture(onehot, layer)), outputs)


def test_a_branch_around_the_layer_needs_the_sequence(model, onehot):
    activations = model.capture(onehot, "block")
    assert torch.equal(model.run_from("block", activations, onehot=onehot), model(onehot))
    assert not torch.equal(model.run_from("block", activations), model(onehot))


def test_changed_activations_change_the_outputs(model, onehot):
    activations = model.capture(onehot, "stem")
    assert not torch.allclose(model.run_from("stem", activations + 1), model(onehot))


def test_activations_of_another_shape_are_refused(model, onehot):
    with pytest.raises(ValueError, match=r"must have the shape \(3, 6, 32\).*got \(3, 6, 30\)"):
        model.run_from("stem", torch.zeros(3, 30, 6), onehot=onehot)


def test_a_model_of_any_length_takes_the_length_it_captured(onehot):
    net = nn.Sequential(nn.Conv1d(4, 2, 3, padding=1), nn.MaxPool1d(2))
    model = ModuleModel(net)
    assert model.input_length is None
    activations = torch.rand(3, 32, 2)
    with pytest.raises(ValueError, match="onehot must be given"):
        model.run_from("0", activations)
    model.capture(onehot, "0")
    assert model.run_from("0", activations).shape == (3, 2, 16)


def test_networks_that_read_channels_last(onehot):
    class Last(nn.Module):
        input_length = 32

        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(4, 7)

        def forward(self, x):
            return self.embed(x)

    model = ModuleModel(Last(), channels_first=False, positions_last=False)
    assert model.input_length == 32
    assert model.capture(onehot, "embed").shape == (3, 32, 7)
    layer = model.layers["embed"]
    assert (layer.channels, layer.stride, layer.receptive_field) == (7, 1, 1)


def test_a_stated_window_is_taken_where_none_can_be_found(model):
    class Global(nn.Module):
        def __init__(self):
            super().__init__()
            self.spread = nn.Identity()

        def forward(self, x):
            return self.spread(x - x.mean(dim=2, keepdim=True))

    with pytest.raises(ValueError, match=r"ends of the input .*windows=\{'spread': \(stride"):
        _ = ModuleModel(Global(), input_length=64).layers["spread"]
    stated = ModuleModel(Global(), input_length=64, windows={"spread": (1, 5, 5)})
    assert stated.layers["spread"].receptive_field == 11


def test_a_layer_is_captured_in_evaluation_mode_and_without_gradient(onehot):
    net = nn.Sequential(nn.Dropout(0.9), nn.Conv1d(4, 2, 3))
    model = ModuleModel(net.train(), input_length=32)
    first, second = model.capture(onehot, "1"), model.capture(onehot, "1")
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_a_half_precision_network_gives_float32(onehot):
    model = ModuleModel(nn.Sequential(nn.Conv1d(4, 2, 3)).to(torch.bfloat16), input_length=32)
    assert model.capture(onehot, "0").dtype == torch.float32

"""saers.models.receptive: arithmetic and perturbation agree on where a position looks."""

import pytest
import torch
from torch import nn

from saers.models.module import ModuleModel
from saers.models.receptive import Window, WindowTracer, perturbed_window


def seeded(make):
    torch.manual_seed(0)
    return make().eval()


class BorzoiStem(nn.Module):
    """Borzoi's convolutional tower, narrow: stem 15, pools of 2, blocks of width 5."""

    def __init__(self, width=12, blocks=4):
        super().__init__()
        self.stem = nn.Conv1d(4, width, 15, padding=7)
        self.pool = nn.MaxPool1d(2)
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(blocks))
        self.conv = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(blocks))

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norm, self.conv, strict=True):
            x = conv(nn.functional.gelu(norm(self.pool(x)), approximate="tanh"))
        return x


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(4, 8, 3, padding=1)
        self.branch = nn.Conv1d(8, 8, 7, padding=6, dilation=2)
        self.out = nn.Identity()

    def forward(self, x):
        x = self.first(x)
        return self.out(x + torch.relu(self.branch(x)))


class Transposing(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6)
        self.conv = nn.Conv1d(6, 6, 5)

    def forward(self, x):
        x = self.linear(x.transpose(1, 2)).permute(0, 2, 1)
        return self.conv(nn.functional.pad(x, (1, 3)))


STACKS = {
    "stem": (lambda: nn.Conv1d(4, 8, 15, padding=7), Window(1, 7, 7)),
    "valid": (lambda: nn.Conv1d(4, 8, 19), Window(1, 0, 18)),
    "strided": (lambda: nn.Conv1d(4, 8, 6, stride=3, padding=1), Window(3, 1, 4)),
    "same, dilated": (
        lambda: nn.Conv1d(4, 8, 4, padding="same", dilation=3),
        Window(1, 4, 5),
    ),
    "average pool": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 5, padding=2), nn.AvgPool1d(4, 2, padding=1)),
        Window(2, 3, 4),
    ),
    "dilated pool": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 3), nn.MaxPool1d(3, stride=1, dilation=2)),
        Window(1, 0, 6),
    ),
    "padded": (
        lambda: nn.Sequential(nn.ConstantPad1d((5, 2), 0.0), nn.Conv1d(4, 8, 3)),
        Window(1, 5, -3),
    ),
    "relu, batch norm, dropout": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 16, 5, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.MaxPool1d(3),
            nn.Conv1d(16, 8, 3, padding=1),
        ),
        Window(3, 5, 7),
    ),
    "residual": (Residual, Window(1, 7, 7)),
    "transposing": (Transposing, None),
}


def arithmetic(net, length=96):
    onehot = torch.zeros(1, 4, length)
    with torch.no_grad(), WindowTracer(onehot, dim=2) as tracer:
        out = net(onehot)
    return tracer.window(out, dim=2)


def perturbation(net, length=96):
    with torch.no_grad():
        return perturbed_window(lambda x: net(x.transpose(1, 2)).transpose(1, 2), length)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", [name for name, (_, window) in STACKS.items() if window])
def test_arithmetic_and_perturbation_agree(name):
    make, expected = STACKS[name]
    net = seeded(make)
    assert arithmetic(net) == expected
    assert perturbation(net) == expected


def test_what_arithmetic_cannot_follow_is_left_to_perturbation():
    net = seeded(Transposing)
    assert arithmetic(net) is None  # a linear layer over channels
    assert perturbation(net) == Window(1, 1, 3)
    assert ModuleModel(net, input_length=64).layers["conv"].window_hi == 3


@pytest.mark.parametrize(
    "block, stride, lo, hi, width",
    [(0, 2, 11, 12, 24), (1, 4, 19, 22, 42), (2, 8, 35, 42, 78), (3, 16, 67, 82, 150)],
)
def test_borzois_convolutions_see_24_42_78_and_150_bp(block, stride, lo, hi, width):
    model = ModuleModel(seeded(BorzoiStem), input_length=1024)
    layer = model.layers[f"conv.{block}"]
    assert (layer.stride, layer.window_lo, layer.window_hi) == (stride, lo, hi)
    assert layer.receptive_field == width
    found = perturbed_window(lambda x: model.capture(x, layer.name), 1024)
    assert found == Window(stride, lo, hi)


def test_branches_of_different_strides_are_not_followed():
    class Odd(nn.Module):
        def forward(self, x):
            return x[:, :, ::2] + nn.functional.max_pool1d(x, 2)

    assert arithmetic(Odd()) is None


def test_a_global_operation_is_refused_by_both():
    class Global(nn.Module):
        def forward(self, x):
            return x + x.mean(dim=2, keepdim=True)

    assert arithmetic(Global()) is None
    with pytest.raises(ValueError, match=r"sees up to the ends of the input \(96 bp\)"):
        perturbation(Global())


def test_a_layer_that_no_base_changes_is_refused():
    with pytest.raises(ValueError, match="no single base changes the layer"):
        perturbed_window(lambda x: torch.zeros(len(x), 20, 3), 20)


def test_unevenly_spaced_positions_are_refused():
    chosen = [base for base in range(40) if base % 4 < 2]
    with pytest.raises(ValueError, match=r"not evenly spaced \(distances"):
        perturbed_window(lambda x: x[:, chosen], 40)


def test_too_few_positions_are_refused():
    with pytest.raises(ValueError, match="2 positions over 40 bp are too few"):
        perturbed_window(lambda x: x[:, ::20], 40)


def test_windows_of_different_widths_are_refused():
    def run(x):
        inner = x.clone()
        inner[:, ::2] += x.roll(1, dims=1)[:, ::2]
        return inner

    with pytest.raises(ValueError, match="windows of different widths"):
        perturbed_window(run, 40)

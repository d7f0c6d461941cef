"""A small convolutional model in the shape of Borzoi, for the demonstration.

Stem of width 15, max-pooling, then blocks of width 5 with batch norm and GELU before each
convolution. The first such convolution, ``conv1d_1``, has few channels; its raw output is what
the demonstration explains. Training it takes two minutes on two cores.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from saers import FormatError
from saers.checks import existing_file
from saers.models.module import ModuleModel
from saers.progress import SILENT, Progress

LAYER = "conv1d_1"
_STEM, _WIDTH, _POOL = 15, 5, 2


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Size of the network.

    Examples
    --------
    >>> ToyConfig(tracks=3, bin=30)
    Traceback (most recent call last):
    ...
    ValueError: bin must be a multiple of 4, got 30
    """

    tracks: int
    """Output tracks."""

    bin: int = 32
    """Bin of the tracks in bp."""

    filters: int = 128
    """Filters of the stem, half of them the reverse complements of the other half."""

    channels: int = 18
    """Channels of ``conv1d_1``."""

    hidden: int = 96
    """Channels of the blocks behind it."""

    def __post_init__(self) -> None:
        if self.bin < 4 or self.bin % (_POOL * _POOL):
            raise ValueError(f"bin must be a multiple of {_POOL * _POOL}, got {self.bin}")
        if self.filters < 2 or self.filters % 2:
            raise ValueError(f"filters must be even and at least 2, got {self.filters}")


@dataclass(frozen=True, kw_only=True)
class ToyTraining:
    """How the network is trained."""

    mega_bp: float = 70.0
    """Sequence seen in training, in Mb; most of it several times."""

    crop: int = 1024
    """Length of the pieces that windows are cut into, in bp."""

    batch_size: int = 16
    """Pieces in one step."""

    learning_rate: float = 6e-3
    """Peak of the one-cycle schedule of AdamW."""

    weight_decay: float = 0.01
    """Decoupled weight decay."""

    guided: float = 0.7
    """First share of the training in which a second head, which reads the stem's maxima over
    each bin, adds its loss with a weight that falls from 1 to 0. It makes filters find motifs
    before the narrow layer behind the stem can carry them; it is no part of the model."""

    seed: int = 0
    """Seed of the first weights and of the order of the pieces."""


class ToyResult(NamedTuple):
    """A trained model and its coefficient of determination on windows it never saw."""

    model: ModuleModel
    r_squared: float


# The layers keep tensors as (b, channels, positions), but channels last in memory: on a CPU
# that makes convolutions with few channels, pools and norms two to six times faster. PyTorch
# does so for images alone, hence the dimension of height 1.


class _Convolution(nn.Conv1d):
    """A convolution along the sequence that keeps the length."""

    def __init__(self, inputs: int, outputs: int, width: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, width, padding=width // 2, bias=bias)

    def filters(self) -> torch.Tensor:
        return self.weight

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        kernel = self.filters().unsqueeze(2).contiguous(memory_format=torch.channels_last)
        padding = (0, self.kernel_size[0] // 2)
        return F.conv2d(values.unsqueeze(2), kernel, self.bias, padding=padding).squeeze(2)


class _Stem(_Convolution):
    """Filters and their reverse complements: a motif is learned on both strands at once."""

    def filters(self) -> torch.Tensor:
        return torch.cat([self.weight, self.weight.flip(1, 2)])


class _Pool(nn.Module):
    """Maximum over ``factor`` positions."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(values.unsqueeze(2), (1, self.factor)).squeeze(2)


class _Norm(nn.BatchNorm1d):
    """Batch norm, then GELU."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return F.gelu(super().forward(values.unsqueeze(2)).squeeze(2))

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Accept the dimension of height 1."""


class ToyNetwork(nn.Module):
    """The network: (b, 4, length) to (b, tracks, length / bin).

    Examples
    --------
    >>> ToyNetwork(ToyConfig(tracks=3))(torch.zeros(2, 4, 64)).shape
    torch.Size([2, 3, 2])
    """

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = _Stem(4, config.filters // 2, _STEM, bias=False)
        self.pool_1 = _Pool(_POOL)
        self.norm_1 = _Norm(config.filters)
        self.conv1d_1 = _Convolution(config.filters, config.channels, _WIDTH)
        self.pool_2 = _Pool(_POOL)
        self.norm_2 = _Norm(config.channels)
        self.conv1d_2 = _Convolution(config.channels, config.hidden, _WIDTH)
        self.pool_3 = _Pool(config.bin // (_POOL * _POOL))
        self.norm_3 = _Norm(config.hidden)
        self.conv1d_3 = _Convolution(config.hidden, config.hidden, _WIDTH)
        self.norm_4 = _Norm(config.hidden)
        self.head = _Convolution(config.hidden, config.tracks, 1)

    def forward(self, onehot: torch.Tensor) -> torch.Tensor:
        """Compute the tracks."""
        return self.behind_stem(self.scan(onehot))

    def scan(self, onehot: torch.Tensor) -> torch.Tensor:
        """Compute the stem, pooled."""
        pooled: torch.Tensor = self.pool_1(self.stem(onehot))
        return pooled

    def behind_stem(self, scanned: torch.Tensor) -> torch.Tensor:
        """Compute the tracks from the stem."""
        narrow = self.conv1d_1(self.norm_1(scanned))
        wide = self.conv1d_2(self.norm_2(self.pool_2(narrow)))
        mixed = self.conv1d_3(self.norm_3(self.pool_3(wide)))
        tracks: torch.Tensor = self.head(self.norm_4(mixed))
        return tracks


class _Guide(nn.Module):
    """The head that reads the stem alone while training begins."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.pool = _Pool(config.bin // _POOL)
        self.norm = _Norm(config.filters // 2)
        self.head = _Convolution(config.filters // 2, config.tracks, 1)

    def forward(self, scanned: torch.Tensor) -> torch.Tensor:
        strands = self.pool(scanned).chunk(2, dim=1)
        tracks: torch.Tensor = self.head(self.norm(torch.maximum(*strands)))
        return tracks


def train_toy(
    letters: NDArray[np.uint8],
    tracks: NDArray[np.float32],
    *,
    config: ToyConfig,
    training: ToyTraining,
    holdout: NDArray[np.bool_],
    progress: Progress = SILENT,
) -> ToyResult:
    """Train the network on windows and their tracks.

    Parameters
    ----------
    letters
        (windows, length), 0 to 3 for A, C, G, T and 4 for N.
    tracks
        (windows, tracks, length / bin).
    config
        Size of the network.
    training
        How it is trained.
    holdout
        (windows,), True for those that are only measured on.
    progress
        Hears of the steps.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> letters = rng.integers(0, 4, (8, 64), dtype=np.uint8)
    >>> tracks = rng.standard_normal((8, 3, 2), dtype=np.float32)
    >>> small = ToyConfig(tracks=3, filters=4, channels=2, hidden=4)
    >>> quick = ToyTraining(mega_bp=0.001, crop=64, batch_size=2)
    >>> held = np.arange(8) < 2
    >>> train_toy(letters, tracks, config=small, training=quick, holdout=held).model.input_length
    64
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network, guide = ToyNetwork(config), _Guide(config)

    def loss(onehot: torch.Tensor, wanted: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        scanned = network.scan(onehot)
        own = F.mse_loss(network.behind_stem(scanned), wanted)
        weight = 1 - step / (training.guided * steps) if training.guided else 0.0
        return own + weight * F.mse_loss(guide(scanned), wanted) if weight > 0 else own

    fit([network, guide], loss, letters[~holdout], tracks[~holdout], training, config.bin, progress)
    network.eval()
    measured = r_squared(network, letters[holdout], tracks[holdout]) if holdout.any() else np.nan
    return ToyResult(_model(network, letters.shape[1]), measured)


def fit(
    modules: Sequence[nn.Module],
    loss: Callable[[torch.Tensor, torch.Tensor, int, int], torch.Tensor],
    letters: NDArray[np.uint8],
    tracks: NDArray[np.float32],
    training: ToyTraining,
    bin: int,
    progress: Progress,
) -> None:
    """Train modules on pieces of windows, half of them reverse complements.

    Parameters
    ----------
    modules
        What is trained.
    loss
        Of one-hot pieces (b, 4, crop) and their tracks, at a step of so many.
    letters, tracks
        The windows, as `train_toy` has them.
    training
        How it is done.
    bin
        Bin of the tracks in bp.
    progress
        Hears of the steps.
    """
    order = torch.Generator().manual_seed(training.seed)
    sequence, target = _cut(letters, tracks, training.crop, bin)
    steps = max(2, round(training.mega_bp * 1e6 / (training.batch_size * training.crop)))
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser, schedule = _optimiser(parameters, training, steps)
    progress.start("training the model", steps)
    for step in range(steps):
        chosen = torch.randint(len(sequence), (training.batch_size,), generator=order)
        onehot, wanted = _onehot(sequence[chosen]), target[chosen]
        if torch.rand(1, generator=order) < 0.5:
            onehot, wanted = onehot.flip(1, 2), wanted.flip(2)
        value = loss(onehot, wanted, step, steps)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimiser.step()
        schedule.step()
        progress.advance()


def _cut(
    letters: NDArray[np.uint8], tracks: NDArray[np.float32], crop: int, bin: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows and their tracks into pieces: (pieces, crop), (pieces, tracks, crop / bin)."""
    length = letters.shape[1]
    if length % crop or crop % bin:
        raise ValueError(
            f"crop must divide the windows ({length} bp) and be a multiple of bin ({bin}), "
            f"got {crop}"
        )
    target = torch.from_numpy(tracks).reshape(len(tracks), -1, length // crop, crop // bin)
    return torch.from_numpy(letters.reshape(-1, crop)), target.transpose(1, 2).flatten(0, 1)


def _optimiser(
    parameters: list[nn.Parameter], training: ToyTraining, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW under a one-cycle schedule."""
    peak = training.learning_rate
    optimiser = torch.optim.AdamW(parameters, peak, weight_decay=training.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, peak, total_steps=steps, pct_start=0.15
    )
    return optimiser, schedule


def save(model: ModuleModel, folder: str | Path) -> None:
    """Write config.json and model.safetensors.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(_model(ToyNetwork(ToyConfig(tracks=3)), 2048), folder)
    ...     load(folder).layers["conv1d_1"]
    LayerInfo(name='conv1d_1', channels=18, stride=2, window_lo=11, window_hi=12, tokens=False)
    """
    network = model.module
    if not isinstance(network, ToyNetwork):
        raise ValueError(f"model must be a toy model, got {type(network).__name__}")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), place / "model.safetensors")
    settings = {"input_length": model.input_length, **dataclasses.asdict(network.config)}
    (place / "config.json").write_text(json.dumps(settings, indent=2) + "\n")


def load(folder: str | Path) -> ModuleModel:
    """Read a model that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FormatError
        If one is broken.
    """
    settings_file = existing_file(Path(folder) / "config.json", what="toy model")
    weights = existing_file(Path(folder) / "model.safetensors", what="toy model")
    try:
        settings = json.loads(settings_file.read_text())
        length = int(settings.pop("input_length"))
        network = ToyNetwork(ToyConfig(**settings))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{settings_file}: {error}") from error
    try:
        network.load_state_dict(load_file(weights))
    except Exception as error:  # safetensors and PyTorch each raise their own
        raise FormatError(f"{weights}: {error}") from error
    return _model(network.eval(), length)


def _model(network: ToyNetwork, length: int) -> ModuleModel:
    """Describe the network to the pipeline."""
    reach = _STEM // 2 + _POOL * (_WIDTH // 2)
    windows = {LAYER: (_POOL, reach, reach + _POOL - 1)}
    return ModuleModel(network, input_length=length, windows=windows)


def _onehot(letters: torch.Tensor) -> torch.Tensor:
    """Code letters (b, length) as (b, 4, length), N as zeros, channels last in memory."""
    return torch.eye(5)[:, :4][letters.long()].transpose(1, 2)


@torch.no_grad()
def r_squared(network: nn.Module, letters: NDArray[np.uint8], tracks: NDArray[np.float32]) -> float:
    """Mean over the tracks of 1 - squared error / variance."""
    batches = torch.split(torch.from_numpy(letters), 32)
    predicted = torch.cat([network(_onehot(batch)) for batch in batches]).numpy()
    error = ((predicted - tracks) ** 2).sum(axis=(0, 2))
    return float(np.mean(1 - error / (tracks.var(axis=(0, 2)) * tracks[:, 0].size)))

"""How a sparse autoencoder is trained: every setting, its default, and what it does."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from saers import checks

Normalize = Literal["center_rms", "channel_max", "zscore", "whiten", "none"]
Strands = Literal["forward", "augment", "paired"]
Precision = Literal["auto", "float32", "bfloat16"]

ARCHITECTURES = ("topk", "batchtopk")
NORMALIZERS = ("center_rms", "channel_max", "zscore", "whiten", "none")
LOSSES = ("fvu", "mse")
STRANDS = ("forward", "augment", "paired")
PRECISIONS = ("auto", "float32", "bfloat16")
PRESETS = ("sae-borzoi",)

_BUFFER_BYTES = 640 * 2**20
_RATE = 1.2e-3  # of 2^14 latents
_AT_LEAST_ONE = (
    "expansion",
    "n_latents",
    "aux_k",
    "steps",
    "batch_size",
    "dead_window",
    "divergence_steps",
    "buffer_windows",
    "log_every",
    "eval_every",
    "checkpoint_every",
)
_WORDS = {
    "architecture": ARCHITECTURES,
    "normalize": NORMALIZERS,
    "loss": LOSSES,
    "precision": PRECISIONS,
    "strands": STRANDS,
}
_TYPES: dict[object, tuple[type | tuple[type, ...], str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one training run.

    The defaults are those that recover a planted dictionary best: centred input, a tied start,
    decoder rows of unit length, and an auxiliary loss that brings dead latents back.

    Examples
    --------
    >>> TrainConfig(k=8).latents(608)
    2432
    >>> TrainConfig.preset("sae-borzoi", 608).k
    30
    """

    architecture: str = "topk"
    """``topk``: the ``k`` largest latents of each position are kept, the others are 0.
    ``batchtopk``: the ``k`` times as many largest latents of a batch as it has positions, so that
    a position takes as many as it needs; saved with the threshold that this amounts to."""

    matryoshka: tuple[float, ...] = ()
    """Rising shares of the latents, such as (0.125, 0.5), which have to reconstruct the input by
    themselves, as all latents do: the first ones become the most general. Empty: all alone."""

    expansion: int = 4
    """Latents per channel; not used where ``n_latents`` is given."""

    n_latents: int | None = None
    """Latents, when they should not follow from ``expansion``."""

    k: int | float | None = 30
    """Latents kept at each position (``batchtopk``: on average over all positions, background
    too, which may be a fraction); None stands for 5 % of the channels, at least 1."""

    steps: int = 10_000
    """Optimiser steps."""

    batch_size: int = 4096
    """Positions in one step; 4,096 suits a CPU, 16,384 or more a GPU."""

    learning_rate: float | None = None
    """Peak learning rate of Adam; None stands for 1.2e-3 / sqrt(latents / 2^14),
    and for that of 256 where there are fewer."""

    seed: int = 0
    """Seed of the first weights, and of the order of positions where ``order_seed`` is None."""

    order_seed: int | None = None
    """Seed of the order of positions, for several runs that shall see the same stream."""

    warmup: int | None = None
    """Steps of linear rise to the peak; None stands for 1,000 or 5 % of the run if fewer."""

    decay_fraction: float = 0.2
    """Last share of the run, over which the learning rate falls linearly towards 0."""

    normalize: Normalize = "center_rms"
    """Map of the input: subtract the mean and divide by one root mean square over all channels
    (center_rms), divide each channel by its maximum (channel_max), subtract the mean and divide
    by the standard deviation of each channel (zscore), subtract the mean and make the covariance
    the identity (whiten), or leave it (none)."""

    layer_norm: bool = False
    """Standardise each position over its channels as well, undone after decoding."""

    tied_init: bool = True
    """Start with the encoder equal to the decoder's transpose."""

    unit_decoder: bool = True
    """Keep decoder rows at length 1, the gradient projected accordingly."""

    bias_init: bool = True
    """Start the decoder's bias at the mean of the (mapped) input rather than at 0."""

    loss: Literal["fvu", "mse"] = "fvu"
    """Squared error over the variance of the data set, or over the number of channels."""

    aux_coefficient: float = 0.1
    """Weight of the loss in which dead latents reconstruct what the others leave; 0 for none."""

    aux_k: int = 3
    """Dead latents that do so at each position. Where all of them do, none of them comes to stand
    for one direction."""

    dead_window: int | None = None
    """Positions without a value above 1e-3 after which a latent counts as dead; None stands for
    0.5 % of the run, so that the auxiliary loss acts in short runs too."""

    clip: float | None = 1.0
    """Largest norm of the gradient over all weights; None for any."""

    adam_epsilon: float = 6.25e-10
    """Adam's epsilon."""

    divergence_factor: float | None = 5.0
    """The run ends where its error stays above this many times the lowest it had (looked at
    with every line of metrics; an FVU below 0.01 counts as that); None for never."""

    divergence_steps: int = 1000
    """Steps for which it has to stay there; no checkpoint replaces the last good one meanwhile."""

    ema: float | None = None
    """Keep a moving average of the weights with this decay, such as 0.999, and let it be the
    result; None for the last weights."""

    precision: Precision = "auto"
    """Type in which the encoder's matrix product is computed; weights and sums stay float32.
    ``auto``: bfloat16 on a GPU that has it, float32 elsewhere."""

    background: float = 1.0
    """Share of the background that is trained on: of the nine tenths of all positions that lie
    nearest to the mean. Metrics are always measured on all positions."""

    strands: Strands = "forward"
    """What a model reads of a window: the sequence as it stands, either strand by lot in each
    epoch (augment), or both strands at the same places (paired)."""

    holdout: float = 0.1
    """Share that is kept out of training and measured, where the source marks none: chromosomes
    if it tells them, else the last windows, or the last rows of an array. 0 for none."""

    buffer_tokens: int | None = None
    """Positions held in memory and shuffled together (times channels times 4 bytes); None stands
    for as many as fill 640 MiB. As many again are read meanwhile. What fits whole is read once."""

    buffer_windows: int = 64
    """Fewest windows that share the buffer; of longer windows a random part is taken."""

    log_every: int = 100
    """Steps between two lines of metrics."""

    eval_every: int = 1000
    """Steps between two measurements on held-out positions, where there are any."""

    checkpoint_every: int = 1000
    """Steps between two checkpoints, when there is a place for them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "matryoshka", _shares(self.matryoshka))
        for field in dataclasses.fields(self):
            if field.name != "matryoshka":
                _check_type(field.name, field.type, getattr(self, field.name))
        for name, words in _WORDS.items():
            checks.one_of(name, getattr(self, name), words)
        for name in _AT_LEAST_ONE:
            _at_least(name, getattr(self, name), 1)
        for name in ("seed", "order_seed", "aux_coefficient", "warmup"):
            _at_least(name, getattr(self, name), 0)
        checks.in_range("decay_fraction", self.decay_fraction, 0, 1)
        for name in ("learning_rate", "clip", "adam_epsilon", "background"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0, got {value}")
        checks.in_range("background", self.background, 0, 1)
        if self.divergence_factor is not None and not 1 < self.divergence_factor < math.inf:
            raise ValueError(f"divergence_factor must be above 1, got {self.divergence_factor}")
        for name in ("ema", "holdout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        self._check_k()
        if self.layer_norm:
            self._check_layer_norm()
        if self.buffer_tokens is not None and self.buffer_tokens < self.batch_size:
            raise ValueError(
                f"buffer_tokens must be at least batch_size ({self.batch_size}), "
                f"got {self.buffer_tokens}"
            )

    def _check_k(self) -> None:
        """Require a whole number of each position; only their mean over a batch may be broken."""
        if self.k is None:
            return
        if self.architecture == "batchtopk":
            if not 0 < self.k < math.inf:
                raise ValueError(f"k must be above 0, got {self.k}")
        elif not (1 <= self.k < math.inf and self.k == int(self.k)):
            raise ValueError(
                f"k must be a whole number of at least 1 with topk, got {self.k}; batchtopk takes "
                "any mean"
            )

    def _check_layer_norm(self) -> None:
        """Refuse what cannot be carried through the standardisation of each position."""
        if self.aux_coefficient:
            raise ValueError(
                "aux_coefficient must be 0 with layer_norm: the residual is not in "
                f"the decoder's units; got {self.aux_coefficient}"
            )
        if self.normalize not in ("channel_max", "none"):
            raise ValueError(
                "normalize must be channel_max or none with layer_norm, which only a scale can "
                f"pass; got {self.normalize!r}"
            )
        if self.matryoshka:
            raise ValueError(f"matryoshka must be empty with layer_norm, got {self.matryoshka}")

    @classmethod
    def preset(cls, name: str, channels: int, **changes: Any) -> Self:  # noqa: ANN401
        """Make a named configuration for a layer of ``channels`` channels.

        Parameters
        ----------
        name
            ``"sae-borzoi"``: the settings of the SAE-Borzoi paper: untied weights, position-wise
            standardisation after division by the channel maximum, plain mean squared error, Adam
            at a constant 1e-5.
        channels
            Channels of the layer; the paper keeps 5 % as many latents.
        **changes
            Fields that should differ from the preset.

        Examples
        --------
        >>> TrainConfig.preset("sae-borzoi", 736, steps=5).learning_rate
        1e-05
        """
        checks.one_of("preset", name, PRESETS)
        settings: dict[str, Any] = {
            "expansion": 4,
            "k": max(1, int(0.05 * channels)),
            "learning_rate": 1e-5,
            "warmup": 0,
            "decay_fraction": 0.0,
            "normalize": "channel_max",
            "layer_norm": True,
            "tied_init": False,
            "unit_decoder": False,
            "bias_init": False,
            "loss": "mse",
            "aux_coefficient": 0.0,
            "clip": None,
            "adam_epsilon": 1e-8,
        }
        return cls(**(settings | changes))

    def latents(self, channels: int) -> int:
        """Count the latents for a layer of ``channels`` channels."""
        return self.n_latents or self.expansion * channels

    def prefixes(self, channels: int) -> list[int]:
        """Count the latents of each reconstruction, the last of which has all of them.

        Examples
        --------
        >>> TrainConfig(matryoshka=(0.125, 0.5)).prefixes(608)
        [304, 1216, 2432]
        """
        latents = self.latents(channels)
        counts = {max(1, round(share * latents)) for share in self.matryoshka}
        return sorted(counts | {latents})

    @property
    def stream_seed(self) -> int:
        """Seed of the order of positions."""
        return self.seed if self.order_seed is None else self.order_seed

    def buffer(self, channels: int) -> int:
        """Count the positions that are held in memory.

        Examples
        --------
        >>> TrainConfig().buffer(608)
        275941
        """
        return self.buffer_tokens or max(self.batch_size, _BUFFER_BYTES // (4 * channels))

    def resolve(self, channels: int) -> "TrainConfig":
        """Replace every None by the value that it stands for on ``channels`` channels.

        Raises
        ------
        ValueError
            If more latents are to be kept than there are.

        Examples
        --------
        >>> resolved = TrainConfig(k=None, steps=1000).resolve(608)
        >>> resolved.k, resolved.warmup, resolved.dead_window
        (30, 50, 20480)
        """
        latents = self.latents(channels)
        k = max(1, int(0.05 * channels)) if self.k is None else self.k
        if k > latents:
            raise ValueError(f"k must lie in 1..{latents}, got {k}")
        window = max(1, self.steps * self.batch_size // 200)
        warmup = min(1000, self.steps // 20)
        return dataclasses.replace(
            self,
            n_latents=latents,
            k=k,
            learning_rate=self.learning_rate or _RATE / math.sqrt(max(latents, 256) / 2**14),
            warmup=warmup if self.warmup is None else self.warmup,
            dead_window=self.dead_window or window,
            order_seed=self.stream_seed,
        )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step of a resolved configuration (0 is the first).

        Examples
        --------
        >>> config = TrainConfig(steps=10, warmup=2, learning_rate=1.0)
        >>> [config.rate_at(step) for step in (0, 1, 7, 8, 9)]
        [0.5, 1.0, 1.0, 1.0, 0.5]
        """
        if self.learning_rate is None or self.warmup is None:
            raise ValueError("the configuration is not resolved: call resolve(channels) first")
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        decay = math.ceil(self.steps * self.decay_fraction)
        fall = min(1.0, (self.steps - step) / decay) if decay else 1.0
        return self.learning_rate * rise * fall

    def as_dict(self) -> dict[str, Any]:
        """List the settings, as JSON holds them.

        Examples
        --------
        >>> TrainConfig(**TrainConfig(k=3).as_dict()) == TrainConfig(k=3)
        True
        """
        return dataclasses.asdict(self)


def _shares(value: object) -> tuple[float, ...]:
    """Read the matryoshka's shares, which a TOML file gives as a list."""
    shares = tuple(value) if isinstance(value, list | tuple) else (value,)
    rising = list(zip((0.0, *shares), (*shares, 1.0), strict=True))
    for low, high in rising:
        if not isinstance(high, int | float) or not low < high:
            raise ValueError(f"matryoshka must be shares that rise between 0 and 1, got {value!r}")
    return shares


def _at_least(name: str, value: float | None, low: float) -> None:
    if value is not None and not value >= low:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def _check_type(name: str, kind: object, value: object) -> None:
    """Refuse what a recipe may hold by mistake, such as ``k = "30"``."""
    kinds = get_args(kind) or (kind,)
    if value is None and type(None) in kinds:
        return
    # A field that takes whole and other numbers is checked as one that takes numbers.
    allowed, what = _TYPES.get(float if float in kinds else kinds[0], (str, "a word"))
    if not isinstance(value, allowed) or (isinstance(value, bool) and allowed is not bool):
        raise ValueError(f"{name} must be {what}, got {value!r}")

"""The network of Borzoi as a chain of steps, so that it can stop at a layer and go on from it.

    conv1d - pool - conv1d_1 - ... - conv1d_5 - pool - conv1d_6 - pool - transformer blocks
                                        |                 |                    |
                                        |                 +---- separable1 ----+
                                        +---------------------- separable0 ----+
                                                  final_joined_convs - head

A layer named ``conv1d_k`` is the raw output of a convolution, before the pool, the norm and the
activation that follow it, as in the paper (Linder et al. 2025; names of the Keras model). The
other layers are what the module of that name returns; ``final_joined_convs`` is activated.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from saers.models.borzoi.attention import RelativeAttention, RotaryAttention
from saers.models.borzoi.config import BorzoiConfig

_EPSILON = 1e-3  # of all norms, as in the Keras model


# Tensors are (b, channels, positions), but channels last in memory: on a CPU convolutions are half
# again as fast so. PyTorch does that for images alone, hence the dimension of height 1.


class State(NamedTuple):
    """What has been computed up to a layer."""

    values: torch.Tensor
    """(b, channels, positions) of the layer."""
    by_passes: tuple[torch.Tensor, ...] = ()
    """The layers at strides 32 and 64, once they are computed and until they are used."""
    cut: int = 0
    """Bins of 32 bp that are left out of all of them at either end, behind the transformer."""


class _Convolution(nn.Module):
    """Norm, activation, convolution; the convolution's raw output is what comes out."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs, eps=_EPSILON)
        self.conv_layer = nn.Conv1d(inputs, outputs, width, padding=width // 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        normed = F.batch_norm(
            values.unsqueeze(2), norm.running_mean, norm.running_var, norm.weight, norm.bias,
            training=self.training, momentum=norm.momentum or 0.0, eps=norm.eps,
        )  # fmt: skip
        return _convolved(self.conv_layer, _activated(normed.squeeze(2)))


class _Separable(nn.Module):
    """A convolution of each channel by itself, then one of width 1 over all."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        each = nn.Conv1d(channels, channels, width, padding=width // 2, groups=channels, bias=False)
        self.conv_layer = nn.Sequential(each, nn.Conv1d(channels, channels, 1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        each, across = self.conv_layer
        return _convolved(across, _convolved(each, values))


class _Residual(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Sequential(*parts)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = values + self.fn(values)
        return added


def _block(config: BorzoiConfig) -> nn.Sequential:
    """One block of the transformer; dropouts, which do nothing here, hold their numbers."""
    dim = config.dim
    attention: nn.Module
    if config.rotary:
        attention = RotaryAttention(dim, heads=config.heads)
    else:
        sizes = {"heads": config.heads, "key": config.key, "value": config.value}
        attention = RelativeAttention(dim, features=config.position_features, **sizes)
    wide, narrow = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
    norms = [nn.LayerNorm(dim, eps=_EPSILON) for _ in range(2)]
    return nn.Sequential(
        _Residual(norms[0], attention),
        _Residual(norms[1], wide, nn.Identity(), nn.ReLU(), narrow),
    )


class Borzoi(nn.Module):
    """The network: (b, 4, length) to (b, tracks, bins).

    Examples
    --------
    >>> small = BorzoiConfig(
    ...     stem=8, tower=(8, 8, 8, 8, 8), dim=16, depth=1, heads=2, key=4, value=8, head=8,
    ...     tracks=(("human", 5),), bins=16,
    ... )
    >>> Borzoi(small).eval()(torch.zeros(1, 4, 1024)).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, config: BorzoiConfig) -> None:
        super().__init__()
        self.config = config
        stem = nn.Conv1d(4, config.stem, config.stem_kernel, padding=config.stem_kernel // 2)
        self.conv_dna = nn.ModuleDict({"conv_layer": stem})
        widths, kernel = (config.stem, *config.tower), config.kernel
        # The pools between them, which have no weights, hold the odd numbers.
        self.res_tower = nn.ModuleDict(
            {
                str(2 * i): _Convolution(widths[i], widths[i + 1], kernel)
                for i in range(len(config.tower))
                if f"conv1d_{i + 1}" in config.layers
            }
        )
        if f"conv1d_{len(config.tower) + 1}" in config.layers:
            self.unet1 = nn.ModuleDict({"1": _Convolution(widths[-1], config.dim, kernel)})
        blocks = sum(layer.startswith("transformer.") for layer in config.layers)
        self.transformer = nn.ModuleList(_block(config) for _ in range(blocks))
        if "separable1" in config.layers:
            self._add_decoder(widths[-1])
        if config.upto is None:
            for species, tracks in config.tracks:
                self.add_module(f"{species}_head", nn.Conv1d(config.head, tracks, 1))

    def _add_decoder(self, deepest: int) -> None:
        config, dim = self.config, self.config.dim
        self.horizontal_conv1 = _Convolution(dim, dim, 1)
        self.upsampling_unet1 = nn.ModuleDict({"0": _Convolution(dim, dim, 1)})
        self.separable1 = _Separable(dim, config.separable_kernel)
        if "separable0" in config.layers:
            self.horizontal_conv0 = _Convolution(deepest, dim, 1)
            self.upsampling_unet0 = nn.ModuleDict({"0": _Convolution(dim, dim, 1)})
            self.separable0 = _Separable(dim, config.separable_kernel)
        if "final_joined_convs" in config.layers:
            self.final_joined_convs = nn.ModuleDict({"0": _Convolution(dim, config.head, 1)})

    def forward(self, onehot: torch.Tensor, species: str | None = None) -> torch.Tensor:
        """Compute the tracks of a species, that of the first head if none is named."""
        return self.outputs(self.advance(State(onehot), None, None, middle=True), species)

    def advance(
        self, state: State, after: str | None, upto: str | None, *, middle: bool = False
    ) -> State:
        """Compute on from one layer to another.

        Parameters
        ----------
        state
            What layer ``after`` gave; a one-hot sequence (b, 4, length) where that is None.
        after
            The layer that is there; None: the sequence.
        upto
            The layer that is wanted; None: the last.
        middle
            Behind the transformer compute only what the returned bins depend on.

        Examples
        --------
        >>> small = BorzoiConfig(stem=8, tower=(8, 8, 8, 8, 8), dim=16, depth=0, upto="conv1d_2")
        >>> network, onehot = Borzoi(small).eval(), State(torch.rand(1, 4, 256))
        >>> half_way = network.advance(onehot, None, "conv1d_1")
        >>> there = network.advance(half_way, "conv1d_1", "conv1d_2")
        >>> torch.equal(there.values, network.advance(onehot, None, "conv1d_2").values)
        True
        """
        layers = self.config.layers
        first = 0 if after is None else layers.index(after) + 1
        last = len(layers) if upto is None else layers.index(upto) + 1
        for layer in layers[first:last]:
            step = self._step(layer)
            # While norms are trained they take in what they see: all of it.
            if self.training or not layer.startswith("separable"):
                state = step(state)
            else:
                state = step(self._middle(state)) if middle else self._in_parts(step, state)
        return state

    def outputs(self, state: State, species: str | None = None) -> torch.Tensor:
        """Compute the tracks, (b, tracks, bins), from the last layer."""
        head = self.get_submodule(f"{species or self.config.tracks[0][0]}_head")
        return F.softplus(_convolved(head, state.values))

    def _step(self, layer: str) -> Callable[[State], State]:
        """Find what computes a layer from the one before it."""
        kind, _, number = layer.replace(".", "_").rpartition("_")
        if layer == "conv1d":
            return lambda state: State(_convolved(self.conv_dna["conv_layer"], state.values))
        if kind == "conv1d":
            return lambda state: self._convolve(state, int(number))
        if kind == "transformer":
            return lambda state: self._attend(state, int(number))
        return {
            "separable1": self._join_stride_64,
            "separable0": self._join_stride_32,
            "final_joined_convs": self._finish,
        }[layer]

    def _convolve(self, state: State, number: int) -> State:
        depth = len(self.config.tower)
        last = number == depth + 1
        block = self.unet1["1"] if last else self.res_tower[str(2 * (number - 1))]
        values = block(_pooled(state.values))
        return State(values, (*state.by_passes, values) if number >= depth else ())

    def _attend(self, state: State, number: int) -> State:
        values = state.values if number else _pooled(state.values)
        return state._replace(values=self.transformer[number](values.mT).mT)

    def _part(self, state: State, first: int, last: int) -> State:
        """Take a stretch of bins, behind the transformer."""
        bins = state.by_passes[0].shape[2]

        def some(values: torch.Tensor) -> torch.Tensor:
            return _stretch(values, *(place * values.shape[2] // bins for place in (first, last)))

        return State(some(state.values), tuple(map(some, state.by_passes)), state.cut + first)

    def _middle(self, state: State) -> State:
        """Leave out what no bin that is returned depends on, behind the transformer."""
        bins = state.by_passes[0].shape[2]
        more = self._outer(bins + 2 * state.cut) - state.cut
        return self._part(state, more, bins - more)

    def _in_parts(self, step: Callable[[State], State], state: State) -> State:
        """Compute a layer whole, its middle to the bit as where there is nothing but the middle."""
        bins = state.by_passes[0].shape[2]
        outer = self._outer(bins)
        if not outer:
            return step(self._middle(state))
        # At a stride of two bins a convolution reaches so far; what it makes of a part's own ends
        # is not kept.
        far = 2 * (self.config.separable_kernel // 2)
        inner = outer + far
        computed = ((0, outer + 2 * far), (outer, bins - outer), (bins - outer - 2 * far, bins))
        kept = ((0, inner), (inner, bins - inner), (bins - inner, bins))
        parts = []
        for (first, last), (start, end) in zip(computed, kept, strict=True):
            values = step(self._part(state, first, last)).values
            stride = (last - first) // values.shape[2]
            parts.append(values[..., (start - first) // stride : (end - first) // stride])
        return State(torch.cat(parts, dim=2), state.by_passes[:-1])

    def _outer(self, bins: int) -> int:
        """Count bins at either end that are not returned, nor stand beside such as are."""
        wanted = self._wanted(bins)
        # Convolutions at strides of one and two bins are between; four bins make a position.
        reach = 3 * (self.config.separable_kernel // 2)
        return max(0, (bins - wanted) // 2 - reach) // 4 * 4 if 0 < wanted <= bins else 0

    def _wanted(self, bins: int) -> int:
        return self.config.bins or bins - 2 * self.config.cropped

    def _join_stride_64(self, state: State) -> State:
        by_pass, other = state.by_passes
        # Without blocks, the layer before is the convolution that the first block would pool.
        values = state.values if self.config.depth else _pooled(state.values)
        up = _doubled(self.upsampling_unet1["0"](values))
        return State(self.separable1(up + self.horizontal_conv1(other)), (by_pass,), state.cut)

    def _join_stride_32(self, state: State) -> State:
        up = _doubled(self.upsampling_unet0["0"](state.values))
        joined = self.separable0(up + self.horizontal_conv0(state.by_passes[0]))
        return State(joined, (), state.cut)

    def _finish(self, state: State) -> State:
        bins = state.values.shape[2] + 2 * state.cut
        wanted = self._wanted(bins)
        if not 0 < wanted <= bins:
            stride = self.config.multiple // 4
            least = max(wanted, 1 + 2 * self.config.cropped * (self.config.bins is None)) * stride
            raise ValueError(
                f"the input has {bins} bins of {stride} bp and {wanted} are to be returned: "
                f"give at least {least:,} bp, or other bins"
            )
        first = (bins - wanted) // 2 - state.cut
        joined = self.final_joined_convs["0"](_stretch(state.values, first, first + wanted))
        return State(_activated(joined))


def _activated(values: torch.Tensor) -> torch.Tensor:
    return F.gelu(values, approximate="tanh")


def _convolved(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    layer = cast(nn.Conv1d, layer)
    kernel = layer.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    padding = (0, layer.kernel_size[0] // 2)
    image = F.conv2d(values.unsqueeze(2), kernel, layer.bias, padding=padding, groups=layer.groups)
    return image.squeeze(2)


def _pooled(values: torch.Tensor) -> torch.Tensor:
    """Take the greater of each two positions; several times as fast as a pool of images."""
    even = values.shape[2] // 2 * 2
    return torch.maximum(values[..., 0:even:2], values[..., 1:even:2])


def _stretch(values: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Cut positions out, channels last in memory."""
    return values[..., start:end].mT.contiguous().mT


def _doubled(values: torch.Tensor) -> torch.Tensor:
    return values.repeat_interleave(2, dim=2)

"""Stride and receptive window of a layer: by arithmetic, or by changing single bases.

The arithmetic follows the tensors of one forward pass through the operations that keep an
affine relation between a position and the input (convolutions, pools, padding, anything
elementwise, sums of branches). Where it meets any other operation it gives up, and
`perturbed_window` asks the model itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary


class Window(NamedTuple):
    """Position ``i`` sees the inputs ``stride * i - lo`` to ``stride * i + hi``, included."""

    stride: int
    lo: int
    hi: int


@dataclass(frozen=True)
class _Axis:
    """A window, and the dimension of the tensor that counts positions."""

    window: Window
    dim: int


# Names as the operations bear them, without underscores: relu, relu_ and Tensor.relu are one.
# fmt: off
_ELEMENTWISE = frozenset({
    "abs", "add", "batch_norm", "celu", "clamp", "clone", "contiguous", "detach", "div",
    "double", "dropout", "elu", "exp", "float", "gelu", "hardswish", "hardtanh", "iadd",
    "imul", "leaky_relu", "log", "log1p", "logsigmoid", "maximum", "minimum", "mish", "mul",
    "neg", "pow", "prelu", "radd", "relu", "relu6", "rmul", "rsub", "rtruediv", "selu",
    "sigmoid", "silu", "softplus", "sqrt", "square", "sub", "tanh", "to", "truediv", "where",
})
# fmt: on
_ARGUMENTS = {
    "conv1d": ("input", "weight", "bias", "stride", "padding", "dilation"),
    "max_pool1d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool1d": ("input", "kernel_size", "stride", "padding"),
    "pad": ("input", "pad", "mode", "value"),
    "transpose": ("input", "dim0", "dim1"),
}


class WindowTracer(TorchFunctionMode):
    """Follows receptive windows through a forward pass, while it is entered.

    Parameters
    ----------
    onehot
        The input of the network, each position of which sees itself.
    dim
        The dimension of ``onehot`` that counts positions.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(4, 2, 15, padding=7), torch.nn.MaxPool1d(2))
    >>> onehot = torch.zeros(1, 4, 32)
    >>> with WindowTracer(onehot, dim=2) as tracer:
    ...     out = net(onehot)
    >>> tracer.window(out, dim=2)
    Window(stride=2, lo=7, hi=8)
    """

    def __init__(self, onehot: torch.Tensor, *, dim: int) -> None:
        super().__init__()
        # None: depends on the input in a way that is not followed.
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._known[onehot] = _Axis(Window(1, 0, 0), dim)

    def window(self, tensor: torch.Tensor, *, dim: int) -> Window | None:
        """Return the window of a tensor, None where it could not be followed."""
        if tensor not in self._known:
            return None
        axis = self._known[tensor]
        return axis.window if axis is not None and axis.dim == dim % tensor.ndim else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run an operation and note the window of what it returns."""
        out = func(*args, **(kwargs or {}))
        sources = [tensor for tensor in _tensors((args, kwargs or {})) if tensor in self._known]
        if sources:
            axis = self._follow(func, args, kwargs or {}, sources)
            for tensor in _tensors(out):
                same = axis is not None and tensor.ndim > axis.dim
                self._known[tensor] = axis if same else None
        return out

    def _follow(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        sources: list[torch.Tensor],
    ) -> _Axis | None:
        """Work out the window of what an operation returns."""
        axes = [self._known[tensor] for tensor in sources]
        name = getattr(func, "__name__", "").strip("_")
        if any(axis is None for axis in axes):
            return None
        if name in _ELEMENTWISE:
            return _union(axes, [tensor.shape[axes[0].dim] for tensor in sources])
        if len(axes) != 1 or name not in _ARGUMENTS | {"permute": ()}:
            return None
        if name == "permute":
            order = args[1] if isinstance(args[1], tuple | list) else args[1:]
            order = [dim % sources[0].ndim for dim in order]
            return _Axis(axes[0].window, order.index(axes[0].dim))
        given = {**dict(zip(_ARGUMENTS[name], args, strict=False)), **kwargs}
        return _RULES[name](axes[0], given)


def _tensors(value: Any) -> list[torch.Tensor]:  # noqa: ANN401
    """Collect the tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _union(axes: list[_Axis], lengths: list[int]) -> _Axis | None:
    """Join branches that meet position by position."""
    if len({(axis.window.stride, axis.dim) for axis in axes}) > 1 or len(set(lengths)) > 1:
        return None
    lo = max(axis.window.lo for axis in axes)
    hi = max(axis.window.hi for axis in axes)
    return _Axis(Window(axes[0].window.stride, lo, hi), axes[0].dim)


def _slide(axis: _Axis, kernel: int, stride: int, padding: int, dilation: int) -> _Axis | None:
    """Apply a sliding window along the last of three dimensions."""
    if axis.dim != 2:
        return None
    step, lo, hi = axis.window
    after = dilation * (kernel - 1) - padding
    return _Axis(Window(step * stride, lo + step * padding, hi + step * after), 2)


def _int(value: Any) -> int:  # noqa: ANN401
    """Read an option that torch takes as a number or as a tuple of one."""
    return int(value[0] if isinstance(value, tuple | list) else value)


def _conv(axis: _Axis, given: Mapping[str, Any]) -> _Axis | None:
    kernel = given["weight"].shape[2]
    dilation = _int(given.get("dilation", 1))
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        padding = dilation * (kernel - 1) // 2 if padding == "same" else 0
    return _slide(axis, kernel, _int(given.get("stride", 1)), _int(padding), dilation)


def _pool(axis: _Axis, given: Mapping[str, Any]) -> _Axis | None:
    kernel = _int(given["kernel_size"])
    stride = given.get("stride")
    stride = _int(stride) if stride not in (None, (), []) else kernel
    return _slide(
        axis, kernel, stride, _int(given.get("padding", 0)), _int(given.get("dilation", 1))
    )


def _pad(axis: _Axis, given: Mapping[str, Any]) -> _Axis | None:
    pads = list(given["pad"])
    if axis.dim != 2 or given.get("mode", "constant") != "constant" or len(pads) != 2:
        return None
    step, lo, hi = axis.window
    return _Axis(Window(step, lo + step * pads[0], hi - step * pads[0]), 2)


def _transpose(axis: _Axis, given: Mapping[str, Any]) -> _Axis | None:
    first, second = (given[key] % 3 for key in ("dim0", "dim1"))
    if given["input"].ndim != 3:
        return None
    return _Axis(axis.window, {first: second, second: first}.get(axis.dim, axis.dim))


_RULES: dict[str, Callable[[_Axis, Mapping[str, Any]], _Axis | None]] = {
    "conv1d": _conv,
    "max_pool1d": _pool,
    "avg_pool1d": _pool,
    "pad": _pad,
    "transpose": _transpose,
}


def perturbed_window(
    run: Callable[[torch.Tensor], torch.Tensor],
    length: int,
    *,
    backgrounds: int = 16,
    seed: int = 0,
) -> Window:
    """Find stride and window of a layer by changing single bases of random sequences.

    A base ``p`` changes the positions from ``ceil((p - hi) / stride)`` to
    ``floor((p + lo) / stride)``; a few strides in the middle of the input tell all three. A
    max-pool or a ReLU can hide a change, so many backgrounds are tried, eight times as many
    where the answer is not regular.

    Parameters
    ----------
    run
        Computes the layer, (b, positions, channels), of one-hot sequences (b, length, 4).
    length
        Length of the input in bp.
    backgrounds
        Random sequences in the first attempt.
    seed
        Of the random sequences.

    Raises
    ------
    ValueError
        If the window is irregular or reaches the ends of the input.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(4, 8, 5, padding=2), torch.nn.MaxPool1d(2))
    >>> perturbed_window(lambda x: net(x.transpose(1, 2)).transpose(1, 2), 40)
    Window(stride=2, lo=2, hi=3)
    """
    n_positions = run(torch.zeros(1, length, 4)).shape[1]
    span = 4 * -(-length // n_positions) + 2
    if span > length or n_positions < 4:
        raise ValueError(f"{n_positions} positions over {length} bp are too few to find a window")
    bases = np.arange((length - span) // 2, (length - span) // 2 + span)
    generator = np.random.default_rng(seed)
    low = np.full(span, n_positions)
    high = np.full(span, -1)
    reason = ""
    for attempt in range(8):
        for _ in range(backgrounds):
            changed = _changed(run, length, bases, generator)
            any_changed = changed.any(axis=1)
            first = np.where(any_changed, changed.argmax(axis=1), n_positions)
            last = n_positions - 1 - changed[:, ::-1].argmax(axis=1)
            low = np.minimum(low, first)
            high = np.maximum(high, np.where(any_changed, last, -1))
        if (high < 0).all() and attempt:
            raise ValueError("no single base changes the layer")
        if low.min() == 0 or high.max() == n_positions - 1:
            raise ValueError(f"a position sees up to the ends of the input ({length} bp)")
        found, reason = _fit(bases, low, high)
        if found is not None:
            return found
    raise ValueError(reason)


def _changed(
    run: Callable[[torch.Tensor], torch.Tensor],
    length: int,
    bases: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Tell which positions (columns) change when each of the bases (rows) does."""
    background = generator.integers(4, size=length)
    mutated = np.repeat(background[None], len(bases), axis=0)
    rows = np.arange(len(bases))
    mutated[rows, bases] = (mutated[rows, bases] + generator.integers(1, 4, len(bases))) % 4
    eye = torch.eye(4)
    step = max(1, 2**20 // length)
    changed = []
    for first in range(0, len(bases), step):
        # The same row of a batch of the same size: what does not change is equal to the bit.
        batch = eye[torch.from_numpy(mutated[first : first + step])]
        reference = eye[torch.from_numpy(background)].expand(len(batch), -1, -1).contiguous()
        changed.append((run(batch) != run(reference)).any(dim=2).cpu().numpy())
    return np.concatenate(changed)


def _fit(
    bases: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> tuple[Window | None, str]:
    """Fit stride and window to the first and last position that each base changes."""
    steps = bases[1:][np.diff(high) != 0]
    strides = np.unique(np.diff(steps))
    if len(strides) != 1:
        return None, f"positions are not evenly spaced (distances {strides.tolist()} bp)"
    stride = int(strides[0])
    lo = int((stride * high - bases).max())
    hi = int((bases - stride * low).max())
    regular = (high == (bases + lo) // stride).all() and (low == -((hi - bases) // stride)).all()
    if not regular:
        return None, f"positions see windows of different widths (stride {stride} bp)"
    return Window(stride, lo, hi), ""

"""What every stage asks of a sequence model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from saers.checks import did_you_mean
from saers.layer import LayerInfo

if TYPE_CHECKING:
    import torch


class Halves(NamedTuple):
    """A forward pass that stopped at a layer."""

    activations: "torch.Tensor"
    """(b, positions, channels), what the model itself gives."""
    outputs: Callable[["torch.Tensor"], "torch.Tensor"]
    """Goes on from activations to the outputs, (b, tracks, bins)."""


class NamedLayers(dict[str, LayerInfo]):
    """Layers by name, and by other names; of a name that none bears the nearest are told.

    Parameters
    ----------
    infos
        The layers.
    others
        Further names -> names.

    Examples
    --------
    >>> layers = NamedLayers({"conv": LayerInfo("conv", 3, 1, 2, 2)}, {"stem.0": "conv"})
    >>> layers["stem.0"].name
    'conv'
    >>> layers["cnov"]
    Traceback (most recent call last):
    ...
    ValueError: no layer 'cnov'; did you mean 'conv'?; layers: conv
    """

    def __init__(
        self, infos: Mapping[str, LayerInfo], others: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(infos)
        self._others = others or {}

    def __missing__(self, name: str) -> LayerInfo:
        if self._others.get(name) in self:
            return self[self._others[name]]
        hint = did_you_mean(name, [*self, *self._others], most=3)
        raise ValueError(f"no layer {name!r}{hint}; layers: {', '.join(self)}")


@runtime_checkable
class SequenceModel(Protocol):
    """A trained model that reads DNA, can stop at a layer and can go on from it.

    Sequences are float32 tensors (b, length, 4), one-hot in the order of ``alphabet``, with a
    row of zeros for N.

    A model may have more: ``n_positions(layer, length)``, which spares a pass that counts them;
    ``halves(onehot, layer)``, `Halves` that cost less than a whole pass for each output; and
    ``places(onehot)`` where its positions are tokens (`LayerInfo.tokens`).
    """

    @property
    def input_length(self) -> int | None:
        """Length of the input in bp; None: any."""

    @property
    def alphabet(self) -> str:
        """Order of the four bases, "ACGT"."""

    @property
    def layers(self) -> Mapping[str, LayerInfo]:
        """Layers that can be captured; a value may be worked out when it is asked for."""

    def capture(self, onehot: "torch.Tensor", layer: str) -> "torch.Tensor":
        """Compute a layer, (b, positions, channels), and nothing behind it."""

    def run_from(
        self, layer: str, activations: "torch.Tensor", *, onehot: "torch.Tensor | None" = None
    ) -> Any:  # noqa: ANN401
        """Compute the outputs from a layer's activations, (b, positions, channels).

        ``onehot`` is the sequence for whatever by-passes the layer.
        """

    def __call__(self, onehot: "torch.Tensor") -> Any:  # noqa: ANN401
        """Compute the outputs."""


class Piece(NamedTuple):
    """Consecutive positions of a layer."""

    layer: str
    first: int
    """Position of the first of them in the window."""
    values: "torch.Tensor"
    """(b, n, channels) in float32."""


@runtime_checkable
class PiecewiseModel(SequenceModel, Protocol):
    """A model that computes several layers in one pass and gives them piece by piece."""

    def pieces(
        self,
        onehot: "torch.Tensor",
        layers: Sequence[str],
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[Piece]:
        """Compute what `capture` gives of some stretches of a window, and little beside them.

        Parameters
        ----------
        onehot
            (b, length, 4), the whole windows.
        layers
            The layers.
        spans
            Stretches (start, end) in bp of the window whose positions are wanted, multiples of
            the layers' strides; None: all. Each layer's pieces come span after span, within a
            span by rising positions, and none reaches over the end of its span.
        """

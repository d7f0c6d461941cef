"""What every stage asks of a sequence model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from saers.layer import LayerInfo

if TYPE_CHECKING:
    import torch


@runtime_checkable
class SequenceModel(Protocol):
    """A trained model that reads DNA, can stop at a layer and can go on from it.

    Sequences are float32 tensors (b, length, 4), one-hot in the order of ``alphabet``, with a
    row of zeros for N.
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

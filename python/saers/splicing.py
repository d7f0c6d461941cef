"""Put something else in a layer's place and let the model go on to its outputs.

What every question about an autoencoder and its model starts from: the model runs up to the
layer once, and from there as often as there is something to put in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saers.layer import LayerInfo
from saers.models.base import Halves, SequenceModel

if TYPE_CHECKING:
    import torch

    from saers.sae.module import SAE


@dataclass(frozen=True)
class Splice:
    """A whole model, and the autoencoder of one of its layers.

    Raises
    ------
    ValueError
        If the autoencoder is another layer's.
    """

    model: SequenceModel
    """The whole model."""
    sae: "SAE"
    """The autoencoder of the layer."""
    layer: str
    """Name of the layer."""

    def __post_init__(self) -> None:
        def same(one: str, other: str) -> bool:
            return same_layer(self.model, one, other)

        check_layer(self.sae, self.model.layers[self.layer], same=same)

    def halves(self, onehot: "torch.Tensor") -> Halves:
        """Run the model up to the layer, and keep what it takes to go on.

        Borzoi runs up to the layer once; other modules are run whole each time, with the layer's
        output replaced.

        Parameters
        ----------
        onehot
            (b, length, 4) sequences.
        """
        model, layer = self.model, self.layer
        own = getattr(model, "halves", None)
        if own is not None:
            found: Halves = own(onehot, layer)
            return found
        return Halves(
            model.capture(onehot, layer),
            lambda activations: outputs_of(model.run_from(layer, activations, onehot=onehot)),
        )


def check_layer(
    sae: "SAE",
    layer: LayerInfo,
    *,
    same: Callable[[str, str], bool] = str.__eq__,
    what: str = "the autoencoder",
) -> None:
    """Require that an autoencoder belongs to a layer: by its channels, and by name where known.

    Parameters
    ----------
    sae
        The autoencoder.
    layer
        The layer.
    same
        Tells whether two names mean one layer.
    what
        What the message calls the autoencoder.

    Raises
    ------
    ValueError
        Naming both layers.
    """
    if sae.channels != layer.channels:
        raise ValueError(
            f"{what} takes {sae.channels} channels, layer {layer.name!r} has {layer.channels}"
        )
    own = sae.metadata.get("hook_name")  # SAELens's word for the layer
    if own and not same(own, layer.name):
        raise ValueError(f"{what} was trained on layer {own!r}, not on {layer.name!r}")


def same_layer(model: SequenceModel, one: str, other: str) -> bool:
    """Tell whether two names mean one layer of a model."""
    try:
        return one == other or model.layers[one].name == model.layers[other].name
    except (KeyError, ValueError):
        return False


def outputs_of(outputs: Any) -> "torch.Tensor":  # noqa: ANN401
    """Require outputs by track and bin; a model of one bin may leave the bins out."""
    import torch

    if isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
        return outputs[:, :, None]
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 3:
        raise ValueError("the model's outputs must be a tensor (b, tracks, bins)")
    return outputs

"""Size of a Borzoi network, read from the shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOWER = re.compile(r"res_tower\.(\d+)\.conv_layer\.weight")
_BLOCK = re.compile(r"transformer\.(\d+)\.")
_CROPPED = 16  # bins that are cut off at either end where nothing else is said

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BorzoiConfig:
    """Size of the network; the defaults are those of Borzoi with the human head.

    Examples
    --------
    >>> BorzoiConfig().layers[:3]
    ('conv1d', 'conv1d_1', 'conv1d_2')
    >>> BorzoiConfig(heads=5)
    Traceback (most recent call last):
    ...
    ValueError: heads must divide dim (1536), got 5
    """

    stem: int = 512
    """Filters of the first convolution."""

    stem_kernel: int = 15
    """Its width."""

    tower: tuple[int, ...] = (608, 736, 896, 1056, 1280)
    """Channels of the convolutions behind it, each after a max-pool of 2."""

    kernel: int = 5
    """Their width."""

    dim: int = 1536
    """Channels of the last convolution and of the transformer."""

    depth: int = 8
    """Transformer blocks."""

    heads: int = 8
    """Attention heads."""

    key: int = 64
    """Size of a key."""

    value: int = 192
    """Size of a value."""

    position_features: int = 32
    """Features of a relative position."""

    rotary: bool = False
    """Rotary positions and half as many heads for keys and values, as in Flashzoi."""

    separable_kernel: int = 3
    """Width of the separable convolutions."""

    head: int = 1920
    """Channels that the heads read."""

    tracks: tuple[tuple[str, int], ...] = (("human", 7611),)
    """Species and number of tracks of each head."""

    bins: int | None = 6144
    """Bins of 32 bp in the middle that are returned; None: all but 16 at either end."""

    upto: str | None = None
    """Last layer of a truncated network; None: the whole."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"heads must divide dim ({self.dim}), got {self.heads}")
        if self.position_features % 2:
            raise ValueError(f"position_features must be even, got {self.position_features}")
        if self.upto is not None and self.upto not in self.all_layers:
            raise ValueError(f"upto must be one of {', '.join(self.all_layers)}, got {self.upto!r}")

    @property
    def all_layers(self) -> tuple[str, ...]:
        """Names of the layers of the whole network, in the order in which they are computed."""
        convolutions = ["conv1d", *(f"conv1d_{i}" for i in range(1, len(self.tower) + 2))]
        blocks = [f"transformer.{i}" for i in range(self.depth)]
        return (*convolutions, *blocks, "separable1", "separable0", "final_joined_convs")

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of them that this network has."""
        if self.upto is None:
            return self.all_layers
        return self.all_layers[: self.all_layers.index(self.upto) + 1]

    @property
    def multiple(self) -> int:
        """Base pairs of which the length of an input must be a multiple."""
        return int(2 ** (len(self.tower) + 2))

    @property
    def cropped(self) -> int:
        """Bins cut off at either end where the number of returned ones is not fixed."""
        return _CROPPED


def aliases(config: BorzoiConfig) -> dict[str, str]:
    """Map the names that modules have in PyTorch to the names of the layers they compute.

    Examples
    --------
    >>> aliases(BorzoiConfig())["res_tower.2.conv_layer"]
    'conv1d_2'
    """
    paths = {"conv_dna.conv_layer": "conv1d"}
    for number in range(len(config.tower)):
        paths[f"res_tower.{2 * number}"] = f"conv1d_{number + 1}"
    last = f"conv1d_{len(config.tower) + 1}"
    paths |= {"unet1": last, "unet1.1": last}
    blocks = {f"{path}.conv_layer": name for path, name in paths.items() if path != "unet1"}
    del blocks["conv_dna.conv_layer.conv_layer"]
    return paths | blocks


def infer_config(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> BorzoiConfig:
    """Find the size of a network from the shapes of its tensors.

    Parameters
    ----------
    shapes
        Name of each tensor -> its shape.
    settings
        config.json: the fields ``bins_to_return``, ``return_center_bins_only`` and
        ``truncated_to`` cannot be seen in shapes; ``heads`` only without rotary positions. For
        the parts that a truncated network lacks, ``dim`` and ``depth`` are read as well.

    Raises
    ------
    ValueError
        If a tensor that every Borzoi has is missing.
    """
    convolution = "conv_dna.conv_layer.weight"
    if convolution not in shapes:
        raise ValueError(f"no tensor {convolution!r}: not the weights of Borzoi")
    found: dict[str, Any] = {"stem": shapes[convolution][0], "stem_kernel": shapes[convolution][2]}
    found |= _trunk(shapes, settings) | _attention(shapes, settings) | _ends(shapes)
    centre = settings.get("return_center_bins_only", True)
    found["bins"] = int(settings.get("bins_to_return", BorzoiConfig.bins)) if centre else None
    return BorzoiConfig(**found, upto=settings.get("truncated_to"))


def _trunk(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Find the convolutions of the tower, and the depth."""
    numbers = sorted(int(match[1]) for name in shapes if (match := _TOWER.fullmatch(name)))
    weights = [shapes[f"res_tower.{number}.conv_layer.weight"] for number in numbers]
    tower = tuple(weight[0] for weight in weights)
    if "truncated_to" in settings:  # the rest of the tower is told, not seen
        tower += tuple(settings.get("tower", BorzoiConfig.tower))[len(tower) :]
    blocks = {int(match[1]) for name in shapes if (match := _BLOCK.match(name))}
    last = shapes.get("unet1.1.conv_layer.weight")
    kernel = {"kernel": weights[0][2]} if weights else {}
    return {
        "tower": tower,
        "dim": last[0] if last else int(settings.get("dim", BorzoiConfig.dim)),
        "depth": max(len(blocks), int(settings.get("depth", 0)))
        if "truncated_to" in settings
        else len(blocks),
        **kernel,
    }


def _attention(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Find the sizes of the transformer's first block, which all others share."""
    place = "transformer.0.0.fn.1."
    if f"{place}mha.Wqkv.weight" in shapes or settings.get("flashed"):
        return {"rotary": True, "heads": int(settings.get("heads", BorzoiConfig.heads))}
    if f"{place}rel_content_bias" not in shapes:
        return {"heads": int(settings.get("heads", BorzoiConfig.heads))}
    _, heads, _, key = shapes[f"{place}rel_content_bias"]
    return {
        "heads": heads,
        "key": key,
        "value": shapes[f"{place}to_v.weight"][0] // heads,
        "position_features": shapes[f"{place}to_rel_k.weight"][1],
    }


def _ends(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Find what stands behind the transformer."""
    found: dict[str, Any] = {}
    if "separable1.conv_layer.0.weight" in shapes:
        found["separable_kernel"] = shapes["separable1.conv_layer.0.weight"][2]
    if "final_joined_convs.0.conv_layer.weight" in shapes:
        found["head"] = shapes["final_joined_convs.0.conv_layer.weight"][0]
    species = ("human", "mouse")
    heads = [(name, shapes.get(f"{name}_head.weight")) for name in species]
    return found | {"tracks": tuple((name, shape[0]) for name, shape in heads if shape)}

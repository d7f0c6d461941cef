"""Every position through the autoencoder, once, on one strand or on both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from saers.checks import in_range, one_of
from saers.code_files import CodesWriter, Places, write_codes
from saers.codes import Codes, TopSeqlets, combined
from saers.layer import ActivationSource, StreamedSource, Tile, tiles_of
from saers.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

Strands = Literal["forward", "mean", "max"]
STRANDS = ("forward", "mean", "max")


class Encoder(Protocol):
    """What is needed of an autoencoder."""

    @property
    def k(self) -> int:
        """Active features of a position."""

    def to(self, device: str | torch.device) -> object:
        """Move to a device."""

    def encode(self, x: torch.Tensor) -> Codes:
        """Encode (n, channels) activations."""


def encode_source(
    sae: Encoder,
    source: ActivationSource,
    top: TopSeqlets,
    *,
    windows: Sequence[int] | None = None,
    strands: Strands = "forward",
    batch_size: int = 8192,
    device: str | torch.device | None = None,
    codes_path: str | Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Encode every usable position once and feed the codes to ``top``.

    Masked positions are not encoded; they come with activations of 0. Of a model, activations
    are encoded piece by piece as they are made.

    Parameters
    ----------
    sae
        The autoencoder.
    source
        Activations of a layer.
    top
        Keeps the best seqlets; nothing else of the codes stays in memory.
    windows
        Numbers of the windows to encode; default: all.
    strands
        "forward"; or "mean" or "max": the model reads the reverse complement of every window
        as well, and a feature has at a position the mean or the greater of its activations on
        the two strands. (Channels are never averaged: a channel means on one strand not what it
        means on the other.) Codes then have room for 2 k features.
    batch_size
        Positions to encode at a time.
    device
        Where to encode; the autoencoder is moved there. Default: the CPU, where it must be.
    codes_path
        Also write all codes to this file (`saers.code_files.write_codes`).
    progress
        Is told of the windows done.

    Returns
    -------
    int
        Number of positions encoded.

    Raises
    ------
    ValueError
        If an activation of a feature is NaN or infinite, or both strands are wanted of a source
        that has one, or whose positions do not see the same bases on both.

    Examples
    --------
    >>> import torch
    >>> import polars as pl
    >>> from saers.layer import ActivationBlock, LayerInfo
    >>> class Identity:
    ...     k = 1
    ...     def encode(self, x):
    ...         values, indices = x.topk(1)
    ...         return Codes(indices, values)
    >>> class Source:
    ...     layer, n_positions = LayerInfo("conv", 2, 1, 0, 0), 2
    ...     windows = pl.DataFrame({"window": [0]})
    ...     def blocks(self, *, windows=None):
    ...         values = np.array([[[1, 0], [0, 3]]], dtype=np.float32)
    ...         yield ActivationBlock(np.array([0]), values, np.array([[True, True]]))
    >>> top = TopSeqlets(2, per_window=1, per_feature=1, min_distance=1)
    >>> encode_source(Identity(), Source(), top)
    2
    >>> top.finish().select("feature", "position", "activation").rows()
    [(0, 0, 1.0), (1, 1, 3.0)]
    """
    in_range("batch_size", batch_size, 1, 2**31)
    one_of("strands", strands, STRANDS)
    watcher = SILENT if progress is None else progress
    watcher.start("encode", source.windows.height if windows is None else len(windows))
    if device is not None:
        sae.to(device)
    encoded, width = 0, sae.k
    found = _encoded(sae, source, windows, batch_size, device)
    if strands != "forward":
        found, width = _both(found, sae, source, windows, batch_size, device, strands), 2 * sae.k
    with _codes_writer(codes_path, top.n_features, source, width) as writer:
        for numbers, codes, usable in found:
            top.update(numbers, codes.indices, codes.values)
            if writer is not None:
                writer.append(numbers, codes)
            encoded += usable
            watcher.advance(len(numbers))
    return encoded


class _Encoded(NamedTuple):
    """Codes of whole windows."""

    windows: npt.NDArray[np.int64]
    codes: Codes
    usable: int


def _encoded(
    sae: Encoder,
    source: ActivationSource,
    windows: Sequence[int] | None,
    batch_size: int,
    device: str | torch.device | None,
) -> Iterator[_Encoded]:
    """Encode windows, from whatever pieces they come in."""
    parts: list[Codes] = []
    usable = 0
    for tile in tiles_of(source, windows):
        parts.append(_encode_tile(sae, tile, batch_size, device))
        usable += tile.values.shape[0] * tile.values.shape[1]
        usable -= 0 if tile.mask is None else int((~tile.mask).sum())
        if tile.first_position + tile.values.shape[1] == source.n_positions:
            joined = (
                parts[0]
                if len(parts) == 1
                else Codes(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))
            )
            yield _Encoded(tile.windows, joined, usable)
            parts, usable = [], 0


def _both(
    forward: Iterator[_Encoded],
    sae: Encoder,
    source: ActivationSource,
    windows: Sequence[int] | None,
    batch_size: int,
    device: str | torch.device | None,
    how: Literal["mean", "max"],
) -> Iterator[_Encoded]:
    """Encode both strands of windows, and combine what they have at the same place."""
    if not isinstance(source, StreamedSource):
        raise ValueError(
            f"strands must be forward, got {how!r}: the source holds one strand; encode from the "
            "model itself"
        )
    _require_mirrored(source)
    backward = _encoded(sae, source.reverse(), windows, batch_size, device)
    for here, there in zip(forward, backward, strict=True):
        turned = Codes(*(array[:, ::-1] for array in there.codes))
        yield here._replace(codes=combined(here.codes, turned, how))


def _require_mirrored(source: ActivationSource) -> None:
    """Require that the i-th last position of the other strand sees what position i sees."""
    layer, n_positions = source.layer, source.n_positions
    length = int((source.windows["end"] - source.windows["start"])[0])
    shift = length - 1 - layer.stride * (n_positions - 1) - (layer.window_hi - layer.window_lo)
    if shift:
        raise ValueError(
            f"strands must be forward for layer {layer.name!r}: its positions do not see the same "
            f"bases on both strands, but bases that lie {abs(shift)} bp apart"
        )


def _codes_writer(
    path: str | Path | None, n_features: int, source: ActivationSource, k: int
) -> AbstractContextManager[CodesWriter | None]:
    if path is None:
        return nullcontext()
    places = Places(source.windows, source.layer)
    return write_codes(
        path, n_features=n_features, n_positions=source.n_positions, k=k, places=places
    )


def _encode_tile(
    sae: Encoder, tile: Tile, batch_size: int, device: str | torch.device | None
) -> Codes:
    """Encode the usable positions of a tile, the others get 0."""
    import torch

    from saers.sae.module import with_width

    shape = (*tile.values.shape[:2], sae.k)
    codes = Codes(np.zeros(shape, dtype=np.uint32), np.zeros(shape, dtype=np.float32))
    rows = tile.values.reshape(-1, tile.values.shape[-1])
    usable = np.arange(len(rows)) if tile.mask is None else np.flatnonzero(tile.mask)
    with torch.inference_mode():
        for first in range(0, len(usable), batch_size):
            chosen = usable[first : first + batch_size]
            found = sae.encode(torch.from_numpy(rows[chosen]).to(device))
            if found.values.shape[1] != sae.k:  # a threshold decides how many there are
                found = with_width(found, sae.k)
            codes.indices.reshape(-1, sae.k)[chosen] = found.indices.cpu().numpy()
            codes.values.reshape(-1, sae.k)[chosen] = found.values.cpu().numpy()
    return codes

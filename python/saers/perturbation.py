"""What a feature does to the outputs: change it, and let the model go on.

`effects` is causal: a feature's activation z becomes z', the layer's activations become
x + (z' - z) * W_dec[f], so that what the autoencoder does not explain stays (Templeton et al.
2024), and the model goes on to its outputs. `shuffle_seqlets` does as SAE-Borzoi does: it
shuffles the bases in the middle of a feature's seqlets.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import schema
from saers.checks import in_range, one_of
from saers.faithfulness import check_layer, halves, outputs_of, track_names
from saers.models.base import SequenceModel
from saers.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

    from saers.codes import Codes
    from saers.sae.module import SAE

_MOST_BYTES = 4 * 2**30
_INTERVAL = (2.5, 97.5)

Effects = npt.NDArray[np.float32]


class Edit(NamedTuple):
    """What becomes of a feature's activation z.

    Examples
    --------
    >>> Edit.parse("scale=2"), Edit.parse("ablate")
    (Edit(kind='scale', value=2.0), Edit(kind='ablate', value=0.0))
    """

    kind: Literal["ablate", "scale", "clamp"] = "ablate"
    """"ablate": 0; "scale": value times z; "clamp": value, wherever the layer has a position."""
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Edit":
        """Read "ablate", "scale=V" or "clamp=V"."""
        kind, _, value = text.partition("=")
        one_of("edit", kind, ("ablate", "scale", "clamp"))
        if (kind == "ablate") == bool(value):
            raise ValueError(f"edit must be ablate, scale=V or clamp=V, got {text!r}")
        try:
            return cls(kind, float(value or 0))  # type: ignore[arg-type]  # one_of has checked it
        except ValueError:
            raise ValueError(f"edit: the value must be a number, got {text!r}") from None


def steer(
    sae: "SAE", activations: "torch.Tensor", codes: "Codes", feature: int, edit: Edit
) -> "torch.Tensor":
    """Change one feature in place: x + (z' - z) * W_dec[feature].

    Parameters
    ----------
    sae
        The autoencoder.
    activations
        (n, channels) of the layer.
    codes
        Their codes, from ``sae.encode``.
    feature
        The feature.
    edit
        What becomes of it.

    Returns
    -------
    (n, channels). Positions where z' = z are as they were, to the bit.

    Examples
    --------
    >>> import torch
    >>> from saers.sae.module import SAE
    >>> sae = SAE(2, 2, k=1)
    >>> _ = sae.encoder.data.copy_(torch.eye(2)), sae.W_dec.data.copy_(torch.eye(2))
    >>> x = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    >>> steer(sae, x, sae.encode(x), 0, Edit("scale", 2.0)).tolist()
    [[6.0, 1.0], [0.0, 2.0]]
    """
    in_range("feature", feature, 0, sae.latents - 1)
    z = _activation(codes, feature)
    change = _changed(z, edit) - z
    moved = change.nonzero().squeeze(1)
    steered = activations.clone()
    if len(moved):
        steered[moved] += _decoded(sae, activations[moved], change[moved], feature)
    return steered


def effects(
    model: SequenceModel,
    sae: "SAE",
    layer: str,
    sequences: Iterable["torch.Tensor"],
    features: Sequence[int],
    *,
    edit: Edit = Edit(),  # noqa: B008 (a NamedTuple does not change)
    tracks: pl.DataFrame | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Measure what an edit of each feature does to each track.

    The model runs up to the layer once a window, and from there once for each feature that is
    active in it: where nothing is changed, nothing is run.

    Parameters
    ----------
    model
        The whole model.
    sae
        The autoencoder of the layer.
    layer
        Name of the layer.
    sequences
        Batches (b, length, 4), one-hot.
    features
        The features.
    edit
        What becomes of each, one at a time.
    tracks
        Columns ``name`` and ``assay``, a row for each track; None: tracks are numbered.
    n_bootstrap
        Resamplings of the windows behind the intervals.
    seed
        Seed of the resampling.
    progress
        Hears of every window.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.EFFECTS`, by feature and track. ``effect`` is the mean over bins and
        windows of changed less original output, ``log2_effect`` that of log2((changed + 1) /
        (original + 1)), which is null where outputs are below -1.

    Raises
    ------
    ValueError
        If a feature does not exist, or the matrix of effects does not fit into memory.
    """
    import torch

    check_layer(sae, model, layer)
    for feature in features:
        in_range("feature", feature, 0, sae.latents - 1)
    by_window: list[Effects] = []
    touched: list[npt.NDArray[np.bool_]] = []
    with torch.no_grad():
        for onehot in sequences:
            for window in torch.split(onehot, 1):
                found, active = _of_window(model, sae, layer, window, features, edit)
                by_window.append(found)
                touched.append(active)
                _check_size(found, len(by_window))
                progress.advance()
    if not by_window:
        raise ValueError("sequences must hold at least one batch, got none")
    return _effect_table(
        np.stack(by_window), np.stack(touched), features, tracks, (n_bootstrap, seed)
    )


def shuffle_seqlets(
    model: SequenceModel,
    sequences: Iterable["torch.Tensor"],
    *,
    width: int = 3,
    n_samples: int = 3,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[npt.NDArray[np.float32]]:
    """Shuffle the bases in the middle of windows and measure how far the outputs move.

    Parameters
    ----------
    model
        The whole model.
    sequences
        Windows (1, length, 4) with a seqlet in the middle, one-hot.
    width
        Bases that are shuffled among themselves.
    n_samples
        Shuffles of each window.
    seed
        Seed of the shuffles.
    progress
        Hears of every window.

    Yields
    ------
    (tracks,) for each window: logD2, the Euclidean length over bins of log2(shuffled + 1) -
    log2(original + 1), mean over the shuffles.
    """
    import torch

    rng = np.random.default_rng(seed)
    for onehot in sequences:
        first = (onehot.shape[1] - width) // 2
        middle = slice(first, first + width)
        with torch.no_grad():
            original = torch.log2(outputs_of(model(onehot)) + 1)
            moved = torch.zeros(original.shape[1])
            for _ in range(n_samples):
                changed = onehot.clone()
                changed[:, middle] = changed[:, middle][:, rng.permutation(width)]
                distance = torch.log2(outputs_of(model(changed)) + 1) - original
                moved += distance.square().sum(dim=2).sqrt()[0].cpu()
        progress.advance()
        yield (moved / n_samples).numpy()


def _of_window(
    model: SequenceModel,
    sae: "SAE",
    layer: str,
    onehot: "torch.Tensor",
    features: Sequence[int],
    edit: Edit,
) -> tuple[Effects, npt.NDArray[np.bool_]]:
    """Measure one window: (features, tracks, 2) effects, and which features were changed."""
    import torch

    half = halves(model, onehot, layer)
    rows = half.activations.flatten(0, 1).to(sae.W_dec)
    codes = sae.encode(rows)
    original = outputs_of(half.outputs(half.activations))
    found = np.zeros((len(features), original.shape[1], 2), np.float32)
    active = np.zeros(len(features), np.bool_)
    for number, feature in enumerate(features):
        z = _activation(codes, feature)
        if torch.equal(_changed(z, edit), z):
            continue
        steered = steer(sae, rows, codes, feature, edit).reshape(half.activations.shape)
        changed = outputs_of(half.outputs(steered.to(half.activations)))
        ratio = torch.log2((changed + 1) / (original + 1))
        both = torch.stack([(changed - original).mean(dim=2)[0], ratio.mean(dim=2)[0]], dim=1)
        found[number], active[number] = both.cpu().numpy(), True
    return found, active


def _activation(codes: "Codes", feature: int) -> "torch.Tensor":
    """Look up z of one feature, (n,); 0 where it was not among those kept."""
    values: torch.Tensor = (codes.values * (codes.indices == feature)).sum(dim=1)
    return values


def _changed(z: "torch.Tensor", edit: Edit) -> "torch.Tensor":
    if edit.kind == "scale":
        return z * edit.value
    return z.new_full(z.shape, edit.value if edit.kind == "clamp" else 0.0)


def _decoded(
    sae: "SAE", rows: "torch.Tensor", change: "torch.Tensor", feature: int
) -> "torch.Tensor":
    """Turn a change of z into one of the layer's activations, (n, channels)."""
    moved = change[:, None] * sae.W_dec[feature]
    entered = sae.enter(rows)
    if entered.deviation is None:
        return moved
    return moved * entered.deviation * sae.scale


def _check_size(found: Effects, n_windows: int) -> None:
    if found.nbytes * n_windows > _MOST_BYTES:
        raise ValueError(
            f"effects of {found.shape[0]} features on {found.shape[1]} tracks take more than "
            f"{_MOST_BYTES // 2**30} GiB after {n_windows} windows: "
            "ask for fewer features or windows"
        )


def _effect_table(
    by_window: Effects,
    touched: npt.NDArray[np.bool_],
    features: Sequence[int],
    tracks: pl.DataFrame | None,
    resampling: tuple[int, int],
) -> pl.DataFrame:
    """Lay out (windows, features, tracks, 2) effects, a row for each feature and track."""
    n_windows, _, n_tracks, _ = by_window.shape
    named = track_names(tracks, n_tracks)
    parts = []
    for number, feature in enumerate(features):
        values = by_window[:, number].astype(np.float64)
        low, high = _bootstrap(values[:, :, 0], *resampling)
        columns: dict[str, Any] = {
            "feature": np.full(n_tracks, feature),
            "track": np.arange(n_tracks),
            **named,
            "n_windows": np.full(n_tracks, n_windows),
            "n_active": np.full(n_tracks, touched[:, number].sum()),
            "effect": values[:, :, 0].mean(axis=0),
            "effect_low": low,
            "effect_high": high,
            "log2_effect": values[:, :, 1].mean(axis=0),
        }
        parts.append(pl.DataFrame(columns))
    table = pl.concat(parts).with_columns(pl.selectors.float().fill_nan(None))
    return schema.conform(table, schema.EFFECTS, table="effects").sort("feature", "track")


def _bootstrap(
    values: npt.NDArray[np.float64], n: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Resample windows: limits of the mean of (windows, tracks) values."""
    if n == 0:
        missing = np.full(values.shape[1], np.nan)
        return missing, missing
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=n)
    low, high = np.percentile(weights @ values / len(values), _INTERVAL, axis=0)
    return low, high

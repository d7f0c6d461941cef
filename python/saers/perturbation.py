"""What a feature does to the outputs: change it, and let the model go on.

`effects` is causal: a feature's activation z becomes z', the layer's activations become
x + (z' - z) * W_dec[f], so that what the autoencoder does not explain stays (Templeton et al.
2024), and the model goes on to its outputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from saers import schema
from saers.annotations import with_q_values
from saers.checks import in_range, one_of
from saers.progress import SILENT, Progress
from saers.splicing import Splice, outputs_of
from saers.tracks import chosen, label

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
    splice: Splice,
    sequences: Iterable["torch.Tensor"],
    features: Sequence[int],
    *,
    edit: Edit = Edit(),  # noqa: B008 (a NamedTuple does not change)
    tracks: pl.DataFrame | None = None,
    only: Sequence[int] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Measure what an edit of each feature does to each track.

    The model runs up to the layer once a window, and from there once for each feature that is
    active in it: where nothing is changed, nothing is run.

    Parameters
    ----------
    splice
        The model, the autoencoder and its layer.
    sequences
        Batches (b, length, 4), one-hot.
    features
        The features.
    edit
        What becomes of each, one at a time.
    tracks
        Columns ``name`` and ``assay``, a row for each track; None: tracks are numbered.
    only
        Numbers of the tracks that are kept; None: all.
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
        (original + 1)), which is null where outputs are below -1. ``p_value`` is that of a
        t-test over windows, which takes their effects for independent draws, and ``q_value``
        Benjamini-Hochberg's over the table; both are null where every window has one effect.

    Raises
    ------
    ValueError
        If a feature or a track does not exist, or the effects do not fit into memory.
    """
    import torch

    for feature in features:
        in_range("feature", feature, 0, splice.sae.latents - 1)
    by_window: list[Effects] = []
    touched: list[npt.NDArray[np.bool_]] = []
    with torch.no_grad():
        for onehot in sequences:
            for window in torch.split(onehot, 1):
                found, active = _of_window(splice, window, features, edit)
                kept = chosen(only, found.shape[1])
                named = label(tracks, found.shape[1])
                by_window.append(found[:, kept])
                touched.append(active)
                _check_size(by_window[-1], len(by_window))
                progress.advance()
    if not by_window:
        raise ValueError("sequences must hold at least one batch, got none")
    told = pl.DataFrame({"track": np.arange(len(named["name"])), **named})[kept]
    return _effect_table(
        np.stack(by_window), np.stack(touched), features, told, (n_bootstrap, seed)
    )


def by_bin(
    splice: Splice,
    onehot: "torch.Tensor",
    features: Sequence[int],
    *,
    edit: Edit = Edit(),  # noqa: B008 (a NamedTuple does not change)
    only: Sequence[int] | None = None,
) -> Effects:
    """Measure what an edit of each feature does to every track and bin of one window.

    Parameters
    ----------
    splice
        The model, the autoencoder and its layer.
    onehot
        (1, length, 4), the window.
    features
        The features.
    edit
        What becomes of each, one at a time.
    only
        Numbers of the tracks that are kept; None: all.

    Returns
    -------
    (features, tracks, bins) changed less original outputs; zeros where a feature is not active.

    Raises
    ------
    ValueError
        If a feature or a track does not exist, or there are several windows.
    """
    import torch

    in_range("windows", len(onehot), 1, 1)
    for feature in features:
        in_range("feature", feature, 0, splice.sae.latents - 1)
    with torch.no_grad():
        original, edited = _edited(splice, onehot, features, edit)
        kept = chosen(only, original.shape[1])
        found = np.zeros((len(features), len(kept), original.shape[2]), np.float32)
        for number, changed in edited:
            found[number] = (changed - original)[0, kept].cpu().numpy()
    return found


def _of_window(
    splice: Splice, onehot: "torch.Tensor", features: Sequence[int], edit: Edit
) -> tuple[Effects, npt.NDArray[np.bool_]]:
    """Measure one window: (features, tracks, 2) effects, and which features were changed."""
    import torch

    original, edited = _edited(splice, onehot, features, edit)
    found = np.zeros((len(features), original.shape[1], 2), np.float32)
    active = np.zeros(len(features), np.bool_)
    for number, changed in edited:
        ratio = torch.log2((changed + 1) / (original + 1))
        both = torch.stack([(changed - original).mean(dim=2)[0], ratio.mean(dim=2)[0]], dim=1)
        found[number], active[number] = both.cpu().numpy(), True
    return found, active


def _edited(
    splice: Splice, onehot: "torch.Tensor", features: Sequence[int], edit: Edit
) -> tuple["torch.Tensor", Iterator[tuple[int, "torch.Tensor"]]]:
    """Compute a window's outputs, and those with each feature edited that is active in it."""
    import torch

    sae, half = splice.sae, splice.halves(onehot)
    rows = half.activations.flatten(0, 1).to(sae.W_dec)
    codes = sae.encode(rows)

    def changed() -> Iterator[tuple[int, "torch.Tensor"]]:
        for number, feature in enumerate(features):
            z = _activation(codes, feature)
            if not torch.equal(_changed(z, edit), z):
                steered = steer(sae, rows, codes, feature, edit).reshape(half.activations.shape)
                yield number, outputs_of(half.outputs(steered.to(half.activations)))

    return outputs_of(half.outputs(half.activations)), changed()


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
    told: pl.DataFrame,
    resampling: tuple[int, int],
) -> pl.DataFrame:
    """Lay out (windows, features, tracks, 2) effects, a row for each feature and track."""
    n_windows = len(by_window)
    parts = []
    for number, feature in enumerate(features):
        values = by_window[:, number].astype(np.float64)
        low, high = interval_of_mean(values[:, :, 0], *resampling)
        part = told.with_columns(
            feature=pl.lit(feature),
            n_windows=pl.lit(n_windows),
            n_active=pl.lit(int(touched[:, number].sum())),
            effect=pl.Series(values[:, :, 0].mean(axis=0)),
            effect_low=pl.Series(low),
            effect_high=pl.Series(high),
            log2_effect=pl.Series(values[:, :, 1].mean(axis=0)),
            p_value=pl.Series(_p_values(values[:, :, 0])),
        )
        parts.append(part)
    table = with_q_values(pl.concat(parts).with_columns(pl.selectors.float().fill_nan(None)))
    return schema.conform(table, schema.EFFECTS, table="effects").sort("feature", "track")


def _p_values(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Test (windows, tracks) values for a mean of 0; NaN where they do not vary."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1], np.nan)
    spread = values.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(spread > 0, values.mean(axis=0) / (spread / np.sqrt(n)), np.nan)
    p: npt.NDArray[np.float64] = 2 * stats.t.sf(np.abs(t), n - 1)
    return p


def interval_of_mean(
    values: npt.NDArray[np.float64], n: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bound the mean of rows by resampling them: 95 % of ``n`` resamplings lie between.

    Parameters
    ----------
    values
        (rows, columns).
    n
        Resamplings; 0: both bounds are NaN.
    seed
        Seed of the resampling.

    Returns
    -------
    (columns,) lower and upper bounds.

    Examples
    --------
    >>> low, high = interval_of_mean(np.array([[1.0], [1.0]]), n=9, seed=0)
    >>> low.tolist(), high.tolist()
    ([1.0], [1.0])
    """
    if n == 0:
        missing = np.full(values.shape[1], np.nan)
        return missing, missing
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=n)
    low, high = np.percentile(weights @ values / len(values), _INTERVAL, axis=0)
    return low, high

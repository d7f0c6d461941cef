"""A feature's activations along the genome, as bigWig for a genome browser.

Each position of the layer covers ``stride`` bp, those in the middle of what it has seen, half a
base to the left where they must. Where windows overlap, a base has the highest activation of
the positions that cover it. Bases that no active position covers are left out: the feature is
silent there, or they were not encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from saers import FormatError, schema
from saers.code_files import feature_track, read_places
from saers.genome import Genome
from saers.layer import LayerInfo
from saers.store import atomic_path


def export_bigwig(
    codes: str | Path,
    features: Sequence[int],
    out: str | Path,
    *,
    chromosomes: Mapping[str, int] | Genome,
    windows: pl.DataFrame | None = None,
    layer: LayerInfo | None = None,
    names: Mapping[int, str] | None = None,
) -> list[Path]:
    """Write one bigWig a feature, of all positions in a file of codes.

    Parameters
    ----------
    codes
        File of codes.
    features
        Numbers of the features.
    out
        Folder of the files ``NAME.bw``, made where it is missing.
    chromosomes
        Lengths of the chromosomes, or the genome.
    windows, layer
        Table of windows (`schema.WINDOWS`) and the layer; default: those that the file of codes
        has kept.
    names
        Names of the features; default: ``n`` and the number.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of ``features``. A feature that is never active has one base of
        0, at the start of the first chromosome, since a bigWig cannot be empty.

    Raises
    ------
    ValueError
        If a feature does not exist, a window is not in the table, a chromosome is not in the
        genome, or the file of codes does not tell where its windows lie.
    saers.FormatError
        If the file of codes is damaged.

    Examples
    --------
    >>> from saers.code_files import write_codes
    >>> from saers.codes import Codes
    >>> folder = getfixture("tmp_path")
    >>> codes = Codes(np.array([[[1], [0], [1]]]), np.array([[[2.0], [1.0], [3.0]]]))
    >>> with write_codes(folder / "codes.h5", n_features=2, n_positions=3, k=1) as writer:
    ...     writer.append([0], codes)
    >>> windows = pl.DataFrame({"window": [0], "chrom": ["chr1"], "start": [10], "end": [16]})
    >>> layer = LayerInfo("conv", channels=8, stride=2, window_lo=0, window_hi=1)
    >>> [path] = export_bigwig(folder / "codes.h5", [1], folder, chromosomes={"chr1": 100},
    ...                        windows=windows, layer=layer)
    >>> import pybigtools
    >>> list(pybigtools.open(str(path)).records("chr1"))
    [(10, 12, 2.0), (14, 16, 3.0)]
    """
    lengths = chromosomes.chromosomes if isinstance(chromosomes, Genome) else dict(chromosomes)
    if not lengths:
        raise ValueError("chromosomes must hold at least one, got none")
    if windows is None or layer is None:
        places = read_places(codes)
        if places is None:
            raise ValueError(f"windows and layer are needed: {codes} does not tell its places")
        windows = places.windows if windows is None else windows
        layer = places.layer if layer is None else layer
    written = []
    for feature in features:
        intervals = signal(feature_track(codes, feature), windows, layer, lengths)
        path = Path(out) / f"{(names or {}).get(feature, f'n{feature}')}.bw"
        _write(path, intervals, lengths)
        written.append(path)
    return written


def signal(
    track: pl.DataFrame,
    windows: pl.DataFrame,
    layer: LayerInfo,
    chromosomes: Mapping[str, int],
) -> pl.DataFrame:
    """Lay a feature's track on the genome.

    Parameters
    ----------
    track
        Activations of the feature (`schema.FEATURE_TRACK`).
    windows
        Table of windows (`schema.WINDOWS`).
    layer
        The layer.
    chromosomes
        Lengths of the chromosomes; what lies beyond is cut off.

    Returns
    -------
    polars.DataFrame
        Columns of `schema.SIGNAL`: intervals that do not overlap, by chromosome in the order of
        ``chromosomes``, then by start; neighbours of one value are one interval.

    Raises
    ------
    ValueError
        If a window is not in ``windows`` or its chromosome not in ``chromosomes``, or the layer's
        positions are tokens.

    Examples
    --------
    >>> track = pl.DataFrame({"window": [0, 0, 1], "position": [0, 1, 0], "value": [1.0, 5.0, 3.0]})
    >>> windows = pl.DataFrame({"window": [0, 1], "chrom": ["chr1"] * 2, "start": [0, 3]})
    >>> layer = LayerInfo("conv", channels=8, stride=4, window_lo=0, window_hi=3)
    >>> signal(track, windows, layer, {"chr1": 100}).rows()
    [('chr1', 0, 3, 1.0), ('chr1', 3, 4, 3.0), ('chr1', 4, 8, 5.0)]
    """
    if layer.tokens:
        raise ValueError(f"positions of {layer.name!r} are tokens: a track of them has no places")
    shift = (layer.receptive_field - layer.stride) // 2 - layer.window_lo
    start = pl.col("window_start") + layer.stride * pl.col("position") + shift
    places = windows.select(
        pl.col("window").cast(pl.Int64), "chrom", pl.col("start").alias("window_start")
    )
    rows = schema.conform(track, schema.FEATURE_TRACK, table="track").join(
        places, on="window", how="left"
    )
    lost = rows.filter(pl.col("chrom").is_null())
    if lost.height:
        raise ValueError(f"windows must hold window {lost['window'][0]}, where the feature is")
    unknown = set(rows["chrom"].unique()) - set(chromosomes)
    if unknown:
        raise ValueError(f"chromosomes must hold {min(unknown)!r}, where a window lies")
    located = rows.select("chrom", start.alias("start"), "value").sort("start")
    groups = located.partition_by("chrom", as_dict=True)
    parts = [schema.empty(schema.SIGNAL)]
    for chrom, length in chromosomes.items():
        if (chrom,) in groups:
            group = groups[(chrom,)]
            frame = _highest(group["start"].to_numpy(), group["value"].to_numpy(), layer.stride)
            ends = pl.col("start", "end").clip(0, length)
            inside = frame.with_columns(ends, chrom=pl.lit(chrom)).filter(
                pl.col("start") < pl.col("end")
            )
            parts.append(schema.conform(inside, schema.SIGNAL, table="signal"))
    return pl.concat(parts)


def _highest(
    starts: npt.NDArray[np.int64], values: npt.NDArray[np.float32], width: int
) -> pl.DataFrame:
    """Cut intervals of one width, sorted by start, into pieces with the highest value there."""
    edges = np.unique(np.concatenate([starts, starts + width]))
    # The intervals that cover the piece from an edge on start at most a width before it.
    first = np.searchsorted(starts, edges[:-1] - width, side="right")
    last = np.searchsorted(starts, edges[:-1], side="right")
    covered = first < last
    bounds = np.stack([first[covered], last[covered]], axis=1).ravel()
    # The value behind the end is there so that `last` may stand at it.
    highest = np.maximum.reduceat(np.append(values, np.float32(0)), bounds)[::2]
    begin, end = edges[:-1][covered], edges[1:][covered]
    new = np.ones(len(begin), dtype=bool)
    new[1:] = (begin[1:] != end[:-1]) | (highest[1:] != highest[:-1])
    final = np.append(new[1:], True)
    return pl.DataFrame({"start": begin[new], "end": end[final], "value": highest[new]})


def _write(path: Path, intervals: pl.DataFrame, chromosomes: Mapping[str, int]) -> None:
    """Write intervals as a bigWig, whole or not at all."""
    import pybigtools

    rows = intervals.rows() or [(next(iter(chromosomes)), 0, 1, 0.0)]
    with atomic_path(path) as temporary:
        pybigtools.open(str(temporary), "w").write(dict(chromosomes), iter(rows))
        try:
            pybigtools.open(str(temporary)).close()  # the writer does not tell of its failures
        except pybigtools.BBIReadError as error:
            raise FormatError(f"{path}: pybigtools could not write it: {error}") from error

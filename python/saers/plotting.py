"""Sequence logos: SVG text for pages, matplotlib figures for papers.

The SVG needs no plotting library and no fonts. Letters are outlines in a unit square of
100 × 100, stretched to their height in bits, so that a logo looks the same in every program.
The atlas draws with the same outlines.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Matrix: TypeAlias = NDArray[Any] | Sequence[Sequence[float]]

BASES = "ACGT"

COLORS = {"A": "#2e9e4f", "C": "#2b6cdb", "G": "#f2a100", "T": "#d93a36"}

# Outlines by base; the counters of A are cut out by the even-odd rule.
GLYPHS = {
    "A": "M0 100L37 0H63L100 100H77L69 77H31L23 100ZM38 58H62L50 22Z",
    "C": (
        "M98 66C94 88 77 100 53 100C19 100 0 80 0 50C0 20 20 0 53 0C77 0 94 12 98 33"
        "L75 37C72 25 65 19 53 19C34 19 24 30 24 50C24 70 34 81 53 81C65 81 73 75 75 62Z"
    ),
    "G": (
        "M100 46V85C88 95 73 100 55 100C20 100 0 81 0 50C0 19 21 0 55 0C79 0 94 10 98 30"
        "L75 34C72 24 65 19 55 19C35 19 24 30 24 50C24 71 35 81 56 81C64 81 72 79 78 75"
        "V63H54V46Z"
    ),
    "T": "M0 0H100V19H61V100H39V19H0Z",
}


def letter_heights(matrix: Matrix, *, background: ArrayLike | None = None) -> NDArray[np.float64]:
    """Compute the height of every letter of a logo in bits.

    A column is as high as its information relative to the background, and its letters share
    that height by their probabilities.

    Parameters
    ----------
    matrix
        Probabilities, shape (width, 4), in ACGT order; rows are normalised.
    background
        Probabilities of the bases, shape (4,); uniform by default, and then no column exceeds
        2 bits.

    Returns
    -------
    numpy.ndarray
        Heights in bits, shape (width, 4).

    Examples
    --------
    >>> letter_heights([[1, 0, 0, 0], [0.5, 0.5, 0, 0]]).tolist()
    [[2.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]
    """
    probabilities = _probabilities("matrix", matrix)
    base = np.full(4, 0.25) if background is None else np.asarray(background, dtype=np.float64)
    if base.shape != (4,) or not (base > 0).all() or not np.isfinite(base).all():
        raise ValueError(f"background must hold 4 positive probabilities, got {base.tolist()}")
    ratio = np.where(probabilities > 0, probabilities / (base / base.sum()), 1.0)
    information = (probabilities * np.log2(ratio)).sum(axis=1, keepdims=True)
    # Rounding can leave a column of pure background just below zero.
    heights: NDArray[np.float64] = probabilities * np.maximum(information, 0.0)
    return heights


def logo_svg(
    matrix: Matrix,
    *,
    background: ArrayLike | None = None,
    height: float = 60.0,
    column_width: float | None = None,
    reverse: bool = False,
    title: str = "",
) -> str:
    """Draw a sequence logo.

    Parameters
    ----------
    matrix
        Probabilities, shape (width, 4), in ACGT order.
    background
        Probabilities of the bases, shape (4,), uniform by default.
    height
        Height of the picture, which stands for 2 bits (more where the background allows more),
        in pixels.
    column_width
        Width of a column in pixels, a third of the height by default.
    reverse
        Draw the reverse complement.
    title
        What a screen reader says, and a tooltip shows; the consensus by default.

    Returns
    -------
    str
        One ``<svg>`` element.

    Examples
    --------
    >>> svg = logo_svg([[1, 0, 0, 0], [0.5, 0, 0, 0.5]], height=30)
    >>> svg.count("<path"), "<title>AW</title>" in svg
    (3, True)
    """
    if not height > 0:
        raise ValueError(f"height must be above 0, got {height}")
    probabilities = _probabilities("matrix", matrix)
    if reverse:
        probabilities = probabilities[::-1, ::-1]
    bits = letter_heights(probabilities, background=background)
    step = height / 3 if column_width is None else column_width
    scale = height / max(2.0, float(bits.sum(axis=1).max(initial=0.0)))
    letters = [
        letter
        for column, heights in enumerate(bits)
        for letter in _column(heights * scale, left=column * step, step=step, bottom=height)
    ]
    size = f"{step * len(bits):g}", f"{height:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" role="img">'
        f"<title>{_escaped(title or consensus(probabilities))}</title>{''.join(letters)}</svg>"
    )


def logo_figure(
    matrix: Matrix,
    *,
    background: ArrayLike | None = None,
    title: str = "",
    ax: "Axes | None" = None,
) -> "Figure | SubFigure":
    """Draw a sequence logo as a matplotlib figure, through logomaker.

    Parameters
    ----------
    matrix
        Probabilities, shape (width, 4), in ACGT order.
    background
        Probabilities of the bases, shape (4,), uniform by default.
    title
        What stands above the logo.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes; ``figure.savefig("logo.pdf")`` writes it.

    Examples
    --------
    >>> figure = logo_figure([[1, 0, 0, 0], [0.5, 0, 0, 0.5]], title="AW")
    >>> figure.axes[0].get_ylabel()
    'bits'
    """
    import logomaker
    import pandas as pd
    from matplotlib.figure import Figure

    heights = letter_heights(matrix, background=background)
    if ax is None:
        # Not pyplot: a figure of its own needs no display and is freed with its last reference.
        ax = Figure(figsize=(0.35 * max(len(heights), 1) + 1, 1.6), layout="constrained").subplots()
    logomaker.Logo(pd.DataFrame(heights, columns=list(BASES)), ax=ax, color_scheme=COLORS)
    ax.set_ylim(0, max(2.0, float(heights.sum(axis=1).max(initial=0.0))))
    ax.set_ylabel("bits")
    ax.set_title(title)
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure


def consensus(matrix: Matrix) -> str:
    """Name each column by the IUPAC letter of the bases that reach half of its highest.

    Examples
    --------
    >>> consensus([[0.9, 0.1, 0, 0], [0.5, 0, 0.5, 0], [0.25, 0.25, 0.25, 0.25]])
    'ARN'
    """
    probabilities = _probabilities("matrix", matrix)
    likely = probabilities >= probabilities.max(axis=1, initial=0.0)[:, None] / 2
    return "".join("?ACMGRSVTWYHKDBN"[code] for code in likely @ (1, 2, 4, 8))


def _column(heights: NDArray[np.float64], *, left: float, step: float, bottom: float) -> list[str]:
    """Stack the letters of one column, the highest on top."""
    letters = []
    for base in np.argsort(heights, kind="stable"):
        tall = float(heights[base])
        if tall < 0.05:  # nothing that a screen can show
            continue
        bottom -= tall
        letters.append(
            f'<path fill="{COLORS[BASES[base]]}" fill-rule="evenodd" transform="translate('
            f"{left + step * 0.02:.4g} {bottom:.4g}) scale({step * 0.0096:.4g} "
            f'{tall / 100:.4g})" d="{GLYPHS[BASES[base]]}"/>'
        )
    return letters


def _probabilities(name: str, matrix: Matrix) -> NDArray[np.float64]:
    """Check a matrix of probabilities or counts and normalise its rows."""
    values = np.asarray(matrix, dtype=np.float64)
    if values.size == 0:
        return np.zeros((0, 4))
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"{name} must have shape (width, 4), got {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{name} must hold finite values of at least 0")
    total = values.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise ValueError(f"{name} has a column of zeros at {int((total == 0).argmax())}")
    normalised: NDArray[np.float64] = values / total
    return normalised


def _escaped(text: str) -> str:
    """Escape text for use between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

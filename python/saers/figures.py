"""Figures of results, through matplotlib."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_DOTS = 400  # of an assay in one panel; the box is that of all tracks
_FEW = 5  # tracks; below, a box would show no more than the dots do
_INK, _BLUE, _ORANGE = "#333333", "#2b6cdb", "#d9822b"

# Columns of `schema.FAITHFULNESS` in each panel, with the colours and names of their marks.
_PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "Pearson's r with the original outputs": {"pearson": (_BLUE, "")},
    "R² of the original outputs": {"r_squared": (_BLUE, "")},
    "loss recovered": {
        "loss_recovered_zero": (_BLUE, "beside zeros"),
        "loss_recovered_mean": (_ORANGE, "beside the layer's mean"),
    },
    "Pearson's r with measured tracks": {
        "pearson_target_original": (_INK, "original outputs"),
        "pearson_target_spliced": (_BLUE, "spliced outputs"),
    },
}


def faithfulness_figure(table: pl.DataFrame, *, title: str = "") -> "Figure":
    """Draw how faithful each track stays, by assay: boxes, and a dot a track.

    A box spans the middle half of an assay's tracks (of five or more), its line is their median,
    and its whiskers reach to the lowest and the highest twentieth. Panels that nothing was measured
    for are left out. An axis ends at -1 at the lowest; how many tracks lie beyond is written at
    that end.

    Parameters
    ----------
    table
        Columns of `schema.FAITHFULNESS`.
    title
        What stands above.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("faithfulness.png")`` writes it.

    Examples
    --------
    >>> from saers import schema
    >>> rows = {name: [0.5, 0.9] for name in schema.FAITHFULNESS}
    >>> rows |= {"track": [0, 1], "name": ["a", "b"], "assay": ["CAGE", "RNA"], "n": [9, 9]}
    >>> [axes.get_xlabel() for axes in faithfulness_figure(pl.DataFrame(rows)).axes][2]
    'loss recovered'
    """
    from matplotlib.figure import Figure

    panels = {
        name: {column: how for column, how in marks.items() if table[column].is_not_null().any()}
        for name, marks in _PANELS.items()
    }
    panels = {name: marks for name, marks in panels.items() if marks}
    assays = table.group_by("assay").len().sort("len", "assay", descending=[True, False])
    height = 1.6 + 0.45 * assays.height
    figure = Figure(figsize=(0.9 + 3.1 * max(len(panels), 1), height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(1, max(len(panels), 1), sharey=True, squeeze=False)[0]
    for axes, (name, marks) in zip(grid, panels.items(), strict=False):
        _panel(axes, table, assays["assay"].to_list(), marks)
        axes.set_xlabel(name, fontsize=9)
    labels = [f"{assay or 'all tracks'} ({n:,})" for assay, n in assays.iter_rows()]
    grid[0].set_yticks(range(assays.height), labels)
    grid[0].set_ylim(assays.height - 0.4, -0.6)
    return figure


def _panel(
    axes: "Axes", table: pl.DataFrame, assays: list[str], marks: dict[str, tuple[str, str]]
) -> None:
    """Draw one measure, or two side by side, for each assay."""
    lane = 0.7 / len(marks)
    lowest = min((_lowest(table[column]) for column in marks), default=0.0)
    axes.set_xlim(lowest - 0.03 * (1 - lowest), 1 + 0.03 * (1 - lowest))
    for number, (column, (colour, _)) in enumerate(marks.items()):
        for row, assay in enumerate(assays):
            values = table.filter(pl.col("assay") == assay)[column].drop_nulls().to_numpy()
            place = row + (number - (len(marks) - 1) / 2) * lane
            _box(axes, values, place, lane, colour, lowest)
    named = [(colour, name) for colour, name in marks.values() if name]
    for colour, name in named:
        axes.plot([], [], "s", color=colour, alpha=0.6, label=name)
    if named:
        axes.legend(
            fontsize=7, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0),
            handletextpad=0.1, columnspacing=0.8,
        )  # fmt: skip
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def _lowest(values: pl.Series) -> float:
    """Where an axis begins: at 0, or at a tenth below the lowest value, but not below -1."""
    least = values.fill_nan(None).min()
    if not isinstance(least, float) or least >= 0:
        return 0.0
    return max(-1.0, float(np.floor(least * 10) / 10))


def _box(
    axes: "Axes",
    values: npt.NDArray[np.float64],
    place: float,
    lane: float,
    colour: str,
    lowest: float,
) -> None:
    """Draw the tracks of one assay at a height of the axes."""
    if len(values) >= _FEW:
        _quartiles(axes, np.maximum(values, lowest), place, lane)
    spaced = np.sort(values)  # a choice that keeps the shape of the distribution
    if len(spaced) > _MOST_DOTS:
        spaced = spaced[np.linspace(0, len(spaced) - 1, _MOST_DOTS).round().astype(int)]
    inside = spaced[spaced >= lowest]
    size = 4 if len(values) >= 10 * _FEW else 20
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(inside)) * lane
    axes.scatter(inside, place + jitter, s=size, color=colour, alpha=0.4, linewidths=0, zorder=3)
    beyond = int((values < lowest).sum())
    if beyond:
        axes.annotate(
            f"◂ {beyond}", (lowest, place - 0.28 * lane), fontsize=7, color=_INK, va="bottom"
        )


def _quartiles(axes: "Axes", values: npt.NDArray[np.float64], place: float, lane: float) -> None:
    """Draw the box of an assay."""
    axes.boxplot(
        values,
        positions=[place], widths=[0.55 * lane], orientation="horizontal",
        whis=(5, 95), showfliers=False, patch_artist=True, manage_ticks=False,
        boxprops={"facecolor": "none", "edgecolor": _INK, "linewidth": 0.8},
        medianprops={"color": _INK, "linewidth": 1.8},
        whiskerprops={"color": _INK, "linewidth": 0.8}, capprops={"linewidth": 0}, zorder=4,
    )  # fmt: skip

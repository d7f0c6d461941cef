"""Figures show what was measured, all of it."""

import numpy as np
import polars as pl

from saers import schema
from saers.figures import faithfulness_figure


def table(assays, **columns):
    n = len(assays)
    values = {name: [None] * n for name in schema.FAITHFULNESS}
    values |= {"track": range(n), "name": [""] * n, "assay": assays, "n": [1] * n, **columns}
    return schema.conform(pl.DataFrame(values, strict=False), schema.FAITHFULNESS, table="table")


def names(figure):
    return [axes.get_xlabel() for axes in figure.axes]


def dots(axes):
    return sum(len(part.get_offsets()) for part in axes.collections)


def test_what_was_not_measured_has_no_panel():
    figure = faithfulness_figure(table(["RNA"] * 3, pearson=[0.1, 0.2, 0.3]))
    assert names(figure) == ["Pearson's r with the original outputs"]
    figure = faithfulness_figure(
        table(["RNA"] * 3, pearson=[0.1, 0.2, 0.3], pearson_target_spliced=[0.1, 0.2, None])
    )
    assert len(names(figure)) == 2
    assert dots(figure.axes[1]) == 2


def test_assays_stand_by_their_number_of_tracks():
    figure = faithfulness_figure(table(["CAGE", "RNA", "RNA", ""], r_squared=[0.1, 0.2, 0.3, 0.4]))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["RNA (2)", "all tracks (1)", "CAGE (1)"]
    assert dots(figure.axes[0]) == 4


def test_tracks_far_below_are_counted_at_the_end_of_the_axis():
    values = [0.5, 0.4, -30.0, -2.0]
    (axes,) = faithfulness_figure(table(["RNA"] * 4, r_squared=values)).axes
    assert axes.get_xlim()[0] > -1.2
    assert [text.get_text() for text in axes.texts] == ["◂ 2"]
    assert dots(axes) == 2


def test_many_tracks_are_drawn_as_some(tmp_path):
    values = np.linspace(0, 1, 7611).tolist()
    figure = faithfulness_figure(table(["CHIP"] * 7611, pearson=values), title="all of Borzoi")
    assert dots(figure.axes[0]) == 400
    figure.savefig(tmp_path / "all.png")


def test_nothing_measured_is_an_empty_figure(tmp_path):
    faithfulness_figure(table(["RNA"])).savefig(tmp_path / "none.png")

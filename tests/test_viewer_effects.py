"""Effects of features on tracks, as the pages of the features show them."""

import polars as pl
import pytest

from saers import schema
from saers.viewer import payload, write_site
from tests.test_viewer import details_of, frame, index_of, run_of


def answers_of(features, assays, *, effect=lambda f, t: t - 2.0):
    """Tables of effects and of shuffled seqlets; effect(f, t) of each feature and track."""
    effects, shuffled = [], []
    for f in features:
        for t, assay in enumerate(assays):
            e = effect(f, t)
            effects.append((f, t, f"T{t}", assay, 9, 4, e, e - 1, e + 1, 0.5 * e, 0.01, 0.02))
            shuffled.append((f, t, f"T{t}", assay, 30, abs(e), abs(e) - 1, abs(e) + 1))
    return {
        "effects": frame(schema.EFFECTS, effects),
        "shuffled": frame(schema.SHUFFLED, shuffled),
    }


def steps_of(strip):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return [(letters.index(letter) - 31) / 31 * strip[0] for letter in strip[1]]


def test_effects_are_listed_by_size_with_their_intervals(tmp_path):
    answers = answers_of([1, 3], ["RNA", "CAGE", "RNA", "CAGE", "RNA", "RNA"])
    write_site(tmp_path / "atlas", **run_of(5), **answers, edit="scale=2", meta={})
    details = details_of(tmp_path / "atlas")
    rows = details[1]["effects"]
    assert [(row[0], row[2]) for row in rows[:3]] == [("T5", 3.0), ("T0", -2.0), ("T4", 2.0)]
    assert rows[0] == ["T5", "RNA", 3.0, 2.0, 4.0, 1.5, 0.02]
    assert details[1]["changed"] == [4, 9]
    assert details[3]["shuffled"][0] == ["T5", "RNA", 3.0, 2.0, 4.0]
    assert details[3]["n_shuffled"] == 30
    assert not {"effects", "shuffled", "strip"} & details[2].keys()
    assert index_of(tmp_path / "atlas")["meta"]["edit"] == "scale=2"


def test_the_strip_shows_every_track_by_assay(tmp_path):
    answers = answers_of([1], ["RNA", "CAGE", "RNA", "CAGE", "RNA", "RNA"])
    write_site(tmp_path / "atlas", **run_of(5), **answers, meta={})
    assert index_of(tmp_path / "atlas")["meta"]["strip"] == [["CAGE", 2, 2], ["RNA", 4, 4]]
    found = steps_of(details_of(tmp_path / "atlas")[1]["strip"])
    assert found == pytest.approx([-1, 1, -2, 0, 2, 3], abs=3 / 31 / 2)


def test_a_cell_of_many_tracks_shows_the_one_that_moves_most(tmp_path):
    assays = ["CHIP"] * 1000 + ["RNA"]
    answers = answers_of([1, 2], assays, effect=lambda f, t: {777: -8.0, 1000: 4.0}.get(t, 0.25))
    write_site(tmp_path / "atlas", **run_of(5), **answers, meta={})
    (_, chip, _), (_, rna, n) = index_of(tmp_path / "atlas")["meta"]["strip"]
    assert (rna, n) == (1, 1)
    assert chip <= payload.N_CELLS
    found = steps_of(details_of(tmp_path / "atlas")[2]["strip"])
    assert len(found) == chip + rna
    assert found[777 // 5] == min(found) == -8.0
    assert found[-1] == pytest.approx(4.0, abs=0.2)
    assert len(details_of(tmp_path / "atlas")[1]["effects"]) == payload.N_EFFECTS


def test_effects_of_nothing_and_unknown_effects_are_drawn(tmp_path):
    answers = answers_of([1], ["RNA", "RNA"], effect=lambda f, t: 0.0)
    answers["effects"] = answers["effects"].with_columns(
        effect=pl.Series([0.0, None]), effect_low=pl.lit(None, pl.Float64)
    )
    write_site(tmp_path / "atlas", **run_of(5), effects=answers["effects"], meta={})
    details = details_of(tmp_path / "atlas")[1]
    assert steps_of(details["strip"]) == [0.0, 0.0]
    assert details["effects"][1][2:4] == [None, None]
    write_site(tmp_path / "atlas", **run_of(5), meta={})
    assert index_of(tmp_path / "atlas")["meta"]["strip"] == []

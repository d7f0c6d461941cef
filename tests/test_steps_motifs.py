"""What the section [motifs] of a recipe says reaches the search."""

import numpy as np
import polars as pl
import pytest

from saers import schema, steps
from saers.context import Context
from saers.motifs.discovery import discover_features
from saers.motifs.engines import ProgramError
from saers.progress import SILENT
from saers.recipe import Recipe
from saers.store import RunStore

WORDS = ("TGACTCAGC", "GGGTATTTC")


@pytest.fixture
def tables():
    """A feature of two motifs, the strong half of its seqlets with the first.

    They lie at different places: one matrix may fit two words at the same place of all seqlets.
    """
    rng = np.random.default_rng(4)
    rows = rng.choice(list("ACGT"), (160, 21))
    places = [8 if i < 80 else 12 for i in range(160)]
    sequences = ["".join(row[:at]) + WORDS[i // 80] + "".join(row[at:]) for i, (row, at) in
                 enumerate(zip(rows, places, strict=True))]  # fmt: skip
    given = {
        "feature": 7, "rank": range(1, 161), "sequence": sequences,
        "activation": np.linspace(9, 0.5, 160),
    }  # fmt: skip
    seqlets = filled(pl.DataFrame(given), schema.SEQLETS)
    features = pl.DataFrame({"feature": [7], "name": ["1_n7"], "selected": [True]})
    return seqlets, filled(features, schema.FEATURES)


def filled(frame, columns):
    """Give a table all columns of its kind, those that no search looks at empty."""
    missing = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return frame.with_columns(missing).select(list(columns)).cast(dict(columns))


def found(folder, tables, **section):
    store = RunStore(folder)
    folder.mkdir(exist_ok=True)
    for name, table in zip(("seqlets", "features"), tables, strict=True):
        store.write_table(name, table)
    values = {"model": {"layer": "a"}, "genome": {"fasta": "g.fa"}, "motifs": section, "seed": 5}
    context = Context(store, Recipe.model_validate(values), SILENT, 1)
    told = steps.motifs(context)
    table = store.read_table("motifs")
    assert told["motifs"] == table.height
    return table


@pytest.mark.parametrize("options", [{}, {"aligned": True}, {"weighted": True}, {"count": 1}])
def test_a_stage_finds_what_the_function_finds(tmp_path, tables, options):
    expected = discover_features(*tables, seed=5, workers=1, **options).motifs
    assert found(tmp_path / "run", tables, **options).equals(expected)
    assert expected.height == options.get("count", 2)


def test_alignment_and_weights_change_what_is_found(tmp_path, tables):
    plain, aligned, weighted = (
        found(tmp_path / name, tables, **options)
        for name, options in [("a", {}), ("b", {"aligned": True}), ("c", {"weighted": True})]
    )
    assert not plain.equals(aligned)
    assert not plain.equals(weighted)


def test_controls_that_hold_a_motif_leave_the_other(tmp_path, tables):
    holding = tables[0]["sequence"].to_list()[:80]
    lines = [f">{i}\n{sequence}\n" for i, sequence in enumerate(holding)]
    (tmp_path / "control.fa").write_text("".join(lines))
    table = found(tmp_path / "run", tables, control=str(tmp_path / "control.fa"))
    assert table.height == 1
    assert "GTATTT" in table["consensus"][0] or "AAATAC" in table["consensus"][0]


def test_a_preset_overrules_the_engine(tmp_path, tables, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProgramError, match="meme is not on the PATH"):
        found(tmp_path / "run", tables, preset="fast")


def test_what_belongs_to_one_engine_is_refused_by_the_others(tmp_path, tables):
    with pytest.raises(ValueError, match="search_size belongs to engine meme"):
        found(tmp_path / "run", tables, search_size=4000)

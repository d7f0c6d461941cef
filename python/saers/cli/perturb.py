"""``saers perturb``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saers.cli.console import (
    AsJson,
    TerminalProgress,
    print_json,
    progress,
    stdout,
    write_result,
)
from saers.cli.questions import Bootstrap, Limit, Run, Split, Tracks, open_run, recorded

if TYPE_CHECKING:
    import polars as pl

    from saers.run_inputs import RunInputs

_SHOWN = 20


def perturb(
    run: Run,
    feature: Annotated[
        list[int] | None, typer.Option("--feature", help="Number; repeat for more.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Without --feature: so many, by a gradient screen of all.")
    ] = 20,
    edit: Annotated[
        str, typer.Option(help="ablate, scale=V or clamp=V.", metavar="EDIT")
    ] = "ablate",
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Shuffle the middle of seqlets, as SAE-Borzoi does.")
    ] = False,
    per_feature: Annotated[int, typer.Option(min=1, help="Seqlets a feature, to shuffle.")] = 100,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", help="Name or number of a track; repeat for more; all."),
    ] = None,
    split: Split = "holdout",
    limit: Limit = None,
    tracks: Tracks = None,
    n_bootstrap: Bootstrap = 1000,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Parquet file; RUN/effects.parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change features one at a time and measure what each does to every track.

    The layer's activations move by (z' - z) times the feature's decoder row; the rest stays, and
    the model goes on to its outputs. `saers atlas RUN` then shows the effects on the pages of
    the features.

    Examples:

      saers perturb RUN --top 50

      saers perturb RUN --feature 12 --feature 40 --edit scale=2 --limit 10

      saers perturb RUN --tracks targets.txt --track CNhs10608+ --track ENCFF833POA

      saers perturb RUN --feature 12 --shuffle
    """
    from saers.perturbation import Edit, effects
    from saers.tracks import find, read_tracks

    wanted, inputs = Edit.parse(edit), open_run(run)
    named = read_tracks(tracks) if tracks else None
    only = find(track, named) if track else None
    windows = inputs.windows(split, limit)
    given: dict[str, Any] = {"edit": edit, "split": split, "track": only}
    given |= {"windows": windows["window"].to_list()}
    given |= {"tracks": tracks, "n_bootstrap": n_bootstrap, "per_feature": per_feature}
    question = "shuffled" if shuffle else "effects"
    with recorded(inputs, question, given) as written, progress() as shown:
        chosen = feature or _screened(inputs, windows, top, only, shown)
        given["features"] = chosen
        if shuffle:
            table = _shuffled(inputs, chosen, per_feature, named, n_bootstrap, shown)
            table = table if only is None else _of_tracks(table, only)
        else:
            shown.start("changing features", windows.height)
            table = effects(
                inputs.splice,
                inputs.sequences(windows),
                chosen,
                edit=wanted,
                tracks=named,
                only=only,
                n_bootstrap=n_bootstrap,
                seed=inputs.recipe.seed,
                progress=shown,
            )
        place = out or inputs.store.path(question)
        write_result(table, place, what="effects", as_json=False)
        written.append(place)
    if out is None:
        typer.echo(f"saers atlas {run} shows them on the pages of the features", err=True)
    strongest = table.sort(_by_size(table.columns), descending=True).head(_SHOWN)
    if as_json:
        print_json({"features": chosen, "out": str(place), "strongest": strongest.to_dicts()})
    else:
        _print(strongest)


def _by_size(columns: list[str]) -> "pl.Expr":
    """Rank effects by their size, whichever of the two kinds a table holds."""
    import polars as pl

    return pl.col("effect" if "effect" in columns else "log_d2").abs()


def _of_tracks(table: "pl.DataFrame", only: list[int]) -> "pl.DataFrame":
    """Keep some tracks of a table."""
    import polars as pl

    from saers.tracks import chosen

    return table.filter(pl.col("track").is_in(chosen(only, table["track"].n_unique())))


def _screened(
    inputs: "RunInputs",
    windows: "pl.DataFrame",
    top: int,
    only: list[int] | None,
    shown: TerminalProgress,
) -> list[int]:
    """Find the features with the largest estimated effect."""
    import numpy as np

    from saers.screening import screen

    shown.start("screening all features", windows.height)
    estimated = screen(inputs.splice, inputs.sequences(windows), tracks=only, progress=shown)
    order = np.argsort(-np.abs(estimated), kind="stable")[:top]
    return [int(feature) for feature in order if estimated[feature] != 0]


def _shuffled(
    inputs: "RunInputs",
    features: list[int],
    per_feature: int,
    named: "pl.DataFrame | None",
    n_bootstrap: int,
    shown: TerminalProgress,
) -> "pl.DataFrame":
    import polars as pl

    from saers.shuffling import shuffle_effects

    places = inputs.store.read_table("seqlets").filter(pl.col("feature").is_in(features))
    ranked = places.sort("feature", "rank").group_by("feature", maintain_order=True)
    kept = ranked.head(per_feature)
    without = sorted(set(features) - set(kept["feature"]))
    if len(without) == len(set(features)):
        raise ValueError("the run has no seqlets of these features: they were not selected")
    if without:
        shown.say(f"  left out, without seqlets: {', '.join(map(str, without))}")
    shown.start("shuffling seqlets", kept.height)
    return shuffle_effects(
        inputs.model,
        kept["feature"].to_list(),
        inputs.around(kept),
        tracks=named,
        n_bootstrap=n_bootstrap,
        seed=inputs.recipe.seed,
        progress=shown,
    )


def _print(strongest: "pl.DataFrame") -> None:
    """Show the strongest effects in 80 columns."""
    shuffled = "log_d2" in strongest.columns
    value = "log_d2" if shuffled else "effect"
    head = ("logD2",) if shuffled else ("effect", "q", "log2")
    shown = Table("feature", "track", "name", head[0], "95 % of resamplings", *head[1:], box=None)
    for row in strongest.iter_rows(named=True):
        between = f"{_number(row[f'{value}_low'])} to {_number(row[f'{value}_high'])}"
        more = () if shuffled else (_number(row["q_value"]), _number(row["log2_effect"]))
        cells = (str(row["feature"]), str(row["track"]), row["name"])
        shown.add_row(*cells, _number(row[value]), between, *more)
    stdout.print(shown)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"

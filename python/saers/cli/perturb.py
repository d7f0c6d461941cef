"""``saers perturb``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from saers.cli.faithfulness import Limit, Split, Tracks, read_tracks

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from saers.run_inputs import RunInputs

_SHOWN = 20


def perturb(
    run: Annotated[Path, typer.Argument(help="Run directory with an autoencoder.")],
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
    split: Split = "holdout",
    limit: Limit = None,
    tracks: Tracks = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Parquet file; RUN/effects.parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change features one at a time and measure what each does to every track.

    The layer's activations move by (z' - z) times the feature's decoder row; the rest stays, and
    the model goes on to its outputs.

    Examples:

      saers perturb RUN --top 50

      saers perturb RUN --feature 12 --feature 40 --edit scale=2 --limit 10

      saers perturb RUN --feature 12 --shuffle
    """
    from saers.perturbation import Edit, effects
    from saers.recipe import load_recipe
    from saers.run_inputs import RunInputs
    from saers.store import RunStore

    inputs = RunInputs(RunStore(run), load_recipe(run / "recipe.toml"))
    wanted = Edit.parse(edit)
    named = read_tracks(tracks) if tracks else None
    windows = inputs.windows(split, limit)
    with progress() as shown:
        chosen = feature or _screened(inputs, windows, top, shown)
        if shuffle:
            table = _shuffled(inputs, chosen, per_feature, named, shown)
        else:
            shown.start("changing features", windows.height)
            table = effects(
                inputs.model,
                inputs.sae,
                inputs.layer,
                inputs.sequences(windows),
                chosen,
                edit=wanted,
                tracks=named,
                seed=inputs.recipe.seed,
                progress=shown,
            )
    place = out or run / ("shuffled.parquet" if shuffle else "effects.parquet")
    write_result(table, place, what="effects", as_json=False)
    strongest = table.sort(_by_size(table.columns), descending=True).head(_SHOWN)
    if as_json:
        print_json({"features": chosen, "out": str(place), "strongest": strongest.to_dicts()})
    else:
        _print(strongest)


def _by_size(columns: list[str]) -> "pl.Expr":
    """Rank effects by their size, whichever of the two kinds a table holds."""
    import polars as pl

    return pl.col("effect" if "effect" in columns else "log_d2").abs()


def _screened(
    inputs: "RunInputs", windows: "pl.DataFrame", top: int, shown: TerminalProgress
) -> list[int]:
    """Find the features with the largest estimated effect."""
    import numpy as np

    from saers.screening import screen

    shown.start("screening all features", windows.height)
    estimated = screen(
        inputs.model, inputs.sae, inputs.layer, inputs.sequences(windows), progress=shown
    )
    order = np.argsort(-np.abs(estimated), kind="stable")[:top]
    return [int(feature) for feature in order if estimated[feature] != 0]


def _shuffled(
    inputs: "RunInputs",
    features: list[int],
    per_feature: int,
    named: "pl.DataFrame | None",
    shown: TerminalProgress,
) -> "pl.DataFrame":
    import numpy as np
    import polars as pl

    from saers.faithfulness import track_names
    from saers.perturbation import shuffle_seqlets

    places = inputs.store.read_table("seqlets").filter(
        pl.col("feature").is_in(features) & (pl.col("rank") <= per_feature)
    )
    if places.is_empty():
        raise ValueError("the run has no seqlets of these features")
    shown.start("shuffling seqlets", places.height)
    given = inputs.around(places)
    moved = np.stack(
        list(shuffle_seqlets(inputs.model, given, seed=inputs.recipe.seed, progress=shown))
    )
    return _mean_distances(places["feature"].to_numpy(), moved, track_names(named, moved.shape[1]))


def _mean_distances(
    features: "np.ndarray[tuple[int], np.dtype[np.uint32]]",
    moved: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    named: dict[str, "pl.Series"],
) -> "pl.DataFrame":
    """Take the mean over each feature's seqlets."""
    import numpy as np
    import polars as pl

    from saers import schema

    parts = [
        pl.DataFrame(
            {
                "feature": np.full(moved.shape[1], feature),
                "track": np.arange(moved.shape[1]),
                **named,
                "n_seqlets": np.full(moved.shape[1], (features == feature).sum()),
                "log_d2": moved[features == feature].mean(axis=0),
            }
        )
        for feature in np.unique(features)
    ]
    return schema.conform(pl.concat(parts), schema.SHUFFLED, table="shuffled")


def _print(strongest: "pl.DataFrame") -> None:
    """Show the strongest effects in 80 columns."""
    shuffled = "log_d2" in strongest.columns
    head = ("logD2",) if shuffled else ("effect", "95 % of resamplings", "log2")
    shown = Table("feature", "track", "name", *head, box=None)
    for row in strongest.iter_rows(named=True):
        cells = [str(row["feature"]), str(row["track"]), row["name"]]
        if shuffled:
            cells.append(f"{row['log_d2']:.3g}")
        else:
            between = f"{_number(row['effect_low'])} to {_number(row['effect_high'])}"
            cells += [_number(row["effect"]), between, _number(row["log2_effect"])]
        shown.add_row(*cells)
    stdout.print(shown)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"

"""``saers faithfulness``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saers.cli.console import AsJson, print_json, progress, stdout, write_result
from saers.cli.questions import Bootstrap, Limit, Run, Split, Tracks, open_run, recorded

if TYPE_CHECKING:
    import polars as pl


def faithfulness(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Parquet file; RUN/faithfulness.parquet.")
    ] = None,
    split: Split = "holdout",
    limit: Limit = None,
    tracks: Tracks = None,
    targets: Annotated[
        Path | None, typer.Option(help="HDF5 of measured tracks: targets (window, track, bin).")
    ] = None,
    keep_error: Annotated[
        bool, typer.Option("--keep-error", help="Add back what the reconstruction misses: a check.")
    ] = False,
    n_bootstrap: Bootstrap = 200,
    as_json: AsJson = False,
) -> None:
    """Put the autoencoder's reconstruction into the model and compare the outputs, by track.

    The model runs up to the layer once a window. Beside the reconstruction stand two
    ablations: zeros, and the layer's mean. Beside the table lie one by assay and a figure.

    Examples:

      saers faithfulness RUN

      saers faithfulness RUN --tracks targets.txt --limit 20

      saers faithfulness RUN --targets measured.h5 --split all
    """
    from saers.faithfulness import by_assay, measure
    from saers.figures import faithfulness_figure
    from saers.store import atomic_path
    from saers.tracks import read_tracks

    inputs = open_run(run)
    named = read_tracks(tracks) if tracks else None
    windows = inputs.windows(split, limit)
    given: dict[str, Any] = {"split": split, "windows": windows["window"].to_list()}
    given |= {"tracks": tracks, "targets": targets, "keep_error": keep_error}
    given |= {"n_bootstrap": n_bootstrap}
    with recorded(inputs, "faithfulness", given) as written, progress() as shown:
        shown.start("splicing", windows.height)
        table = measure(
            inputs.splice,
            inputs.sequences(windows),
            mean=inputs.mean,
            tracks=named,
            targets=inputs.targets(targets, windows) if targets else None,
            keep_error=keep_error,
            n_bootstrap=n_bootstrap,
            seed=inputs.recipe.seed,
            progress=shown,
        )
        places = [inputs.store.path(name) for name in _WRITTEN]
        if out:
            beside = (f"{out.stem}_by_assay.parquet", f"{out.stem}.png")
            places = [out, *map(out.with_name, beside)]
        write_result(table, places[0], what="tracks", as_json=False)
        assays = by_assay(table)
        write_result(assays, places[1], what="assays", as_json=False)
        figure = faithfulness_figure(table, title=_title(run, inputs.splice.layer, windows.height))
        with atomic_path(places[2]) as temporary:
            figure.savefig(temporary, dpi=160)
        written += places
    if as_json:
        shown_assays = assays.to_dicts()
        print_json({"windows": windows.height, "out": places, "assays": shown_assays})
    else:
        _print(assays)
        stdout.print(f"figure: {places[2]}", soft_wrap=True)


_WRITTEN = ("faithfulness", "faithfulness_by_assay", "faithfulness_figure")


def _title(run: Path, layer: str, n_windows: int) -> str:
    return f"{run.resolve().name}, {layer}: {n_windows:,} windows with the layer reconstructed"


def _print(assays: "pl.DataFrame") -> None:
    columns = ["pearson", "r_squared", "loss_recovered_zero", "loss_recovered_mean"]
    columns += [name for name in assays.columns if "target" in name and assays[name].count()]
    shown = Table("assay", "tracks", *(name.replace("_", " ") for name in columns), box=None)
    for row in assays.iter_rows(named=True):
        values = ("" if row[name] is None else f"{row[name]:.3f}" for name in columns)
        shown.add_row(row["assay"] or "all", str(row["tracks"]), *values)
    stdout.print(shown)
    stdout.print("medians over tracks; each track's interval is in the table")

"""``saers faithfulness``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from saers.cli.console import AsJson, print_json, progress, stdout, write_result

if TYPE_CHECKING:
    import polars as pl

# Options of all questions that are asked of a run.
Split = Annotated[
    Literal["holdout", "train", "all"], typer.Option(help="Windows that are measured on.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many windows.")]
Tracks = Annotated[
    Path | None, typer.Option(help="Table of tracks, tab-separated, as Borzoi's targets.txt.")
]


def faithfulness(
    run: Annotated[Path, typer.Argument(help="Run directory with an autoencoder.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Parquet file; RUN/faithfulness.parquet.")
    ] = None,
    split: Split = "holdout",
    limit: Limit = None,
    tracks: Tracks = None,
    n_bootstrap: Annotated[int, typer.Option(min=0, help="Resamplings of windows.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Put the autoencoder's reconstruction into the model and compare the outputs, by track.

    The model runs up to the layer once a window. Beside the reconstruction stand two
    ablations: zeros, and the layer's mean.

    Examples:

      saers faithfulness RUN

      saers faithfulness RUN --tracks targets.txt --limit 20
    """
    from saers.faithfulness import measure, summary
    from saers.recipe import load_recipe
    from saers.run_inputs import RunInputs
    from saers.store import RunStore

    inputs = RunInputs(RunStore(run), load_recipe(run / "recipe.toml"))
    windows = inputs.windows(split, limit)
    with progress() as shown:
        shown.start("splicing", windows.height)
        table = measure(
            inputs.model,
            inputs.sae,
            inputs.layer,
            inputs.sequences(windows),
            mean=inputs.mean,
            tracks=read_tracks(tracks) if tracks else None,
            n_bootstrap=n_bootstrap,
            seed=inputs.recipe.seed,
            progress=shown,
        )
    by_assay = summary(table)
    write_result(table, out or run / "faithfulness.parquet", what="tracks", as_json=False)
    if as_json:
        print_json({"windows": windows.height, "assays": by_assay.to_dicts()})
    else:
        _print(by_assay)


def read_tracks(path: Path) -> "pl.DataFrame":
    """Read names and assays of tracks: those of Borzoi's targets.txt, or name and assay."""
    import polars as pl

    from saers import FormatError
    from saers.checks import existing_file

    try:
        table = pl.read_csv(existing_file(path, what="tracks"), separator="\t")
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path}: {error}") from error
    if {"name", "assay"} <= set(table.columns):
        return table
    if not {"identifier", "description"} <= set(table.columns):
        raise FormatError(
            f"{path}: columns name and assay, or identifier and description, are needed; "
            f"found {', '.join(table.columns)}"
        )
    # "CAGE:liver, adult": the assay stands before the first colon.
    assay = pl.col("description").str.split(":").list.first()
    return table.select(pl.col("identifier").alias("name"), assay.alias("assay"))


def _print(by_assay: "pl.DataFrame") -> None:
    columns = ["pearson", "r_squared", "loss_recovered_zero", "loss_recovered_mean"]
    shown = Table("assay", "tracks", *(name.replace("_", " ") for name in columns), box=None)
    for row in by_assay.iter_rows(named=True):
        values = ("" if row[name] is None else f"{row[name]:.3f}" for name in columns)
        shown.add_row(row["assay"] or "all", str(row["tracks"]), *values)
    stdout.print(shown)
    stdout.print("medians over tracks; each track's interval is in the table")

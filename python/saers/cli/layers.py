"""``saers layers``."""

from typing import Annotated, Any

import typer
from rich.table import Table

from saers.cli.console import AsJson, print_json, stdout

Model = Annotated[
    str, typer.Argument(help="Folder of weights, or file.py:function, as in a recipe.")
]


def layers(
    model: Model,
    flops: Annotated[
        bool, typer.Option(help="Count operations, in a forward pass where need be.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """List a model's layers: channels, stride, receptive window, share of the operations.

    The share is that of a pass which stops at the layer. A layer behind attention has seen the
    whole input; its window tells what a position has seen without.

    Examples:

      saers layers borzoi-replicate-0/

      saers layers model.py:build --json
    """
    from saers.models import load

    opened = load(model)
    counts: dict[str, int] = opened.flops() if flops and hasattr(opened, "flops") else {}
    total = counts.get("outputs", max(counts.values(), default=0))
    rows: list[dict[str, Any]] = [
        {
            **vars(layer),
            "receptive_window": layer.receptive_field,
            "flops": counts.get(name),
            "flops_share": counts[name] / total if total and name in counts else None,
        }
        for name, layer in opened.layers.items()
    ]
    if as_json:
        print_json({"layers": rows, "flops": total or None})
        return
    table = Table(
        "layer", "channels", "stride (bp)", "receptive window (bp)", "operations", box=None
    )
    for row in rows:
        share = "" if row["flops_share"] is None else f"{row['flops_share']:.1%}"
        numbers = (row["channels"], row["stride"], row["receptive_window"])
        table.add_row(row["name"], *(f"{number:,}" for number in numbers), share)
    stdout.print(table)
    if total:
        stdout.print(f"\nin all {total / 1e12:.3g} TFLOP an input")

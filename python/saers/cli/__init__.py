"""The command line: one file a verb.

Results go to stdout, progress and complaints to stderr. Exit status 0: done; 1: failed, with
one line that says why; 2: wrong usage; 130: interrupted.
"""

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from saers import __version__
from saers.cli import (
    annotate,
    atlas,
    bigwig,
    capture,
    cluster,
    databases,
    demo,
    doctor,
    embed,
    encode,
    export,
    faithfulness,
    fasta,
    init,
    layers,
    match,
    motifs,
    perturb,
    relate,
    run,
    scan,
    seqlets,
    stats,
    topk,
    train,
    truncate,
    view,
)

app = typer.Typer(
    name="saers",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="What a sequence model has learned, as named motifs.\n\n"
    "The whole job: [bold]saers init[/], edit the recipe, [bold]saers run recipe.toml -o RUN[/], "
    "[bold]saers view RUN[/]. See it on simulated data: [bold]saers demo[/].",
)

_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Whole job": {
        "run": run.run,
        "demo": demo.demo,
        "init": init.init,
        "doctor": doctor.doctor,
        "view": view.view,
    },
    "Stages, in order": {
        "capture": capture.capture,
        "stats": stats.stats,
        "train": train.train,
        "encode": encode.encode,
        "seqlets": seqlets.seqlets,
        "motifs": motifs.motifs,
        "match": match.match,
        "annotate": annotate.annotate,
        "relate": relate.relate,
        "embed": embed.embed,
        "atlas": atlas.atlas,
    },
    "Questions": {"faithfulness": faithfulness.faithfulness, "perturb": perturb.perturb},
    "Models": {"layers": layers.layers, "truncate": truncate.truncate},
    "On plain files": {
        "topk": topk.topk,
        "fasta": fasta.fasta,
        "bigwig": bigwig.bigwig,
        "export": export.export,
        "scan": scan.scan,
        "cluster": cluster.cluster,
    },
}


@contextmanager
def _clear_warnings() -> Iterator[None]:
    """Word warnings as errors are, without the line of code that gave them."""
    usual = warnings.formatwarning

    def worded(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category is UserWarning:
            return f"saers: {' '.join(str(message).split())}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = worded
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _with_clear_errors(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors that users meet into one line; SAERS_DEBUG keeps their traceback."""

    @functools.wraps(verb)
    def wrapped(*args: object, **options: object) -> None:
        try:
            with _clear_warnings():
                verb(*args, **options)
        except KeyboardInterrupt:
            typer.echo(
                "saers: interrupted; finished stages are kept, run it again to go on", err=True
            )
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort):
            raise
        except (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
            if os.environ.get("SAERS_DEBUG"):
                raise
            typer.echo(f"saers: {_one_line(error)}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def _one_line(error: Exception) -> str:
    # str() of an OSError made with (errno, message) begins with "[Errno 28]": noise here.
    if isinstance(error, OSError) and error.strerror:
        text = str(error.strerror)
        if error.filename and str(error.filename) not in text:
            text = f"{error.filename}: {text}"
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


for _panel, _verbs in _PANELS.items():
    for _name, _verb in _verbs.items():
        app.command(_name, rich_help_panel=_panel)(_with_clear_errors(_verb))


_databases = typer.Typer(invoke_without_command=True)
_databases.callback()(_with_clear_errors(databases.list_databases))
_databases.command("add")(_with_clear_errors(databases.add))
app.add_typer(_databases, name="databases", rich_help_panel="On plain files")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"saers {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options of saers itself."""


def main() -> None:
    """Run the command line."""
    app()

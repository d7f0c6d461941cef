"""``saers train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saers.cli.console import AsJson, Force, is_run, print_json, progress, run_stage, stderr

if TYPE_CHECKING:
    from saers.layer import ActivationSource
    from saers.progress import Progress
    from saers.sae.agreement import Choice
    from saers.sae.config import TrainConfig
    from saers.sae.training import TrainResult

_SHOWN = (
    "fvu",
    "fvu_informative",
    "fvu_background",
    "l0",
    "l0_informative",
    "l0_background",
    "dead_share",
    "alignment_median",
    "gamma",
    "gamma_after",
    "waiting_share",
)
_LAYER = "layer="
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Another field of saers.TrainConfig, NAME=VALUE.", metavar="N=V"),
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(
        help="Train one SAE for each value, in one pass over the activations: NAME=V,V,… "
        "Given again, for each combination. layer=V,V: of each layer (datasets of a file, files "
        "of a folder, layers of a run's model).",
        metavar="N=V,V",
    ),
]


def train(
    target: Annotated[Path, typer.Argument(help="HDF5 file, recipe or run directory.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the SAE; RUN when given a recipe.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="sae-borzoi: the paper's settings.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="topk or batchtopk.", show_default="topk")
    ] = None,
    k: Annotated[
        float | None,
        typer.Option("-k", help="Latents kept per position (batchtopk: mean).", show_default="30"),
    ] = None,
    expansion: Annotated[
        int | None, typer.Option(min=1, help="Latents per channel.", show_default="4")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Positions in a batch.")] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and order.")] = 0,
    settings: Settings = None,
    sweep: Sweep = None,
    choose_k: Annotated[
        str | None,
        typer.Option(help="Train these k with two seeds each, take the one they agree on: K,K,…"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, from which a killed run goes on.")
    ] = None,
    log_to: Annotated[
        str | None, typer.Option(help="Also show metrics on tensorboard or wandb.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; default: a GPU if any.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train a sparse autoencoder on activations.

    A run directory takes all options from its recipe; a plain HDF5 file those given here.
    Metrics are of held-out chromosomes, or of the last windows where the file tells none.

    Examples:

      saers train activations.h5 -k 30 --steps 20000 -o sae

      saers train activations.h5 --architecture batchtopk -k 4 --set normalize=zscore -o sae

      saers train activations.h5 --choose-k 4,8,16,30 -o sae

      saers train activations.h5 --sweep k=8,16,30 --sweep seed=0,1 -o saes

      saers train RUN --sweep layer=conv1d_1,conv1d_2 --sweep k=16,30 -o saes

      torchrun --nproc-per-node 4 -m saers train activations.h5 --batch-size 16384 -o sae

      saers train RUN
    """
    folder = out or Path("sae")
    by_layer = any(text.startswith(_LAYER) for text in sweep or ())
    if is_run(target) and by_layer:
        _sweep(target, _config_of_run(target), sweep or [], folder, device, log_to, as_json)
        return
    if is_run(target):
        run_stage("train", target, out, force=force, as_json=as_json)
        return
    whole = int(k) if k is not None and k == int(k) else k
    given = {"architecture": architecture, "k": whole, "expansion": expansion}
    fields: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "seed": seed}
    fields |= {name: value for name, value in given.items() if value is not None}
    fields |= dict(_setting(text) for text in settings or [])
    config = _config(target, preset, fields)
    if choose_k is not None:
        _choose(target, config, choose_k, folder, device, as_json)
    elif sweep:
        _sweep(target, config, sweep, folder, device, log_to, as_json)
    else:
        _one(target, config, folder, state, device, log_to, as_json)


def _one(
    target: Path,
    config: "TrainConfig",
    folder: Path,
    state: Path | None,
    device: str | None,
    log_to: str | None,
    as_json: bool,
) -> None:
    from saers.sae.training import train_sae

    metrics = None if state is None else state / "metrics.jsonl"
    with progress() as shown:
        result = train_sae(
            target,
            config,
            device=device,
            state_dir=state,
            metrics_path=metrics,
            log_to=log_to,
            progress=shown,
        )
    _report({folder: result}, as_json)


def _sweep(
    target: Path,
    config: "TrainConfig",
    sweep: list[str],
    folder: Path,
    device: str | None,
    log_to: str | None,
    as_json: bool,
) -> None:
    from saers.sae.sweep import grid
    from saers.sae.training import train_sweep

    layers = [text for text in sweep if text.startswith(_LAYER)]
    configs = grid(config, dict(_values(text) for text in sweep if text not in layers))
    if layers:
        names = list(dict.fromkeys(layers[-1].removeprefix(_LAYER).split(",")))
        _layers(target, names, configs, folder, device, log_to, as_json)
        return
    folders = [folder / name for name in configs]
    with progress() as shown:
        results = train_sweep(
            target,
            list(configs.values()),
            device=device,
            folders=[folder / "runs" / name for name in configs],
            log_to=log_to,
            progress=shown,
        )
    _report(dict(zip(folders, results, strict=True)), as_json)


def _layers(
    target: Path,
    layers: list[str],
    configs: "dict[str, TrainConfig]",
    folder: Path,
    device: str | None,
    log_to: str | None,
    as_json: bool,
) -> None:
    """Train each configuration on each layer of a file, a folder, or a run's model."""
    from saers.sae.training import train_layers

    # A configuration has a name where there are several.
    named = {layer: {f"layer-{layer}_{name}".rstrip("_"): name for name in configs}
             for layer in layers}  # fmt: skip
    with progress() as shown:
        results = train_layers(
            _sources(target, layers, shown),
            list(configs.values()),
            device=device,
            folders={layer: [folder / "runs" / name for name in named[layer]] for layer in layers},
            log_to=log_to,
            progress=shown,
        )
    made = {
        folder / name: result
        for layer in layers
        for name, result in zip(named[layer], results[layer], strict=True)
    }
    _report(made, as_json)


def _sources(target: Path, layers: list[str], shown: "Progress") -> "dict[str, ActivationSource]":
    from saers.sae.dataset import open_file

    if not is_run(target):
        return {layer: open_file(target, layer) for layer in layers}
    from saers.context import Context
    from saers.recipe import load_recipe
    from saers.store import RunStore

    context = Context(RunStore(target), load_recipe(target / "recipe.toml"), shown)
    return context.layers(layers)


def _config_of_run(target: Path) -> "TrainConfig":
    """Take the settings from the recipe of a run, which must have its windows."""
    from saers.context import train_config
    from saers.recipe import load_recipe
    from saers.store import RunStore

    if not (target.is_dir() and RunStore(target).has("windows")):
        raise ValueError(
            f"{target}: layers are trained from a run directory with windows: "
            f"saers run RECIPE -o RUN --to capture"
        )
    recipe = load_recipe(target / "recipe.toml")
    channels = RunStore(target).read_json("layer")["channels"] if "preset" in recipe.train else 1
    return train_config(recipe.train, channels=channels, seed=recipe.seed)


def _choose(
    target: Path, config: "TrainConfig", ks: str, folder: Path, device: str | None, as_json: bool
) -> None:
    from saers.sae.agreement import choose_k

    values = _values(f"k={ks}")[1]
    wrong = [value for value in values if not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"--choose-k: k must be a number, got {wrong[0]!r}")
    with progress() as shown:
        choice = choose_k(target, config, values, device=device, progress=shown)
    result = choice.results[0]
    result.sae.describe({"choice_of_k": choice.table})
    if not as_json:
        stderr.print(_choice_table(choice))
    _report({folder: result}, as_json, choice.table)


def _config(target: Path, preset: str | None, fields: dict[str, Any]) -> "TrainConfig":
    from saers.sae.config import TrainConfig

    if preset is None:
        return TrainConfig(**fields)
    from saers.sae.dataset import open_file

    return TrainConfig.preset(preset, open_file(target).layer.channels, **fields)


def _setting(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, with the value as TOML has it, or a word."""
    import dataclasses
    import tomllib

    from saers.recipe import unknown_key
    from saers.sae.config import TrainConfig

    name, equals, value = text.partition("=")
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    if not equals:
        raise ValueError(f"--set and --sweep must be NAME=VALUE, got {text!r}")
    if name not in known:
        raise ValueError(f"{name}: {unknown_key(name, known)}")
    try:
        return name, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return name, value


def _values(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    return name, [_setting(f"{name}{equals}{value}")[1] for value in values.split(",")]


def _report(
    results: "dict[Path, TrainResult]", as_json: bool, choice: list[dict[str, Any]] | None = None
) -> None:
    """Write every autoencoder, and show what was measured."""
    import os

    if os.environ.get("RANK", "0") != "0":  # one process of torchrun writes
        return
    for folder, result in results.items():
        result.sae.save(folder)
    if as_json:
        told = [{"metrics": r.metrics, "out": str(folder)} for folder, r in results.items()]
        more = {} if choice is None else {"choice_of_k": choice}
        print_json((told[0] | more) if len(told) == 1 else told)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("metric")
    for folder in results:
        table.add_column(str(folder), justify="right")
    for name in ("split", "tokens", *_SHOWN):
        table.add_row(name, *(_shown(result.metrics[name]) for result in results.values()))
    stderr.print(table)


def _choice_table(choice: "Choice") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=f"chosen: k = {choice.k}")
    names = ("k", "shared", "matched", "mean_max_cosine", "fvu", "l0", "dead_share")
    for name in names:
        table.add_column(name, justify="right")
    for row in choice.table:
        table.add_row(*(_shown(row[name]) for name in names))
    return table


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""The recipe of a run: a TOML file, checked before anything starts.

Each section is a stage of the pipeline, each field an option of it; a field that is left out
takes the default that stands here. Paths may be relative to the folder of the recipe.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from saers._core import FormatError
from saers.checks import did_you_mean

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """What all sections share: no unknown keys, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelSection(Section):
    """The trained model and the layer to explain."""

    adapter: str = "module"
    """How the model is loaded: "module" (any torch.nn.Module), "borzoi" or "toy" (the demo's)."""
    source: str = ""
    """For "module": "file.py:function" or "package.module:function" that builds the network.
    For "borzoi" and "toy": the folder with config.json and model.safetensors."""
    weights: str = ""
    """State dict to load into the network: .safetensors, or .pt/.pth with tensors alone."""
    options: dict[str, Any] = {}
    """Keyword arguments of the function in ``source``; for "borzoi" species, input_length."""
    layer: str
    """Name of the layer whose activations are explained; ``saers doctor RECIPE`` lists them."""


class GenomeSection(Section):
    """The sequence."""

    fasta: str
    """FASTA, plain or bgzip; an index beside it is used, or made."""
    blacklist: str = ""
    """BED of regions whose positions are not used."""


class WindowsSection(Section):
    """Where the model looks."""

    bed: str = ""
    """BED of windows; without it the chromosomes are tiled."""
    length: Positive | None = None
    """Length of a window in bp when tiling; default: the model's own input length."""
    step: Positive | None = None
    """Distance between the starts of tiled windows; default: their length."""
    chromosomes: list[str] = []
    """Chromosomes to tile; default: all."""
    holdout: list[str] = []
    """Chromosomes kept out of training; metrics are measured on them."""
    max_n: Fraction = 0.5
    """Windows with a larger share of N are left out."""
    limit: Positive | None = None
    """At most so many windows, drawn with the recipe's seed."""


class CaptureSection(Section):
    """How activations are computed."""

    cache: Literal["none", "hdf5"] = "none"
    """"none" streams them from the model each time, "hdf5" writes them once."""
    dtype: Literal["float16", "float32"] = "float16"
    """Precision of the cache."""
    batch_size: Positive | None = None
    """Windows in one forward pass; default: at most 16, and no more than 256 MB of the layer."""
    edge: Natural = 0
    """Positions whose receptive window comes closer than this (bp) to a window's end are not
    used."""
    crop: Natural = 0
    """Base pairs at both ends of a window whose positions are not read (SAE-Borzoi reads the
    codes of the middle 196,608 bp of 524,288: 163840)."""
    parts: Positive = 1
    """Parts into which the positions of a window are divided; each is a window of the run.
    Borzoi's convolutions are computed for those parts alone that are read."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; what it costs in accuracy is measured on the first window."""
    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" …"""
    activations: str = ""
    """Activations that others wrote, instead of a model: an HDF5 file of saers, or a folder
    with SAE-Borzoi's ``activations_*.h5`` and ``train_seqs.bed``."""


class EncodeSection(Section):
    """Sparse codes of every position."""

    split: Literal["all", "train", "holdout"] = "all"
    """Which windows are searched for seqlets."""
    strands: Literal["forward", "mean", "max"] = "forward"
    """"mean" and "max" read the reverse complement too, and give a feature the mean or the
    greater of its activations on the two strands of a place."""
    codes: bool = False
    """Also write all sparse codes (codes/codes.h5)."""
    per_window: Positive = 8
    """Seqlets kept per feature and window."""
    per_feature: Positive = 1000
    """Seqlets kept per feature."""
    min_distance: Positive | None = None
    """Least distance, in positions, between two seqlets of a feature in a window; default: one
    receptive window."""


class SeqletsSection(Section):
    """From positions to sequences, and which features are worth a motif search."""

    width: Literal["rf", "paper"] | Positive = "rf"
    """"rf": the layer's receptive window; "paper": SAE-Borzoi's widths; or bp."""
    min_nonzero: Natural = 1000
    """A feature needs so many positions with an activation."""
    min_above_half: Natural = 200
    """… and so many seqlets above half its mean activation."""


class MotifsSection(Section):
    """Motif discovery in each feature's seqlets."""

    engine: Literal["builtin", "meme", "streme"] = "builtin"
    """"builtin" needs nothing; "meme" and "streme" need the MEME Suite."""
    count: Positive = 2
    """Motifs per feature at the most."""
    evalue: Annotated[float, Field(gt=0)] = 0.05
    """Motifs above this E-value are not reported."""
    min_width: Positive = 6
    """Least width of a motif."""
    max_width: Positive = 20
    """Greatest width of a motif."""
    max_sequences: Positive = 1000
    """Seqlets given to the engine, the strongest first."""
    reverse_complement: bool = True
    """Search both strands."""
    preset: Literal["fast", "paper"] | None = None
    """Settings of MEME, over the keys that they name: "fast" a small search set, "paper"
    SAE-Borzoi's own."""
    search_size: Positive | None = None
    """Only "meme": letters that take part in its search; its own 100,000 if left out."""
    aligned: bool = False
    """Only "builtin": sites are likelier around the middle, where the feature fired."""
    weighted: bool = False
    """Only "builtin": a seqlet's site counts by its activation."""
    control: str = ""
    """FASTA of sequences that lack the motifs, for all features; without it shuffles."""
    time_limit: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for one feature; one that takes longer is reported and left out."""


class MatchSection(Section):
    """Comparison with known motifs."""

    databases: list[str] = ["JASPAR2024_CORE_vertebrates"]
    """Names of JASPAR releases, or files (MEME, JASPAR, TRANSFAC, HOMER, HOCOMOCO)."""
    dist: Literal["ed", "pearson", "sandelin", "kullback", "allr"] = "ed"
    """Column score of Tomtom."""
    min_overlap: Positive = 1
    """Least overlap of query and target."""
    thresh: Annotated[float, Field(gt=0)] = 0.5
    """Matches up to this q-value (or E-value) are kept."""
    evalue: bool = False
    """``thresh`` is an E-value."""


class AnnotateSection(Section):
    """Overlap with annotations, beside placement-shuffled controls."""

    bed: dict[str, str] = {}
    """Name -> BED file; its fourth column is the class."""
    repeatmasker: str = ""
    """RepeatMasker's rmsk.txt or .out."""
    repeat_level: Literal["class", "family", "name"] = "class"
    """By which column repeats are grouped."""
    n_controls: Natural = 0
    """Shuffled placements per feature; 0 computes the outcome of infinitely many."""
    gc_match: Annotated[float, Field(ge=0, le=1)] | None = None
    """Greatest difference between the shares of G and C of a seqlet and of its placements."""


class EmbedSection(Section):
    """UMAP of the decoder directions."""

    n_neighbors: Positive = 15
    """UMAP's n_neighbors."""
    min_dist: Fraction = 0.1
    """UMAP's min_dist."""


class AtlasSection(Section):
    """The tables as one AnnData and one page."""

    title: str = ""
    """Title of the page."""


class Recipe(Section):
    """A whole run."""

    seed: Natural = 0
    """Seed of everything that draws random numbers."""
    model: ModelSection | None = None
    genome: GenomeSection
    windows: WindowsSection = WindowsSection()
    capture: CaptureSection = CaptureSection()
    train: dict[str, Any] = {}
    """Fields of :class:`saers.TrainConfig`; also ``preset``, and ``pretrained`` (folder of an
    SAE to use as it is)."""
    encode: EncodeSection = EncodeSection()
    seqlets: SeqletsSection = SeqletsSection()
    motifs: MotifsSection = MotifsSection()
    match: MatchSection = MatchSection()
    annotate: AnnotateSection = AnnotateSection()
    embed: EmbedSection = EmbedSection()
    atlas: AtlasSection = AtlasSection()

    @model_validator(mode="after")
    def _has_activations(self) -> "Recipe":
        if self.model is None and not self.capture.activations:
            raise ValueError("either a [model] or capture.activations is needed")
        return self


def load_recipe(path: str | Path) -> Recipe:
    r"""Read and check a recipe; its paths become absolute.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    saers.FormatError
        If it is no TOML, or a key or value is wrong: names file, key and the nearest right one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "recipe.toml"
    ...     _ = file.write_text("[motif]\ncount = 2")
    ...     try:
    ...         load_recipe(file)
    ...     except FormatError as error:
    ...         print(str(error).split("recipe.toml: ")[1])
    genome: Field required; motif: unknown key; did you mean 'motifs'?
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"recipe: no file at {file} (`saers init` writes one)")
    try:
        values = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: {error}") from error
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise FormatError(f"{file}: {_explain(error)}") from error
    return _with_absolute_paths(recipe, file.resolve().parent)


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML, every default spelled out.

    Examples
    --------
    >>> text = dump_recipe(Recipe(model=ModelSection(layer="a"), genome={"fasta": "g.fa"}))
    >>> tomllib.loads(text)["genome"]["fasta"]
    'g.fa'
    """
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))


def unknown_key(key: str, known: list[str]) -> str:
    """Word the complaint about an unknown key.

    Examples
    --------
    >>> unknown_key("stpes", ["steps", "k"])
    "unknown key; did you mean 'steps'?"
    """
    return "unknown key" + (did_you_mean(key, known) or f" (known: {', '.join(sorted(known))})")


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"]) or "recipe"
        if problem["type"] == "extra_forbidden":
            known = _keys_of(tuple(str(part) for part in problem["loc"][:-1]))
            lines.append(f"{place}: {unknown_key(str(problem['loc'][-1]), known)}")
        elif problem["type"] in ("missing", "value_error"):
            lines.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{place} = {problem['input']!r}: {problem['msg']}")
    return "; ".join(lines)


def _keys_of(place: tuple[str, ...]) -> list[str]:
    return list(section_type(place[0]).model_fields if place else Recipe.model_fields)


def section_type(name: str) -> type[Section]:
    """Return the class of a section.

    Examples
    --------
    >>> section_type("model").__name__
    'ModelSection'
    """
    annotation = Recipe.model_fields[name].annotation
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Section):
            return part
    raise ValueError(f"{name} is no section of a recipe")


def _with_absolute_paths(recipe: Recipe, base: Path) -> Recipe:
    def absolute(value: str) -> str:
        return str(base / Path(value).expanduser()) if value else value

    values = recipe.model_dump()
    for section, keys in {
        "genome": ("fasta", "blacklist"),
        "windows": ("bed",),
        "capture": ("activations",),
        "motifs": ("control",),
        "annotate": ("repeatmasker",),
        "model": ("weights",),
    }.items():
        if values[section] is not None:
            values[section].update({key: absolute(values[section][key]) for key in keys})
    values["annotate"]["bed"] = {k: absolute(v) for k, v in values["annotate"]["bed"].items()}
    # A database is a file where one lies at that path, else the name of a release.
    values["match"]["databases"] = [
        absolute(v) if (base / v).is_file() else v for v in values["match"]["databases"]
    ]
    if values["model"] is not None:
        values["model"]["source"] = _absolute_source(values["model"]["source"], base)
    if "pretrained" in values["train"]:
        values["train"]["pretrained"] = absolute(str(values["train"]["pretrained"]))
    return Recipe.model_validate(values)


def _absolute_source(source: str, base: Path) -> str:
    """Resolve "file.py:function" and folders; "package.module:function" stays."""
    place, colon, function = source.rpartition(":") if ":" in source else (source, "", "")
    is_file = place.endswith(".py") or (base / place).exists()
    return f"{base / Path(place).expanduser()}{colon}{function}" if place and is_file else source

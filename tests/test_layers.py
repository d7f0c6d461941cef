"""Data flows one way: a module imports only from modules that stand above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "saers"

# The order of docs/architecture.md. A folder stands for its modules where they are not named.
ORDER = """
    _core progress checks schema digests memory layer meters
    store recipe codes code_tracks code_files hdf5 tiles
    motif regions genome bigwig columns intervals
    models.base models.receptive models.module models.tokenise models.huggingface
    models.enformer models.toy models.borzoi models.registry models
    windows activations capture shared_capture cache tokens stats topk
    sae.config sae
    encoding seqlets motifs.search motifs.engines motifs.library motifs.databases motifs
    matches clusters sites annotations relations embedding
    tracks splicing faithfulness perturbation shuffling screening
    plotting figures atlas viewer
    context run_inputs capturing steps pipeline demo cli __main__
""".split()


def modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:  # saers/__init__.py knows all public names, and imports them when asked to
            yield name, file


def level(name: str) -> int:
    """Place of a module in the order, by its own name or that of the nearest folder."""
    while name not in ORDER:
        name, dot, _ = name.rpartition(".")
        assert dot, f"{name} stands nowhere in the order"
    return ORDER.index(name)


def folder(name: str) -> str:
    return name.partition(".")[0]


def imports(file: Path, known: set[str]) -> Iterator[tuple[str, int]]:
    """Modules of saers that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (
                (alias.name[6:], node.lineno)
                for alias in node.names
                if alias.name.startswith("saers.")
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "saers":
            base = (node.module or "")[6:]
            for alias in node.names:
                whole = f"{base}.{alias.name}".strip(".")
                yield (whole if whole in known else base), node.lineno


def test_a_module_imports_only_from_above():
    known = {name for name, _ in modules()} | {"_core"}
    wrong = []
    for name, file in modules():
        for imported, line in imports(file, known):
            if not imported:
                continue  # an error type or the version, from the root
            same = folder(imported) == folder(name) and level(imported) == level(name)
            if level(imported) >= level(name) and not same:
                wrong.append(f"{file.relative_to(PACKAGE)}:{line}: {name} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_every_name_of_the_order_exists():
    known = {name for name, _ in modules()} | {"_core"}
    assert not [name for name in ORDER if name not in known]


def test_only_the_engines_start_programs():
    starters = []
    for name, file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if "subprocess" in names:
                starters.append(name)
    assert starters == ["motifs.engines"]


def test_files_stay_short():
    root = PACKAGE.parent.parent
    sources = [*PACKAGE.rglob("*.py"), *(root / "crates").rglob("src/**/*.rs")]
    long = {
        str(f.relative_to(root)): n for f in sources if (n := len(f.read_text().splitlines())) > 400
    }
    assert not long

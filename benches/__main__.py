"""Run benches by name, or all of them, and write their table.

python -m benches [NAME ...] [--out docs/benchmarks.md]
"""

import argparse
import importlib
import os
import pkgutil
import platform
import sys
from pathlib import Path

import benches
from benches.harness import table

TITLE = """# Benchmarks

Written by `make bench`. CPU seconds are user and system time of the process, medians over runs in
which saers and its peers take turns; the page cache is warm; one thread unless the line says
otherwise. A ratio is the peer's time over ours. Files are made by the bench itself, from a seed.
"""


def main() -> None:
    """Run what was asked for."""
    known = [m.name for m in pkgutil.iter_modules(benches.__path__) if m.name.startswith("bench_")]
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(n[6:] for n in known)}")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    wanted = parser.parse_args()
    names = [f"bench_{name}" for name in wanted.names] or known
    parts = [TITLE, f"Machine: {machine()}.\n"]
    for name in names:
        module = importlib.import_module(f"benches.{name}")
        print(f"{name} …", file=sys.stderr, flush=True)
        rows = []
        for row in module.run():
            rows.append(row)
            print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
        extra = getattr(module, "extra", str)()
        parts.append(f"## {module.__doc__.splitlines()[0]}\n\n{table(rows)}\n{extra}")
        print(parts[-1], flush=True)
    if wanted.out:
        wanted.out.write_text("\n".join(parts) + "".join(notes()))


def machine() -> str:
    """Name processor, cores and versions."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def notes() -> list[str]:
    """What bounds the lines that miss their aim, kept by hand beside the benches."""
    text = Path(__file__).with_name("notes.md")
    return ["\n", text.read_text()] if text.exists() else []


if __name__ == "__main__":
    main()

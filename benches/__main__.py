"""Run benches by name, or all of them, and write their sections of docs/benchmarks.md.

python -m benches [NAME ...] [--out docs/benchmarks.md]

Sections of benches that are not run stay as they are.
"""

import argparse
import datetime
import importlib
import os
import pkgutil
import platform
import re
import sys
from pathlib import Path

import benches
from benches.harness import table

TITLE = """# Benchmarks

Written by `make bench`, a section by `make bench NAMES="tomtom sae"`. CPU seconds are user and
system time of the process, medians over runs in which saers and its peers take turns; the page
cache is warm; one thread unless the line says otherwise. A ratio is the peer's time over ours.
Files are made by the bench itself, from a seed.
"""
_MARK = re.compile(r"^<!-- bench (\w+) -->\n", re.MULTILINE)


def main() -> None:
    """Run what was asked for."""
    known = [
        m.name.removeprefix("bench_")
        for m in pkgutil.iter_modules(benches.__path__)
        if m.name.startswith("bench_")
    ]
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(known):
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in wanted.names or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        text = section(name)
        print(text, flush=True)
        if wanted.out:  # after each, so that what was measured outlives what fails later
            kept = sections(wanted.out.read_text() if wanted.out.exists() else "")
            wanted.out.write_text(document({**kept, name: text}))


def section(name: str) -> str:
    """Run one bench and lay its lines out."""
    module = importlib.import_module(f"benches.bench_{name}")
    rows = []
    for row in module.run():
        rows.append(row)
        print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
    extra = getattr(module, "extra", str)()
    title = module.__doc__.splitlines()[0]
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"## {title}\n\n{machine()}, {today}.\n\n{table(rows)}\n{extra}"


def sections(text: str) -> dict[str, str]:
    """Take a document apart: what each bench wrote, by its name."""
    _, *parts = _MARK.split(text)
    return {
        name: body.partition("<!-- notes -->")[0].rstrip("\n") + "\n"
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def document(parts: dict[str, str]) -> str:
    """Put sections together, by name, with what bounds the lines that miss their aim."""
    written = "\n".join(f"<!-- bench {name} -->\n{parts[name]}" for name in sorted(parts))
    notes = Path(__file__).with_name("notes.md").read_text()
    return f"{TITLE}\n{written}\n<!-- notes -->\n{notes}"


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


if __name__ == "__main__":
    main()

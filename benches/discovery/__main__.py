"""Run an engine on planted sets, and lay out what all engines found.

Runs go on where they stopped: each finished set is one line of FOLDER/ENGINE.seedN.jsonl.

    python -m benches.discovery run builtin --seed 9 --folder out
    python -m benches.discovery run streme --seed 9 --folder out
    python -m benches.discovery run meme-fast --seed 9 --folder out --limit 100
    python -m benches.discovery table --seed 9 --folder out [--write]

The parameters of the built-in engine were chosen on seeds 1, 11, 12 and 100 to 102; the table is of
seed 9. Seeds 2, 5, 7 and 8 were tables of earlier versions.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benches.bench_discovery import cpu_seconds
from benches.discovery import sets
from benches.discovery.report import report
from saers.motifs.engines import run_search
from saers.motifs.search import PRESETS, Search

DATA = Path(os.environ.get("SAERS_TEST_DATA", "../shared/data"))
ENGINES = {
    "builtin": {},
    "builtin-aligned": {"aligned": True},
    "streme": {"engine": "streme"},
    "meme-fast": PRESETS["fast"],
    "meme-paper": PRESETS["paper"],
}
# Far above any E-value: what an engine finds is judged by rank as well.
ANY = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benches.discovery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run one engine on the sets of a seed")
    run.add_argument("engine", choices=ENGINES)
    run.add_argument("--kinds", nargs="+", choices=sets.SIZES, default=list(sets.SIZES))
    run.add_argument("--limit", type=int, help="sets of each kind at most")
    run.add_argument("--letters", type=int, help="leave out sets of more letters")
    table = verbs.add_parser("table", help="print the table of the engines that were run")
    table.add_argument("--engines", nargs="+", choices=ENGINES, default=["builtin", "streme"])
    table.add_argument("--how", default="", help="options of the runs, told in the table")
    table.add_argument("--write", action="store_true", help="keep it for `make bench`")
    for verb in (run, table):
        verb.add_argument("--seed", type=int, default=9)
        verb.add_argument("--folder", type=Path, required=True)
    wanted = parser.parse_args()
    if wanted.verb == "run":
        run_engine(wanted)
        return
    text = report(DATA, wanted.folder, wanted.seed, wanted.engines, wanted.how)
    print(text)
    if wanted.write:
        Path(__file__).with_name("accuracy.md").write_text(text)


def run_engine(wanted: argparse.Namespace) -> None:
    """Run an engine on all sets that it was not run on yet."""
    path = wanted.folder / f"{wanted.engine}.seed{wanted.seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    known = {json.loads(line)["set"] for line in lines}
    for kind, index in sets.places(wanted.kinds, wanted.limit):
        name = f"{kind}_{index:03d}"
        if name in known:
            continue
        planted = sets.make(DATA, wanted.seed, kind, index)
        if wanted.letters and planted.letters > wanted.letters:
            continue
        record = found_in(planted.sequences, ENGINES[wanted.engine])
        with path.open("a") as file:
            file.write(json.dumps({"set": name, **record}) + "\n")
        print(f"{name} {record['cpu']:.2f} s", file=sys.stderr, flush=True)


def found_in(sequences: list[str], options: dict) -> dict:
    """Search once for the two best motifs, and once more as a user would."""
    before = cpu_seconds()
    ranked = run_search(Search(**options, evalue=ANY), sequences, threads=1)
    middle = cpu_seconds()
    called = ranked
    if options.get("engine", "builtin") == "builtin":
        called = run_search(Search(**options), sequences, threads=1)
    seconds = cpu_seconds() - (middle if called is not ranked else before)
    return {
        "cpu": round(seconds, 4),
        "ranked": [record(motif) for motif in ranked],
        "called": [record(motif) for motif in called if motif.log10_evalue < -1.30103],
    }


def record(motif) -> dict:
    return {
        "matrix": motif.matrix.round(4).tolist(),
        "n_sites": motif.n_sites,
        "log10_evalue": motif.log10_evalue,
    }


if __name__ == "__main__":
    main()

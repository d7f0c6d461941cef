"""The table of the runs that are stored."""

import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "results" / "sae_quality.json"

_TEXT = """## Recovery of a planted dictionary

Written by `python -m benches.sae_quality` (hours of one core; every run is stored). 64 channels,
150 true directions in superposition, 15 % of positions informative, mean five times the deviation;
256 latents, batches of 1,024, all learners on the same batches of the same centred input (saers
centres by itself). *Unfilled*: share of the 150 latents that the truth can fill which stayed dead.
Means over seeds, range in brackets; ~11 features are active at an informative position. Saers runs
with its defaults, peers with saers' dead window and at two learning rates, the second of them
saers'. Lines without "saers" or a peer are of worlds apart, on which the defaults were chosen
(`--ablate`).
"""


def text() -> str:
    """Lay the stored runs out in Markdown; empty where there are none."""
    if not RESULTS.exists():
        return ""
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for key, found in json.loads(RESULTS.read_text()).items():
        name, _, rest = key.partition(", seed ")
        groups.setdefault((name, rest.partition(", ")[2]), []).append(found)
    columns = ("recovery", "common", "unfilled", "fvu", "l0_informative", "l0_background")
    head = ["learner", "budget", "seeds", "k", *(name.replace("_", " ") for name in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for (name, budget), found in sorted(groups.items(), key=lambda group: _place(*group[0])):
        ks = "/".join(str(run["k"]) for run in found if "k" in run)
        cells = [name, budget, str(len(found)), ks, *(_spread(found, key) for key in columns)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n" + _TEXT + "\n" + "\n".join(lines) + "\n\n" + _choices(groups) + "\n"


def _place(name: str, budget: str) -> tuple[int, str, str]:
    """Put saers first, then its peers, then what its defaults are worth."""
    kind = 0 if name.startswith("saers") else 2 if name.startswith(("topk", "batchtopk")) else 1
    return kind, name, budget


def _choices(groups: dict[tuple[str, str], list[dict[str, object]]]) -> str:
    """What --choose-k saw: agreement of two seeds and FVU at each k."""
    lines = [
        "Directions that two seeds share, mean matched cosine and FVU at each k, by world:",
        "",
    ]
    for runs in groups.values():
        for run in runs:
            if isinstance(table := run.get("table"), list):
                told = (
                    f"k {r['k']}: {r['shared']:.0f}, {r['matched']:.3f}, {r['fvu']:.3f}"
                    for r in table
                )
                lines.append(f"- {' · '.join(told)}")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _spread(runs: list[dict[str, object]], key: str) -> str:
    values = [float(str(run[key])) for run in runs]
    middle = f"{statistics.mean(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g}–{max(values):.3g})"

"""Judge what engines found by Tomtom, and lay it out side by side."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benches.discovery import sets
from saers import Motif, tomtom

LIMIT = 0.05


class Judged(NamedTuple):
    """One true motif of one set, or a null set, and what an engine made of it."""

    kind: str
    width: int
    repeats: bool
    count: int
    ranked: bool
    """The true motif is matched by one of the first two, whatever their E-values."""
    called: bool
    """… by one that the engine calls at E < 0.05; of a null set: anything is called."""
    correlation: float
    cpu: float
    first: bool = True
    """Whether this is the first motif of its set."""


INTRODUCTION = """### Accuracy

Motifs of JASPAR 2024 planted in human sequence, with and without repeats, and shuffles of it
(null); parameters were chosen on sets of other seeds. "By rank": Tomtom matches the true motif at
E < 0.05 to one of the first two. "Own E < 0.05": to one that the engine itself calls; of null sets,
sets in which anything is called. Wilson intervals (95 %). "Correlation": median over recovered
motifs, with the planted matrix. CPU seconds are of one run each beside other work: the lines above
are the ones to compare. Sets with motifs are those that both engines of a table have run; null
sets are all that each has run. Made by
`python -m benches.discovery run ENGINE --seed {seed} --folder out {how}` for each engine and
`python -m benches.discovery table --seed {seed} --folder out --engines {engines} --write`."""


ALIGNED = """The prior on the middle (`--aligned`) on sets like "hard" whose sites lie near the
middle of their seqlets (`run builtin`, `run builtin-aligned`, each with `--kinds aligned`):"""


FURTHER = """{engine}, being slow, has run {count} sets with motifs, of at most {letters:,} letters;
the same sets by both:"""


def report(data: Path, folder: Path, seed: int, engines: list[str], how: str = "") -> str:
    """Judge two engines on the sets that both have run, and write the tables in Markdown.

    Further engines are set beside the first one, each on the sets that they share, so that a slow
    one does not cut down what is known of the others.
    """
    judged = judge_pair(data, folder, seed, engines[:2])
    further = []
    for engine in engines[2:]:
        pair = {
            name: [row for row in rows if row.kind != "null"]
            for name, rows in judge_pair(data, folder, seed, [engines[0], engine]).items()
        }
        count = sum(row.first for row in pair[engine])
        if count:
            letters = max(row.width * row.count for row in pair[engine])
            text = FURTHER.format(engine=engine, count=count, letters=letters)
            further += [text, by_class(pair, "class", lambda row: row.kind)]
    return "\n\n".join(
        [
            INTRODUCTION.format(seed=seed, how=how, engines=" ".join(engines)),
            by_class(judged, "class", lambda row: row.kind),
            by_class(
                {name: [r for r in rows if r.kind == "hard"] for name, rows in judged.items()},
                "hard, by width", lambda row: f"hard, {row.width} bp",
            ),
            by_class(
                {name: [r for r in rows if r.kind != "null"] for name, rows in judged.items()},
                "all but nulls, by width and repeats",
                lambda row: f"{row.width} bp, {'repeats' if row.repeats else 'no repeats'}",
            ),
            *further,
            *alignment(data, folder, seed),
        ]
    ) + "\n"  # fmt: skip


def judge_pair(data: Path, folder: Path, seed: int, engines: list[str]) -> dict[str, list[Judged]]:
    """Judge what engines found in the sets that all of them have run, and in all null sets."""
    records = {name: recorded(folder, name, seed) for name in engines}
    common = set.intersection(*(set(found) for found in records.values()))
    return {
        name: [
            row
            for key, record in sorted(found.items())
            if (key in common or key.startswith("null")) and not key.startswith("aligned")
            for row in judge_set(data, seed, record)
        ]
        for name, found in records.items()
    }


def recorded(folder: Path, engine: str, seed: int) -> dict[str, dict]:
    """Read what an engine found, by the name of the set."""
    lines = (folder / f"{engine}.seed{seed}.jsonl").read_text().splitlines()
    return {record["set"]: record for record in map(json.loads, lines)}


def alignment(data: Path, folder: Path, seed: int) -> list[str]:
    """Tell the gain of `--aligned` where sites lie near the middle, if both ways were run."""
    ways = ("builtin", "builtin-aligned")
    if not all((folder / f"{way}.seed{seed}.jsonl").exists() for way in ways):
        return []
    found = {way: recorded(folder, way, seed) for way in ways}
    keys = sorted(key for key in set.intersection(*map(set, found.values())) if "aligned" in key)
    judged = {
        way: [row for key in keys for row in judge_set(data, seed, records[key])]
        for way, records in found.items()
    }
    title = f"sites {sets.MIDDLE_SD:g} bp (SD) about the middle, 3-10 %"
    return [
        ALIGNED,
        by_class(judged, title, lambda row: f"{row.width} bp"),
        by_class(judged, title, lambda row: "all widths"),
    ]


def judge_set(data: Path, seed: int, record: dict) -> list[Judged]:
    kind, _, index = record["set"].partition("_")
    planted = sets.make(data, seed, kind, int(index))
    about = (kind, planted.width, planted.repeats, len(planted.sequences))
    if kind == "null":
        called = bool(record["called"])
        return [Judged(*about, called, called, math.nan, record["cpu"])]
    ranked, called = (read(record[key]) for key in ("ranked", "called"))
    hits, calls = matches(data, ranked), matches(data, called)
    rows = []
    for truth in planted.truth:
        own = [motif for motif in ranked if (motif.id, truth.id) in hits]
        best = max((correlation(m.matrix, truth.matrix) for m in own), default=math.nan)
        also = any((motif.id, truth.id) in calls for motif in called)
        rows.append(Judged(*about, bool(own), also, best, record["cpu"], not rows))
    return rows


def read(records: list[dict]) -> list[Motif]:
    """Make motifs of the two that an engine ranks first."""
    ordered = sorted(records, key=lambda r: r["log10_evalue"])[:2]
    return [Motif(f"m{i}", "", np.array(r["matrix"]), r["n_sites"]) for i, r in enumerate(ordered)]


def matches(data: Path, found: list[Motif]) -> set[tuple[str, str]]:
    """List what Tomtom matches at E < 0.05 in all of JASPAR."""
    if not found:
        return set()
    frame = tomtom(found, sets.jaspar(data), thresh=LIMIT, evalue=True, threads=1)
    return set(frame.select("query_id", "target_id").iter_rows())


def correlation(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest Pearson correlation of two matrices over alignments on either strand.

    At least three quarters of the narrower matrix take part, all entries of the columns aligned.
    """
    least = math.ceil(0.75 * min(len(found), len(truth)))
    best = -1.0
    for turned in (truth, truth[::-1, ::-1]):
        for shift in range(least - len(found), len(turned) - least + 1):
            low, high = max(0, shift), min(len(turned), shift + len(found))
            pair = turned[low:high].ravel(), found[low - shift : high - shift].ravel()
            if min(part.std() for part in pair) > 0:
                best = max(best, float(np.corrcoef(*pair)[0, 1]))
    return best


def by_class(judged: dict[str, list[Judged]], title: str, key: Callable[[Judged], str]) -> str:
    lines = [
        f"| {title} | engine | motifs | by rank | own E < 0.05 | correlation | CPU s a set |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[str, dict[str, list[Judged]]] = defaultdict(dict)
    for name, rows in judged.items():
        for row in rows:
            groups[key(row)].setdefault(name, []).append(row)
    for group in sorted(groups, key=natural):
        for name, rows in groups[group].items():
            ranked, called = sum(r.ranked for r in rows), sum(r.called for r in rows)
            known = [row.correlation for row in rows if not math.isnan(row.correlation)]
            null = rows[0].kind == "null"
            lines.append(
                f"| {group} | {name} | {len(rows)} "
                f"| {'' if null else share(ranked, len(rows))} | {share(called, len(rows))} "
                f"| {statistics.median(known) if known else math.nan:.3f} "
                f"| {statistics.median(row.cpu for row in rows):.3g} |"
            )
    return "\n".join(lines)


def natural(text: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdigit() else (0, word) for word in text.split()]


def share(hits: int, total: int) -> str:
    """Show a share with its Wilson interval (95 %)."""
    z, p = 1.959964, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return f"{hits} = {100 * p:.0f} % ({100 * low:.0f}–{100 * high:.0f})"

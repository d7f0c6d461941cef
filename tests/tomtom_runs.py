"""Options of Tomtom over 324 queries and two databases, beside the program itself.

The program's rows are kept as one digest for each query. To compare with the program anew, row by
row, or to record digests (half an hour of CPU time for all; --only adds to what is there):

    python -m tests.tomtom_runs --check
    python -m tests.tomtom_runs --write
"""

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import warnings
from itertools import groupby
from pathlib import Path

from saers.matches import tomtom, write_tomtom_tsv
from saers.motif import read_motifs

HERE = Path(__file__).resolve().parent / "data" / "tomtom541"
RECORDED = HERE / "digests.json.gz"
BACKGROUND = (0.31, 0.2, 0.18, 0.31)
# A hundred columns take Tomtom as long as a hundred queries: they are tried once.
WIDE = ("default",)
# Name -> file of the shared data, and which of its motifs: Tomtom takes a second a query for all.
DATABASES = {
    "jaspar": ("JASPAR2024_CORE_vertebrates_nr", slice(3, None, 14)),
    "hocomoco": ("HOCOMOCOv11_core_HUMAN", slice(0, None, 7)),
}
OPTIONS = {
    "default": ([], {}),
    "pearson": (["-dist", "pearson"], {"dist": "pearson"}),
    "sandelin": (["-dist", "sandelin"], {"dist": "sandelin"}),
    "kullback": (["-dist", "kullback"], {"dist": "kullback"}),
    "allr": (["-dist", "allr"], {"dist": "allr"}),
    "bfile": (
        ["-dist", "allr", "-bfile", "BACKGROUND"],
        {"dist": "allr", "background": BACKGROUND},
    ),
    "norc": (["-norc"], {"reverse_complement": False}),
    "internal": (["-internal"], {"internal": True}),
    "modisco": (["-dist", "pearson", "-min-overlap", "5"], {"dist": "pearson", "min_overlap": 5}),
    "pseudo": (["-motif-pseudo", "1.5"], {"pseudocount": 1.5}),
    "overlap": (["-min-overlap", "8"], {"min_overlap": 8}),
    "incomplete": (["-incomplete-scores"], {"incomplete_scores": True}),
    "evalue": (["-evalue", "-thresh", "2"], {"evalue": True, "thresh": 2.0}),
    "qvalue": (["-thresh", "0.1"], {"thresh": 0.1}),
}


def queries_of(option):
    """Names of the query files that an option is tried with."""
    return ("mixed", "meme", "streme", *["wide"] * (option in WIDE))


def blocks(text):
    """Head of a MEME file, and its motifs."""
    head, *motifs = re.split(r"(?=^MOTIF )", text, flags=re.MULTILINE)
    return head, motifs


def odd_motifs():
    """Motifs at the edges: flat, one or two wide, a hundred wide, no sites, only zeros and ones."""
    letters = {
        "A": "1 0 0 0", "C": "0 1 0 0", "G": "0 0 1 0", "T": "0 0 0 1",
        "N": "0.25 0.25 0.25 0.25", "R": "0.5 0 0.5 0", "H": "0.333 0.333 0 0.333",
        "w": "0.49 0.01 0.01 0.49", "q": "0.97 0.01 0.01 0.01",
    }  # fmt: skip
    words = {
        "flat": ("NNNNNN", "nsites= 20"),
        "flat1": ("N", ""),
        "w1": ("A", "nsites= 20"),
        "w1r": ("R", ""),
        "w2": ("CG", "nsites= 20"),
        "w2n": ("Gw", ""),
        "nosites": ("TGACTCA", ""),
        "zerosites": ("TGACTCA", "nsites= 0"),
        "parted": ("TGANNNNTCA", "nsites= 7.9"),
        "many": ("CACGTG", "nsites= 100000"),
        "repeat": ("AAAAAAAAAAAA", "nsites= 50"),
        "off": ("HHTGACTCAHH", "nsites= 40"),
        "soft": ("qwqwRqNq", "nsites= 12"),
        "wide": ("ACGTNRTGACTCAw" * 7 + "qq", "nsites= 31"),
    }
    for name, (word, sites) in words.items():
        rows = "\n".join(letters[letter] for letter in word)
        yield (
            f"MOTIF {name}\nletter-probability matrix: alength= 4 w= {len(word)} {sites}\n"
            f"{rows}\n\n"
        )


def write_inputs(data, folder):
    """Write query and target files cut from the shared data, as text, digit for digit."""
    head, queries = blocks((data / "golden" / "queries300.meme").read_text())
    *odd, wide = odd_motifs()
    # Odd ones among the others: the order of queries matters to Tomtom's q-values.
    mixed = [text for i, q in enumerate(queries) for text in [*odd[i : i + 1], q.rstrip() + "\n\n"]]
    (folder / "mixed.meme").write_text(head + "".join(mixed))
    (folder / "wide.meme").write_text(head + wide)
    for name in ("meme", "streme"):
        (folder / f"{name}.meme").write_bytes(
            gzip.decompress((HERE / f"{name}.txt.gz").read_bytes())
        )
    for name, (file, part) in DATABASES.items():
        text = gzip.decompress((data / "motifdb" / f"{file}.meme.gz").read_bytes()).decode()
        head, targets = blocks(text)
        (folder / f"{name}.db.meme").write_text(head + "".join(targets[part]))
    lines = [f"{letter} {value}\n" for letter, value in zip("ACGT", BACKGROUND, strict=True)]
    (folder / "BACKGROUND").write_text("".join(lines))


def rows_of(text):
    """Rows of a table in Tomtom's layout, without the head."""
    return [line for line in text.splitlines()[1:] if line and not line.startswith("#")]


def own(folder, queries, database, options):
    """Rows as saers prints them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flat motifs
        found = tomtom(
            read_motifs(folder / f"{queries}.meme"),
            read_motifs(folder / f"{database}.db.meme"),
            q="compat",
            **{"thresh": 1.0, **options},
        )
    write_tomtom_tsv(found, folder / "own.tsv")
    return rows_of((folder / "own.tsv").read_text())


def program(folder, queries, database, flags):
    """Rows as the program prints them."""
    flags = [str(folder / flag) if flag == "BACKGROUND" else flag for flag in flags]
    thresh = [] if "-thresh" in flags else ["-thresh", "1"]
    files = [folder / f"{queries}.meme", folder / f"{database}.db.meme"]
    command = ["tomtom", "-text", "-verbosity", "1", *thresh, *flags, *files]
    return rows_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def digests(rows):
    """Digest of the rows of each query, in their order."""
    grouped = groupby(rows, key=lambda row: row.split("\t")[0])
    return {
        query: hashlib.sha256("\n".join(part).encode()).hexdigest()[:10] for query, part in grouped
    }


def main():
    """Compare with the program, or record what it prints."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.tomtom_runs")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--check", action="store_true")
    group.add_argument("--write", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="*", default=list(OPTIONS), choices=list(OPTIONS))
    wanted = parser.parse_args()
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes())) if RECORDED.exists() else {}
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(wanted.data, folder)
        for option in wanted.only:
            flags, options = OPTIONS[option]
            for queries in queries_of(option):
                for database in DATABASES:
                    theirs = program(folder, queries, database, flags)
                    key = f"{option} {queries} {database}"
                    recorded[key] = {"rows": len(theirs), "digests": digests(theirs)}
                    if wanted.check:
                        ours = own(folder, queries, database, options)
                        differing = len(set(ours) ^ set(theirs)) + (ours != theirs)
                        wrong += differing
                        print(f"{key}: {len(theirs)} rows, {differing} differ", flush=True)
                    else:
                        print(f"{key}: {len(theirs)} rows", flush=True)
                    if wanted.write:
                        packed = json.dumps(recorded, separators=(",", ":")).encode()
                        RECORDED.write_bytes(gzip.compress(packed, mtime=0))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

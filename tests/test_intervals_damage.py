"""Damaged files of intervals: a frame that is sound, or a FormatError; nothing else."""

import gzip

import numpy as np
import polars as pl
import pytest

import saers
from saers import intervals

BED = "track name=x\n#c\n" + "".join(
    f"chr{i % 4}\t{i}\t{i * 9 + 3}\tn{i}\t0\t+\n" for i in range(40)
)
PEAKS = "".join(f"chr1\t{i}\t{i + 90}\tp{i}\t{i}\t.\t{i / 7}\t3.5\t-1\t45\n" for i in range(40))
SPACED = "".join(f"chr1 {i}  {i + 9} x\n" for i in range(20))
OUT = """   SW   perc perc perc  query     position in query    matching  repeat       position in
score   div. del. ins.  sequence  begin end   (left)   repeat    class/family begin end (left) ID

""" + "".join(
    f" {i}  1.3 0.6 1.7  chr1 {i + 1} {i + 99} (248) +  (TA)n Simple_repeat/x 1 471 (0) {i}\n"
    for i in range(20)
)
RMSK = "".join(
    f"585\t{i}\t13\t6\t17\tchr1\t{i}\t{i + 468}\t-1\t+\tL1\tLINE\tL1\t1\n" for i in range(20)
)
READERS = {
    "a.bed": (BED, intervals.read_bed),
    "b.bed.gz": (BED, intervals.read_bed),
    "c.narrowPeak": (PEAKS, intervals.read_annotation),
    "d.bed": (SPACED, intervals.read_annotation),
    "e.bed.gz": (PEAKS, lambda path: intervals.read_annotation(path, class_column=9)),
    "f.out": (OUT, intervals.read_repeatmasker),
    "g.txt.gz": (RMSK, lambda path: intervals.read_repeatmasker(path, level="family")),
}
JUNK = [
    b"\0",
    b"\xff\xfe",
    b"\x1f\x8b\x08",
    b"\t",
    b"\n",
    b"\r",
    b'"',
    b"9" * 30,
    b"-",
    b"1e9",
    b"\x01",
]


def mutate(content, rng):
    """One to three changes: bits, bytes, junk, cuts, gaps, fields and lines moved about."""
    for _ in range(rng.integers(1, 4)):
        at, to = sorted(rng.integers(len(content) + 1, size=2))
        piece = JUNK[rng.integers(len(JUNK))]
        kind = rng.integers(8)
        if kind == 0 and at < len(content):
            flipped = content[at] ^ (1 << int(rng.integers(8)))
            content = content[:at] + bytes([flipped]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at]
        elif kind == 2:
            content = content[:at] + content[to:]
        elif kind == 3:
            content = content[:at] + piece + content[at:]
        elif kind == 4:
            content = content[:at] + rng.bytes(int(rng.integers(1, 300))) + content[to:]
        elif kind == 5:
            fields = content.split(b"\t")
            place = rng.integers(len(fields))
            fields[place : place + 1] = [piece] * int(rng.integers(3))
            content = b"\t".join(fields)
        elif kind == 6:
            lines = content.split(b"\n")
            rng.shuffle(lines)
            content = b"\n".join(lines)
        else:
            content = content + content[at:to]
    return content


@pytest.mark.parametrize("name", READERS)
def test_damage_gives_a_sound_frame_or_a_format_error(tmp_path, name):
    text, read = READERS[name]
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    whole = read(path)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        path.write_bytes(mutate(sound, rng))
        try:
            frame = read(path)
        except saers.FormatError:
            refused += 1
            continue
        assert frame.height > 0
        assert set(whole.columns[:3]) <= set(frame.columns)
        assert frame["start"].dtype == frame["end"].dtype == pl.Int64
        assert frame.null_count().sum_horizontal().item() == 0
        assert ((frame["start"] >= 0) & (frame["start"] <= frame["end"])).all()
    assert refused > 0


@pytest.mark.parametrize(
    "content", [b"\0" * 1000, b"\x1f\x8b", bytes(range(256)) * 9, b"\xff" * 99]
)
def test_what_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "a.bed"
    path.write_bytes(content)
    for read in (intervals.read_bed, intervals.read_annotation, intervals.read_repeatmasker):
        with pytest.raises(saers.FormatError, match=r"a\.bed: "):
            read(path)

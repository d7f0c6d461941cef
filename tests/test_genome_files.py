"""Any FASTA file, any damage: letters are those of the file, or there is an error."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyfaidx
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saers
from saers.genome import Genome
from tests.bgzip import bgzip

IUPAC = "ACGTUNRYKMSWBDHVacgtunrykmswbdhv"
COMPLEMENT = str.maketrans(IUPAC, "TGCAANYRMKSWVHDBtgcaanyrmkswvhdb")
in_temporary_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def files(draw):
    """Records and the text of their file."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    records, text = {}, ""
    for number in range(draw(st.integers(1, 5))):
        length = draw(st.one_of(st.just(0), st.integers(1, 300)))
        letters = "".join(draw(st.lists(st.sampled_from(IUPAC), min_size=length, max_size=length)))
        width = draw(st.integers(1, 80))
        lines = [letters[i : i + width] for i in range(0, length, width)]
        text += end.join([f">r{number} of a file", *lines]) + end
        records[f"r{number}"] = letters
    if draw(st.booleans()) and letters:
        return records, text.removesuffix(end)
    return records, text + end * draw(st.integers(0, 3))


def write(folder, content, name):
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    path.write_bytes(content)
    return path


def regions_of(draw, records):
    """Regions that may reach past both ends, on either strand."""
    count = draw(st.integers(1, 12))
    for _ in range(count):
        name = draw(st.sampled_from(sorted(records)))
        start = draw(st.integers(-20, len(records[name]) + 20))
        yield name, start, start + draw(st.integers(0, 150)), draw(st.sampled_from("+-."))


def padded(letters, start, end, strand):
    """The letters of a region, by plain string handling."""
    found = "".join(letters[i] if 0 <= i < len(letters) else "N" for i in range(start, end))
    return found[::-1].translate(COMPLEMENT) if strand == "-" else found


@given(files(), st.data())
@in_temporary_folder
def test_each_base_is_the_one_in_the_file(tmp_path, made, data):
    records, text = made
    regions = list(regions_of(data.draw, records))
    expected = [padded(records[name], *rest) for name, *rest in regions]
    packed = bgzip(text.encode(), data.draw(st.integers(1, 400)))
    for path in (write(tmp_path, text.encode(), "g.fa"), write(tmp_path, packed, "g.fa.gz")):
        for genome in (Genome(path), Genome(path)):  # the index is made, then read
            assert list(genome.chromosomes.items()) == [(n, len(x)) for n, x in records.items()]
            for name, letters in records.items():
                assert genome.fetch(name, 0, len(letters)) == letters
            assert genome.slice(regions, pad=True, soft_mask=True) == expected
            assert genome.slice(regions, pad=True) == [letters.upper() for letters in expected]


@given(files(), st.data())
@in_temporary_folder
def test_each_base_is_the_one_that_pyfaidx_reads(tmp_path, made, data):
    records, text = made
    path = write(tmp_path, text.encode(), "g.fa")
    try:
        other = pyfaidx.Fasta(str(path))
    except (pyfaidx.FastaIndexingError, RuntimeError):  # it minds more than one empty line
        assert text.endswith("\n\n") or text.endswith("\r\n\r\n")
        return
    genome = Genome(path)  # reads the index that pyfaidx made
    with other:
        for name, start, end, strand in regions_of(data.draw, records):
            start, end = sorted(min(max(x, 0), len(records[name])) for x in (start, end))
            if start < end:
                theirs = other[name][start:end]
                if strand == "-" and "U" not in theirs.seq.upper():  # which it refuses
                    theirs = theirs.reverse.complement
                else:
                    strand = "+"
                (ours,) = genome.slice([(name, start, end, strand)], soft_mask=True)
                assert ours == theirs.seq


def test_bgzip_reads_the_files_of_pysam(tmp_path):
    path = write(tmp_path, b">a\n" + b"ACGTNacgtn\n" * 20_000, "g.fa")
    pysam.tabix_compress(str(path), f"{path}.gz")
    pysam.faidx(f"{path}.gz")
    assert Genome(f"{path}.gz").fetch("a", 0, 200_000) == "ACGTNacgtn" * 20_000


@pytest.mark.parametrize("pack", [bytes, bgzip])
def test_a_file_that_shrinks_is_an_error(tmp_path, pack):
    rng = np.random.default_rng(0)
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), (100_000, 61))
    letters[:, 60] = ord("\n")
    path = write(tmp_path, pack(b">a\n" + letters.tobytes()), "g.fa")
    genome = Genome(path)
    regions = [("a", start, start + 34) for start in range(0, 5_999_000, 5000)]
    assert len(genome.slice(regions)) == len(regions)
    os.truncate(path, path.stat().st_size // 2)
    for read in (
        lambda: genome.slice(regions),
        lambda: genome.onehot(regions),
        lambda: genome.fetch("a", 5_000_000, 5_000_010),
        lambda: genome.n_runs("a"),
    ):
        with pytest.raises(
            saers.FormatError, match=r"g\.fa: byte \d+: the file ends here, but had"
        ):
            read()
    assert genome.fetch("a", 0, 60).encode() == letters[0, :60].tobytes()


MAKE_INDEX = "import sys; from saers.genome import Genome; print(Genome(sys.argv[1]).chromosomes)"


def test_two_processes_may_make_an_index_at_once(tmp_path):
    path = write(tmp_path, bgzip(b">a\n" + b"ACGTA\n" * 50_000), "g.fa.gz")
    call = [sys.executable, "-c", MAKE_INDEX, str(path)]
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: subprocess.run(call, capture_output=True), range(2)))
    assert [run.stdout for run in runs] == [b"{'a': 250000}\n"] * 2
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "g.fa.gz",
        "g.fa.gz.fai",
        "g.fa.gz.gzi",
    ]


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path):
    path = write(tmp_path, bgzip(b">a\nACGTA\n"), "g.fa.gz")
    path.parent.chmod(0o555)
    try:
        assert Genome(path).fetch("a", 1, 3) == "CG"
    finally:
        path.parent.chmod(0o755)
    assert [file.name for file in path.parent.iterdir()] == ["g.fa.gz"]


@pytest.mark.parametrize(
    "line",
    [
        "a\t99999999999\t3\t4\t5",
        "a\t6\t99999999999\t4\t5",
        "a\t6\t3\t0\t0",
        "a\t6\t3\t4\t0",
        "a\t6\t3\t4\t99999999999",
        "a\t18446744073709551615\t3\t1\t1",
        "a\t6\t3\t3\t5",
        "a\t-6\t3\t4\t5",
        "a\t6",
        "",
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, line):
    path = write(tmp_path, b">a\nACGT\nAC\n", "g.fa")
    Path(f"{path}.fai").write_text(line)
    with pytest.raises(saers.FormatError, match=r"g\.fa\.fai: line 1"):
        Genome(path)


def test_damage_is_an_error_or_changes_no_letter(tmp_path):
    rng = np.random.default_rng(2)
    letters = "".join(rng.choice(list(IUPAC), 5000))
    lines = [letters[i : i + 50] for i in range(0, 5000, 50)]
    path = write(tmp_path, bgzip("\n".join([">a", *lines, ""]).encode(), 700), "g.fa.gz")
    Genome(path)
    refused = 0
    for name in ("g.fa.gz", "g.fa.gz.fai", "g.fa.gz.gzi"):
        damaged = path.with_name(name)
        sound = damaged.read_bytes()
        for _ in range(200):
            content = bytearray(sound)
            for at in rng.integers(len(content), size=rng.integers(1, 4)):
                content[at] = rng.integers(256)
            damaged.write_bytes(
                content[: rng.integers(len(content))] if rng.random() < 0.3 else content
            )
            try:
                assert Genome(path).fetch("a", 0, 5000) == letters
            except saers.FormatError:
                refused += 1
        damaged.write_bytes(sound)
    assert refused > 400

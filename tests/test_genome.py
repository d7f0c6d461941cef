"""Genome slices: equal to pyfaidx and to known sequences, and clear about bad input."""

import gzip
import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyfaidx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saers
from saers.genome import Genome, alias, read_fasta
from saers.regions import regions_frame


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1 first\nACGTAC\nGTnnNN\nAAC\n>chr2\nGGGGCC\n")
    return Genome(path)


def unpack(source, folder):
    """A plain copy of a gzipped file."""
    path = folder / source.name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(source.read_bytes()))
    return path


def random_regions(genome, count, longest, seed=0):
    rng = np.random.default_rng(seed)
    names = list(genome.chromosomes)
    chroms = [names[i] for i in rng.integers(len(names), size=count)]
    lengths = np.array([genome.chromosomes[chrom] for chrom in chroms])
    starts = (rng.random(count) * (lengths + 1)).astype(int)
    ends = np.minimum(starts + rng.integers(longest, size=count), lengths)
    return list(zip(chroms, starts.tolist(), ends.tolist(), strict=True))


def test_chromosomes_keep_the_order_of_the_file(genome):
    assert genome.chromosomes == {"chr1": 15, "chr2": 6}


def test_fetch_keeps_the_letters_of_the_file(genome):
    assert genome.fetch("chr1", 4, 10) == "ACGTnn"


def test_slice_gives_upper_case_unless_soft_mask_is_asked_for(genome):
    assert genome.slice([("chr1", 6, 12)]) == ["GTNNNN"]
    assert genome.slice([("chr1", 6, 12)], soft_mask=True) == ["GTnnNN"]


def test_the_minus_strand_is_reverse_complemented(genome):
    frame = pl.DataFrame({"chrom": ["chr1"] * 2, "start": 0, "end": 8, "strand": ["+", "-"]})
    assert genome.slice(frame) == ["ACGTACGT", "ACGTACGT"]
    assert genome.slice([("chr2", 0, 6, "-")]) == ["GGCCCC"]


def test_a_dot_as_strand_means_forward(genome):
    assert genome.slice([("chr2", 0, 6, ".")]) == ["GGGGCC"]


def test_pad_gives_n_outside(genome):
    assert genome.slice([("chr2", -2, 8), ("chr2", 9, 11)], pad=True) == ["NNGGGGCCNN", "NN"]


def test_no_regions_give_no_letters(genome):
    assert genome.slice([]) == []
    assert genome.onehot([]).shape == (0, 0, 4)


@pytest.mark.parametrize(
    "region, message",
    [
        (("chr1", 10, 16), "regions[0]: chr1:10-16 reaches past the end of chr1, 15 bp"),
        (("chr1", -1, 4), "regions[0]: chr1:-1-4 starts before 0"),
        (("chr1", 5, 4), "regions[0]: chr1:5-4 has its start after its end"),
        (("1", 0, 4), "'1' is not in genome.fa, which has 'chr1'"),
        (("chr3", 0, 4), "'chr3' is not in genome.fa"),
        (("chr1", 0, 4, "x"), "strand must be one of +, -, ., got 'x'"),
    ],
)
def test_bad_regions_are_named(genome, region, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        genome.slice([region])


def test_regions_must_have_their_columns():
    with pytest.raises(ValueError, match=re.escape("missing columns ['end']")):
        regions_frame(pl.DataFrame({"chrom": ["a"], "start": [0]}))
    with pytest.raises(ValueError, match="empty"):
        regions_frame(pl.DataFrame({"chrom": ["a"], "start": [None], "end": [1]}))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float16, bool])
def test_onehot_equals_the_letters(genome, dtype):
    regions = [("chr1", 0, 9, "-"), ("chr1", 6, 15)]
    code = genome.onehot(regions, dtype)
    letters = np.array([list(text) for text in genome.slice(regions)])
    assert code.dtype == dtype
    np.testing.assert_array_equal(code, letters[:, :, None] == np.array(list("ACGT")))


def test_onehot_refuses_regions_of_two_lengths(genome):
    with pytest.raises(ValueError, match=re.escape("regions[0] has 3, regions[1] has 4")):
        genome.onehot([("chr1", 0, 3), ("chr1", 0, 4)])


def test_runs_of_n_are_found_in_either_case(genome):
    assert genome.n_runs("chr1").tolist() == [[8, 12]]
    assert genome.n_runs("chr2").shape == (0, 2)
    assert genome.n_runs("chr1") is genome.n_runs("chr1")


def test_a_genome_travels_to_another_process(genome):
    assert pickle.loads(pickle.dumps(genome)).fetch("chr2", 0, 6) == "GGGGCC"


def test_a_pyfaidx_file_is_taken(genome):
    with pyfaidx.Fasta(str(genome.path)) as other:
        assert Genome(other).fetch("chr2", 0, 6) == "GGGGCC"
    assert Genome(genome).chromosomes == genome.chromosomes


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"genome: no file at .*none\.fa"):
        Genome(tmp_path / "none.fa")


def test_an_index_that_is_stale_is_refused(genome):
    genome.path.write_text(">chr1 first\nACGTAC\n")
    with pytest.raises(saers.FormatError, match=r"genome\.fa\.fai: line 1: .* stale"):
        Genome(genome.path)


def test_plain_gzip_says_how_to_go_on(tmp_path):
    path = tmp_path / "genome.fa.gz"
    path.write_bytes(gzip.compress(b">chr1\nACGT\n"))
    with pytest.raises(saers.FormatError, match=r"genome\.fa\.gz: .*use bgzip"):
        Genome(path)


@pytest.mark.parametrize(
    "name, known, found",
    [
        ("1", ["chr1"], "chr1"),
        ("chr1", ["1"], "1"),
        ("chrM", ["MT"], "MT"),
        ("Mito", ["chrM"], "chrM"),
        ("chr1", ["chr2"], None),
    ],
)
def test_aliases(name, known, found):
    assert alias(name, known) == found


@st.composite
def fasta_files(draw):
    """Text of a FASTA file: odd widths, either line end, perhaps none at the end."""
    records = draw(st.lists(st.text("ACGTNacgtnRY", min_size=1, max_size=50), min_size=1))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = ""
    for number, letters in enumerate(records):
        width = draw(st.integers(1, 60))
        lines = [letters[i : i + width] for i in range(0, len(letters), width)]
        text += end.join([f">r{number} text", *lines]) + end
    return text[: -len(end)] if draw(st.booleans()) else text


@given(fasta_files())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_letters_equal_pyfaidx_on_generated_files(tmp_path, text):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    path = folder / "genome.fa"
    path.write_bytes(text.encode())
    genome = Genome(path)
    with pyfaidx.Fasta(str(path), rebuild=True, indexname=str(folder / "theirs.fai")) as other:
        assert list(genome.chromosomes) == list(other.keys())
        for chrom, start, end in random_regions(genome, 20, 30):
            assert genome.fetch(chrom, start, end) == other[chrom][start:end].seq


@pytest.mark.data
@pytest.mark.parametrize("name", ["hg38.chr2_1-2333275", "sacCer.R64-1-1"])
def test_letters_equal_pyfaidx_on_real_genomes(data, tmp_path, name):
    path = unpack(data / "genome" / f"{name}.fa.gz", tmp_path)
    genome = Genome(path)
    regions = random_regions(genome, 3000, 400)
    with pyfaidx.Fasta(str(path), as_raw=True, indexname=str(tmp_path / "their.fai")) as other:
        expected = [other[chrom][start:end] for chrom, start, end in regions]
    assert genome.slice(regions, soft_mask=True) == expected


@pytest.mark.data
def test_bgzip_and_plain_give_the_same_letters(data, tmp_path):
    packed = data / "genome" / "hg38.chr1_1-1000000.fa.gz"
    mine = tmp_path / packed.name
    mine.write_bytes(packed.read_bytes())
    plain = Genome(unpack(packed, tmp_path))
    regions = random_regions(plain, 3000, 70_000)
    for source in (packed, mine):
        assert Genome(source).slice(regions) == plain.slice(regions)
    for ending in (".fai", ".gzi"):
        made = mine.with_name(mine.name + ending)
        assert made.read_bytes() == packed.with_name(packed.name + ending).read_bytes()


@pytest.mark.data
def test_a_mostly_unknown_chromosome_has_its_two_runs_of_n(data):
    genome = Genome(data / "genome" / "hg19.chr20.unittest.fa.gz")
    assert genome.n_runs("chr20")[[0, -1]].tolist() == [[0, 9_995_000], [11_095_000, 63_025_520]]


def fasta_records(path):
    """Header and letters of each record."""
    text = gzip.decompress(path.read_bytes()).decode()
    for record in text.split(">")[1:]:
        header, *lines = record.splitlines()
        yield header, "".join(lines)


@pytest.mark.data
@pytest.mark.parametrize("name, count", [("ctcf", 49), ("pu1", 14)])
def test_peak_sequences_equal_their_slices(data, tmp_path, name, count):
    genomes = {
        "chr20": Genome(data / "genome" / "hg19.chr20.unittest.fa.gz"),
        "chr17": Genome(unpack(data / "genome" / "b37.chr17_1-1000000.fa.gz", tmp_path)),
        "chr1": Genome(unpack(data / "genome" / "b37.chr1_1-1000000.fa.gz", tmp_path)),
    }
    checked = 0
    for header, letters in fasta_records(data / "seqs" / f"{name}.peaks100.fa.gz"):
        chrom, start, end = re.match(r"(\w+):(\d+)-(\d+)", header).groups()
        if chrom not in genomes:
            continue
        genome = genomes[chrom]
        own = alias(chrom, genome.chromosomes) or chrom
        region = (own, int(start), int(end))
        if region[2] > genome.chromosomes[own] or "N" in genome.slice([region])[0]:
            continue
        assert genome.slice([region]) == [letters.upper()]
        checked += 1
    assert checked == count


@pytest.mark.data
def test_jaspar_sites_equal_their_slices_on_their_strand(data, tmp_path):
    genomes = {
        ("hg38", "chr1"): Genome(data / "genome" / "hg38.chr1_1-1000000.fa.gz"),
        ("hg38", "chr2"): Genome(data / "genome" / "hg38.chr2_1-2333275.fa.gz"),
    }
    checked = 0
    for path in sorted((data / "seqs").glob("jaspar2018.*.sites.fa.gz")):
        for header, letters in fasta_records(path):
            build, chrom, start, end, strand = re.match(
                r"(\w+?)_(\w+):(\d+)-(\d+)\(([+-])\)", header
            ).groups()
            genome = genomes.get((build, chrom))
            if genome is None or int(end) > genome.chromosomes[chrom]:
                continue
            assert genome.slice([(chrom, int(start) - 1, int(end), strand)]) == [letters.upper()]
            checked += 1
    assert checked == 101


def test_a_fasta_of_seqlets_may_repeat_names_and_is_read_in_order(tmp_path):
    path = tmp_path / "s.fa"
    path.write_text(">chr1:0-4\nACGT\n>chr1:0-4\nAC\nGTT\n")
    assert read_fasta(path) == ["ACGT", "ACGTT"]


@pytest.mark.parametrize(
    ("text", "message"), [("ACGT\n", "line 1"), ("", "no sequences"), (">a\n", "no seq")]
)
def test_a_broken_fasta_of_seqlets_is_named(tmp_path, text, message):
    path = tmp_path / "s.fa"
    path.write_text(text)
    with pytest.raises(saers.FormatError, match=message):
        read_fasta(path)

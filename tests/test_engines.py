import json
import os
import stat
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import saers
from saers import motif as motif_files
from saers.cli import app
from saers.motifs.engines import ProgramError, Search, discover_motifs, find_program, run_search

WORD = "TGACTCAGC"


def planted(n=80, width=30, word=WORD, seed=0):
    letters = np.random.default_rng(seed).choice(list("ACGT"), (n, width - len(word)))
    return ["".join(row[:9]) + word + "".join(row[9:]) for row in letters]


def fake_program(folder, name, script):
    """Put a shell script on a PATH of its own."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


REPORT = """
MEME version 5.4.1

ALPHABET= ACGT

MOTIF WEAK MEME-1 width = 2 sites = 9 llr = 5 E-value = 2.0e+001
letter-probability matrix: alength= 4 w= 2 nsites= 9 E= 2.0e+001
 1.0 0.0 0.0 0.0
 0.0 1.0 0.0 0.0

MOTIF STRONG MEME-2 width = 2 sites = 30 llr = 900 E-value = 2.2e-1834
letter-probability matrix: alength= 4 w= 2 nsites= 30 E= 2.2e-1834
 0.0 0.0 1.0 0.0
 0.0 0.0 0.0 1.0
"""


class TestSearch:
    @pytest.mark.parametrize(
        "options, message",
        [
            ({"engine": "mem"}, "did you mean 'meme'"),
            ({"count": 0}, "count must be positive, got 0"),
            ({"evalue": 0.0}, "evalue must be positive, got 0.0"),
            ({"evalue": float("nan")}, "evalue must be positive, got nan"),
            ({"seed": -1}, "seed must not be negative, got -1"),
            ({"min_width": 3}, r"min_width must lie in 4\.\.30, got 3"),
            ({"max_width": 31}, r"max_width must lie in 6\.\.30, got 31"),
            ({"min_width": 12, "max_width": 8}, r"max_width must lie in 12\.\.30, got 8"),
            ({"engine": "streme", "reverse_complement": False}, "both strands"),
            ({"search_size": 4000}, "search_size belongs to engine meme"),
            ({"engine": "meme", "aligned": True}, "aligned belongs to engine builtin"),
        ],
    )
    def test_options_out_of_range_are_named_with_their_value(self, options, message):
        with pytest.raises(ValueError, match=message):
            Search(**options)

    def test_the_widths_of_the_paper_are_allowed_for_meme(self):
        assert Search(engine="meme", min_width=8, max_width=50).max_width == 50

    def test_presets_overrule_what_they_name(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", f"echo $* >> {tmp_path}/said")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        for preset in ("fast", "paper"):
            assert discover_motifs(planted(), preset=preset, max_width=12) == []
        fast, paper = (tmp_path / "said").read_text().splitlines()
        assert "-minw 6 -maxw 12" in fast
        assert fast.endswith("-revcomp -searchsize 4000")
        assert "-minw 8 -maxw 50" in paper
        assert "-revcomp" not in paper
        assert "-searchsize" not in paper
        with pytest.raises(ValueError, match="preset must be one of fast, paper, got 'slow'"):
            discover_motifs(planted(), preset="slow")


class TestSequences:
    def test_protein_is_refused_with_its_place(self):
        with pytest.raises(ValueError, match="sequence 2 holds 'L' at position 3, which is no nuc"):
            discover_motifs(["ACGT", "MKLV"])
        with pytest.raises(ValueError, match="control: sequence 1 holds 'E'"):
            discover_motifs(["ACGT"], control=["E"])

    def test_rna_is_read_as_dna(self):
        turned = [sequence.replace("T", "u") for sequence in planted()]
        assert discover_motifs(turned, count=1)[0].consensus in {WORD, "GCTGAGTCA"}

    @pytest.mark.parametrize(
        "sequences", [[], [""], ["N" * 30] * 50, ["ACG"] * 100, ["acgtacgt"] * 500, ["A" * 40] * 40]
    )
    def test_sequences_without_a_motif_give_none(self, sequences):
        assert discover_motifs(sequences) == []


class TestBuiltin:
    def test_sites_are_placed_in_the_direction_of_the_motif(self):
        turned = [s[::-1].translate(str.maketrans("ACGT", "TGCA")) for s in planted(seed=1)]
        for sequences in (planted(), turned):
            (found,) = discover_motifs(sequences, count=1)
            # 9 letters from place 9 of 30: one and a half before the middle as the word reads.
            middle = found.consensus.find("GACTCA") if "GACTCA" in found.consensus else None
            sign = -1 if middle is not None else 1
            assert sign * found.offset == pytest.approx(1.5, abs=0.8)
            assert found.offset_sd < 1

    def test_weights_shift_the_matrix_and_not_the_test(self):
        sequences = planted() + planted(word="TGACGCAGC", seed=3)
        heavy = [3.0] * 80 + [1.0] * 80
        plain, weighted = (discover_motifs(sequences, count=1, weights=w)[0] for w in (None, heavy))

        def share_of_t(motif):
            forward = "CTCAGC" in motif.consensus or "CGCAGC" in motif.consensus
            row = motif if forward else motif.reverse_complement()
            at = max(row.consensus.find(word) for word in ("CTCAGC", "CGCAGC", "CKCAGC")) + 1
            return row.matrix[at, 3]

        assert share_of_t(weighted) > share_of_t(plain) + 0.15

    @pytest.mark.parametrize(
        "weights, message",
        [
            ([1.0], "weights must be as many as the 80 sequences, got 1"),
            ([0.0] * 80, "weights must be positive, got 0"),
            ([float("nan")] * 80, "weights must be positive, got NaN"),
        ],
    )
    def test_weights_that_do_not_fit_are_refused(self, weights, message):
        with pytest.raises(ValueError, match=message):
            discover_motifs(planted(), weights=weights)

    def test_the_middle_counts_where_sequences_are_aligned(self):
        rng = np.random.default_rng(8)
        rows = rng.choice(list("ACGT"), (400, 150))
        for row in rows[:36]:
            start = 71 + rng.integers(-3, 4)
            row[start : start + 8] = list("TGACTCAT")
        sequences = ["".join(row) for row in rows]
        evalues = [
            discover_motifs(sequences, count=1, evalue=1e6, aligned=aligned)[0].log10_evalue
            for aligned in (False, True)
        ]
        assert evalues[1] < evalues[0] - 0.5

    def test_the_planted_word_is_found_on_either_strand(self):
        turned = [s[::-1].translate(str.maketrans("ACGT", "TGCA")) for s in planted(seed=1)]
        found = discover_motifs(planted() + turned, count=1)
        assert found[0].consensus in {WORD, "GCTGAGTCA"}
        assert found[0].n_sites >= 150
        assert (found[0].id, found[0].background) == ("motif_1", (0.25,) * 4)

    def test_it_is_a_public_name(self):
        assert saers.discover_motifs is discover_motifs

    def test_controls_that_hold_the_word_silence_it(self):
        assert discover_motifs(planted(), control=planted(seed=2), count=1) == []

    def test_threads_do_not_change_the_result(self):
        one, two = (discover_motifs(planted(), threads=n) for n in (1, 2))
        assert [m.parts()[2].tolist() for m in one] == [m.parts()[2].tolist() for m in two]

    def test_one_string_is_refused(self):
        with pytest.raises(ValueError, match="sequences must be a list"):
            discover_motifs("ACGT")

    @pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
    def test_a_time_limit_must_be_positive(self, limit):
        with pytest.raises(ValueError, match="time_limit must be positive"):
            discover_motifs(planted(), time_limit=limit)

    def test_a_passed_time_limit_is_its_own_error(self):
        with pytest.raises(saers.TimeoutExceeded, match="no result within"):
            discover_motifs(planted(), time_limit=1e-6)


class TestPrograms:
    def test_a_missing_program_says_how_to_install_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ProgramError, match=r"streme is not on the PATH.*conda install"):
            discover_motifs(planted(), engine="streme")

    def test_reports_are_sorted_filtered_and_renamed(self, monkeypatch, tmp_path):
        (tmp_path / "report").write_text(REPORT)
        fake_program(tmp_path, "meme", f"cat {tmp_path}/report; echo $* > {tmp_path}/said")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        (found,) = discover_motifs(planted(), engine="meme", search_size=4000, seed=3)
        assert (found.id, found.consensus, found.n_sites) == ("motif_1", "GT", 30)
        assert found.log10_evalue == pytest.approx(np.log10(2.2) - 1834)
        said = (tmp_path / "said").read_text()
        assert "-text -nostatus -dna -nmotifs 2 -minw 6 -maxw 20 -seed 3" in said
        assert said.rstrip().endswith("-revcomp -searchsize 4000")

    def test_a_failing_program_shows_what_it_said(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", "echo out of luck >&2; exit 3")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(ProgramError, match="meme failed with status 3: out of luck"):
            discover_motifs(planted(), engine="meme")

    def test_a_program_past_the_limit_is_killed_with_its_children(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", f"sleep 60 & echo $! > {tmp_path}/child; wait")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(saers.TimeoutExceeded, match=r"no result within 0\.5 s"):
            discover_motifs(planted(), engine="meme", time_limit=0.5)
        child = int((tmp_path / "child").read_text())
        assert ended(child)

    def test_a_cancelled_search_ends_its_program(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", "sleep 60")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        cancelled = threading.Event()
        threading.Timer(0.2, cancelled.set).start()
        start = time.monotonic()
        with pytest.raises(ProgramError, match="cancelled"):
            run_search(Search(engine="meme"), planted(), cancelled=cancelled)
        assert time.monotonic() - start < 10

    def test_too_few_long_sequences_have_no_motif(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", "exit 1")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert discover_motifs(["ACGTACGTACGT", "ACG"], engine="meme") == []

    def test_meme_takes_no_controls(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", "exit 1")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ValueError, match="meme takes no control"):
            discover_motifs(planted(), engine="meme", control=planted())

    def test_unknown_letters_reach_the_program_as_n(self, monkeypatch, tmp_path):
        fake_program(tmp_path, "meme", f'cp "$1" {tmp_path}/given')
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert discover_motifs(["acgtRYn-acgt", "ACGTACGTACGT"], engine="meme") == []
        assert (tmp_path / "given").read_text() == ">1\nACGTNNNNACGT\n>2\nACGTACGTACGT\n"


@pytest.mark.meme
class TestRealPrograms:
    @pytest.mark.parametrize("engine", ["meme", "streme"])
    def test_the_planted_word_is_found(self, engine, tmp_path):
        found = discover_motifs(planted(100), engine=engine, count=1)
        assert any(word in found[0].consensus for word in ("GACTCAG", "CTGAGTC"))
        assert found[0].log10_evalue < -2
        motif_files.write_motifs(found, tmp_path / "out.meme")
        assert motif_files.read_motifs(tmp_path / "out.meme")[0].width == found[0].width

    def test_streme_takes_controls(self):
        assert discover_motifs(planted(), engine="streme", control=planted(seed=5), count=1) == []

    def test_meme_searches_one_strand_when_told(self):
        found = discover_motifs(
            planted(40), engine="meme", count=1, reverse_complement=False, search_size=1000
        )
        assert "TGACTCA" in found[0].consensus

    def test_programs_are_found_on_the_path(self):
        assert find_program("streme").name == "streme"


def ended(pid):
    """Whether a process is gone, or waits as a zombie for its new parent."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - vanishes while it is read
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


class TestVerb:
    def test_motifs_are_written_and_told(self, tmp_path):
        (tmp_path / "s.fa").write_text("".join(f">same\n{s}\n" for s in planted()))
        (tmp_path / "c.fa").write_text("".join(f">same\n{s}\n" for s in planted(word="A")))
        out = tmp_path / "m.meme"
        options = ["--control", tmp_path / "c.fa", "--threads", 1, "--aligned", "--json"]
        result = saers_motifs(tmp_path / "s.fa", "--count", 1, "-o", out, *options)
        assert result.exit_code == 0
        (told,) = json.loads(result.stdout)["motifs"]
        assert told["consensus"] in {WORD, "GCTGAGTCA"}
        assert abs(told["offset"]) < 2.5
        assert len(motif_files.read_motifs(out)) == 1

    def test_no_motif_is_a_result(self, tmp_path):
        (tmp_path / "s.fa").write_text(">a\nNNNNNNNNNN\n>b\nAC\n")
        result = saers_motifs(tmp_path / "s.fa", "-o", tmp_path / "m.meme")
        assert result.exit_code == 0
        assert "0 motifs" in result.stderr

    @pytest.mark.parametrize(
        "text, message",
        [("", "no sequences"), (">p\nMKLVE\n", "'L' at position 3"), ("ACGT\n", "no '>' header")],
    )
    def test_broken_input_is_one_clear_line(self, tmp_path, text, message):
        (tmp_path / "s.fa").write_text(text)
        result = saers_motifs(tmp_path / "s.fa", "-o", tmp_path / "m.meme")
        assert result.exit_code == 1
        assert message in result.stderr


def saers_motifs(*arguments):
    return CliRunner().invoke(app, ["motifs", *map(str, arguments)])

import threading
import time

import numpy as np
import polars as pl
import pytest

from saers import schema
from saers.motifs import discovery
from saers.motifs.discovery import discover_features
from saers.motifs.engines import ProgramError
from saers.motifs.search import FoundMotif

WORDS = {3: "TGACTCAGC", 8: "GGGCGTGGC", 9: "TATTTATAG"}


@pytest.fixture
def seqlets():
    rng = np.random.default_rng(0)
    frames = []
    for feature, word in WORDS.items():
        letters = rng.choice(list("ACGT"), (60, 20))
        sequences = ["".join(row[:8]) + word + "".join(row[8:]) for row in letters]
        frames.append(
            pl.DataFrame({"feature": feature, "rank": range(1, 61), "sequence": sequences})
        )
    return pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=1)


@pytest.fixture
def features():
    return pl.DataFrame(
        {
            "feature": [9, 3, 8, 4, 5],
            "name": ["3_n9", "1_n3", "2_n8", "4_n4", "5_n5"],
            "selected": [True, True, True, False, True],
        }
    )


class Recorder:
    def __init__(self):
        self.total, self.steps, self.lines = None, 0, []

    def start(self, description, total):
        self.total = total

    def advance(self, steps=1):
        self.steps += steps

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def searched(monkeypatch):
    """Replace the search by one that tells what it was given."""
    calls = []

    def search(search, sequences, **options):
        calls.append((search, list(sequences), options))
        row = [0.97, 0.01, 0.01, 0.01]
        where = {"offset": -1.5, "offset_sd": 0.25}
        return [FoundMotif("motif_1", "", [row] * 6, 10, log10_evalue=-1e4 / 3, **where)]

    monkeypatch.setattr(discovery, "run_search", search)
    return calls


def test_each_feature_gets_its_own_motif(seqlets, features):
    progress = Recorder()
    motifs, failures = discover_features(seqlets, features, count=1, workers=2, progress=progress)
    assert motifs.schema == pl.Schema(schema.FOUND_MOTIFS)
    assert motifs["motif_id"].to_list() == ["1_n3.1", "2_n8.1", "3_n9.1"]
    for feature, consensus in motifs.select("feature", "consensus").iter_rows():
        turned = consensus[::-1].translate(str.maketrans("ACGT", "TGCA"))
        assert any(WORDS[feature][1:-1] in word for word in (consensus, turned))
    assert failures.is_empty()
    assert failures.columns == ["feature", "name", "error"]
    assert (progress.total, progress.steps) == (4, 4)


def test_workers_do_not_change_the_result(seqlets, features):
    one, three = (discover_features(seqlets, features, workers=n) for n in (1, 3))
    assert one.motifs.equals(three.motifs)


def test_the_best_sequences_are_searched_without_unknown_ones(features, searched):
    rows = [(3, 2, "ACGTACGTAC"), (3, 1, "acgtacgtan"), (3, 3, "ACGTNNACGT"), (3, 4, "TTTTTTTTTT")]
    seqlets = pl.DataFrame(rows, schema=["feature", "rank", "sequence"], orient="row")
    discover_features(seqlets, features, max_sequences=2, workers=1)
    assert [sequences for _, sequences, _ in searched] == [["acgtacgtan", "ACGTACGTAC"], [], [], []]


def test_a_failing_feature_does_not_stop_the_others(seqlets, features, monkeypatch):
    real = discovery.run_search

    def search(search, sequences, **options):
        if not sequences:
            raise ProgramError("meme failed\nwith status 1")
        return real(search, sequences, **options)

    monkeypatch.setattr(discovery, "run_search", search)
    progress = Recorder()
    motifs, failures = discover_features(seqlets, features, count=1, progress=progress)
    assert motifs.height == 3
    assert failures.rows() == [(5, "5_n5", "ProgramError: meme failed with status 1")]
    assert progress.lines == ["motifs of 5_n5: ProgramError: meme failed with status 1"]


def test_a_time_out_is_a_failure_of_its_feature(seqlets, features):
    motifs, failures = discover_features(seqlets, features, time_limit=1e-6)
    assert motifs.is_empty()
    assert failures["feature"].to_list() == [3, 8, 9]
    assert failures["error"].str.contains("TimeoutExceeded").all()


def test_kept_results_are_not_searched_again(seqlets, features, searched, tmp_path):
    first = discover_features(seqlets, features, resume_dir=tmp_path)
    assert len(searched) == 4
    second = discover_features(seqlets, features, resume_dir=tmp_path)
    assert len(searched) == 4
    assert first.motifs.equals(second.motifs)
    assert second.motifs["log10_evalue"][0] == -1e4 / 3
    assert second.motifs.select("offset", "offset_sd").row(0) == (-1.5, 0.25)


def test_other_options_or_sequences_are_searched_anew(seqlets, features, searched, tmp_path):
    discover_features(seqlets, features, resume_dir=tmp_path)
    discover_features(seqlets, features, resume_dir=tmp_path, seed=1)
    assert len(searched) == 8
    discover_features(seqlets.filter(pl.col("rank") < 60), features, resume_dir=tmp_path)
    assert len(searched) == 11  # the feature without seqlets is as it was


def test_weights_and_controls_reach_the_search_and_part_kept_results(features, searched, tmp_path):
    rows = [(3, 2, "ACGTACGTAC", 0.5), (3, 1, "TTTTACGTAC", 2.0)]
    names = ["feature", "rank", "sequence", "activation"]
    seqlets = pl.DataFrame(rows, schema=names, orient="row")
    options = {"workers": 1, "resume_dir": tmp_path}
    discover_features(seqlets, features, weighted=True, control=["GGGG"], **options)
    assert searched[0][1:] == (
        ["TTTTACGTAC", "ACGTACGTAC"],
        searched[0][2] | {"weights": [2.0, 0.5], "control": ["GGGG"]},
    )
    discover_features(seqlets, features, weighted=True, control=["CCCC"], **options)
    discover_features(seqlets, features, aligned=True, **options)
    assert len(searched) == 12
    assert searched[-1][0].aligned
    assert searched[-1][2]["weights"] is None


def test_only_the_builtin_engine_takes_weights(seqlets, features):
    with pytest.raises(ValueError, match="weighted belongs to engine builtin, not to streme"):
        discover_features(seqlets, features, engine="streme", weighted=True)


def test_sites_of_each_feature_are_placed(seqlets, features):
    motifs = discover_features(seqlets, features, count=1, workers=2).motifs
    # The word of 9 stands at 8 of 29 letters, so 2 left of the middle, whichever strand is read.
    assert (motifs["offset"].abs() - 2).abs().max() < 1
    assert motifs["offset_sd"].max() < 2


def test_a_damaged_kept_result_is_made_again(seqlets, features, searched, tmp_path):
    first = discover_features(seqlets, features, resume_dir=tmp_path)
    for path, damage in zip(sorted(tmp_path.iterdir()), ["", "[{}]", "{", "[1]"], strict=True):
        path.write_text(damage)
    second = discover_features(seqlets, features, resume_dir=tmp_path)
    assert second.motifs.equals(first.motifs)
    assert len(searched) == 8


def test_an_interrupt_keeps_what_is_finished(seqlets, features, monkeypatch, tmp_path):
    real = discovery.run_search
    cancelled = []

    def search(search, sequences, **options):
        cancelled.append(options["cancelled"])
        return real(search, sequences, **options)

    class Interrupting(Recorder):
        def advance(self, steps=1):
            raise KeyboardInterrupt

    monkeypatch.setattr(discovery, "run_search", search)
    with pytest.raises(KeyboardInterrupt):
        discover_features(
            seqlets, features, workers=1, resume_dir=tmp_path, progress=Interrupting()
        )
    assert cancelled[0].is_set()
    kept = list(tmp_path.glob("*.json"))
    assert 1 <= len(kept) < 4
    assert not [path for path in tmp_path.iterdir() if path not in kept]


def test_features_are_searched_at_the_same_time(seqlets, features, monkeypatch):
    together = threading.Barrier(3, timeout=30)

    def search(search, sequences, **options):
        if sequences:
            together.wait()
        return []

    monkeypatch.setattr(discovery, "run_search", search)
    start = time.monotonic()
    result = discover_features(seqlets, features, workers=4)
    assert result.motifs.is_empty()
    assert result.failures.is_empty()
    assert time.monotonic() - start < 30


def test_a_missing_program_is_told_before_anything_starts(
    seqlets, features, searched, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="conda install"):
        discover_features(seqlets, features, engine="meme")
    assert searched == []


@pytest.mark.parametrize("option", ["workers", "max_sequences"])
def test_counts_must_be_positive(seqlets, features, option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        discover_features(seqlets, features, **{option: 0})


@pytest.mark.meme
def test_streme_runs_over_features(seqlets, features):
    motifs, failures = discover_features(
        seqlets, features, engine="streme", count=1, evalue=10, workers=2
    )
    assert failures.is_empty()
    assert motifs["feature"].to_list() == [3, 8, 9]

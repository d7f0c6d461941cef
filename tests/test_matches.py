"""saers.matches: agreement with Tomtom 5.4.1, its tie rules, and its edges."""

import gzip
import subprocess

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from saers import schema
from saers.matches import PRESETS, is_flat, tomtom, write_tomtom_tsv
from saers.motif import Motif, write_motifs
from saers.motifs.databases import load_database

A, C, G, T = [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]
FLAT = [0.25] * 4
LETTERS = {"A": A, "C": C, "G": G, "T": T, "N": FLAT}


def spell(id, word, **fields):
    return Motif(id, "", [LETTERS[letter] for letter in word], **fields)


def random_motifs(seed, count, low=1, high=15, prefix="t"):
    random = np.random.default_rng(seed)
    widths = random.integers(low, high, count)
    return [
        Motif(f"{prefix}{i}", "", random.dirichlet([0.4] * 4, width), 20)
        for i, width in enumerate(widths)
    ]


def rows(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [row.split("\t") for row in text.splitlines() if row and not row.startswith("#")]


RECORDED = [
    ("queries30", "JASPAR2024", "tomtom541_queries30_vs_JASPAR2024vert.tsv.gz", {"thresh": 1}),
    (
        "queries5",
        "JASPAR2024",
        "tomtom541_pearson_mo5_queries5_vs_JASPAR2024vert.tsv.gz",
        {"thresh": 1, "dist": "pearson", "min_overlap": 5},
    ),
    ("explainn_filters", "JASPAR2020", "explainn_MAX_JUND_FOXA1_tomtom.tsv", {}),
]


@pytest.mark.data
@pytest.mark.parametrize("queries, database, recorded, options", RECORDED)
def test_every_printed_field_and_the_order_are_those_of_tomtom(
    data, tmp_path, queries, database, recorded, options
):
    found = tomtom(
        data / "golden" / f"{queries}.meme",
        data / "motifdb" / f"{database}_CORE_vertebrates_nr.meme.gz",
        q="compat",
        **options,
    )
    write_tomtom_tsv(found, tmp_path / "tomtom.tsv")
    assert rows(tmp_path / "tomtom.tsv") == rows(data / "golden" / recorded)


@pytest.mark.data
@pytest.mark.parametrize("queries, database, recorded, options", RECORDED[:2])
def test_without_the_bootstrap_only_q_values_differ(
    data, tmp_path, queries, database, recorded, options
):
    found = tomtom(
        data / "golden" / f"{queries}.meme",
        data / "motifdb" / f"{database}_CORE_vertebrates_nr.meme.gz",
        **options,
    )
    write_tomtom_tsv(found, tmp_path / "tomtom.tsv")

    def drop_q(table):
        return [row[:5] + row[6:] for row in table]

    assert drop_q(rows(tmp_path / "tomtom.tsv")) == drop_q(rows(data / "golden" / recorded))


def naive(query, targets):
    """Offset, overlap, strand and p-value of each target's better strand, by the definition.

    Matrices with pseudo-counts in; Euclidean distance, uniform background.
    """
    strands = [
        (i, s, m if s == "+" else m[::-1, ::-1]) for i, m in enumerate(targets) for s in "+-"
    ]
    columns = np.vstack([matrix for *_, matrix in strands])
    scores = -np.sqrt(((query[:, None] - columns[None]) ** 2).sum(axis=2))
    scores -= np.sort(scores, axis=1)[:, [len(columns) // 2 - 1]]
    low = np.floor(scores.min())
    scale = np.floor(100 / (scores.max() - low))
    cells, gap = np.floor((scores - low) * scale + 0.5).astype(int), int(-low * scale)
    pmfs = [np.bincount(row, minlength=101) / len(columns) for row in cells]
    found, start, w = {}, 0, len(query)
    for index, strand, matrix in strands:
        length = len(matrix)
        best, log_below = None, 0.0
        spans = [(d, max(0, -d), min(w, length - d)) for d in range(1 - w, length)]
        for d, lo, hi in spans:
            score = sum(cells[i, start + i + d] for i in range(lo, hi)) + gap * (w - hi + lo)
            best = max(best or (-1,), (score, hi - lo, -d))
        for _, lo, hi in spans:
            pmf = np.ones(1)
            for row in pmfs[lo:hi]:
                pmf = np.convolve(pmf, row)
            tail = pmf[max(best[0] - gap * (w - hi + lo), 0) :][::-1].sum()
            with np.errstate(divide="ignore"):  # a sure score leaves no chance to stay below
                log_below += np.log1p(-min(1.0, tail))
        row = (np.float32(-np.expm1(2 * log_below)), -best[1], strand, -best[2])
        found[index] = min(found.get(index, row), row)
        start += length
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_offsets_strands_and_p_values_are_those_of_the_definition(seed):
    targets = random_motifs(seed, 12, high=12)
    [query] = random_motifs(seed + 1, 1, high=9, prefix="q")
    assume(not is_flat(query))
    smooth = [(m.matrix * 20 + 0.025) / 20.1 for m in (query, *targets)]
    expected = naive(smooth[0], smooth[1:])
    frame = tomtom([query], targets, thresh=1.0)
    assert len(frame) == 12
    for row in frame.iter_rows(named=True):
        p, overlap, strand, offset = expected[int(row["target_id"][1:])]
        assert row["p_value"] == pytest.approx(float(p), rel=1e-6)
        assert (row["overlap"], row["orientation"], row["optimal_offset"]) == (
            -overlap,
            strand,
            offset,
        )


PROGRAM_OPTIONS = [
    ([], {}),
    (["-norc"], {"reverse_complement": False}),
    (["-internal"], {"internal": True}),
    (["-min-overlap", "6"], {"min_overlap": 6}),
    (["-motif-pseudo", "2"], {"pseudocount": 2.0}),
    (["-dist", "pearson"], {"dist": "pearson"}),
    (["-dist", "sandelin"], {"dist": "sandelin"}),
    (["-dist", "kullback"], {"dist": "kullback"}),
    (["-dist", "allr"], {"dist": "allr"}),
    (["-evalue"], {"evalue": True}),
]


@pytest.mark.meme
@pytest.mark.parametrize("background", [(0.25,) * 4, (0.4, 0.3, 0.2, 0.1)])
@pytest.mark.parametrize("flags, options", PROGRAM_OPTIONS)
def test_the_program_itself_prints_the_same(tmp_path, background, flags, options):
    edges = [
        spell("w1", "A"),
        spell("w2", "CG"),
        spell("n", "TGNNNCA"),
        spell("rep", "AAAAAAAAA", n_sites=7.9),
    ]
    random = random_motifs(3, 4, low=4, high=20, prefix="q")
    for motif in random:
        object.__setattr__(motif, "background", background)
    edges = [Motif(m.id, "", m.matrix, m.n_sites or 30, background) for m in edges]
    write_motifs([*edges, *random], tmp_path / "q.meme")
    write_motifs([*random_motifs(4, 55, high=24), spell("one", "G")], tmp_path / "t.meme")
    command = ["tomtom", "-text", "-verbosity", "1", "-thresh", "1", *flags]
    printed = subprocess.run(
        [*command, tmp_path / "q.meme", tmp_path / "t.meme"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "program.tsv").write_text(printed)
    frame = tomtom(tmp_path / "q.meme", tmp_path / "t.meme", q="compat", thresh=1.0, **options)
    write_tomtom_tsv(frame, tmp_path / "own.tsv")
    assert rows(tmp_path / "own.tsv") == rows(tmp_path / "program.tsv")


INCOMPLETE = [
    ([], {}),
    (["-norc"], {"reverse_complement": False}),
    (["-internal"], {"internal": True}),
    (["-min-overlap", "4"], {"min_overlap": 4}),
    (["-dist", "pearson"], {"dist": "pearson"}),
]


@pytest.mark.meme
@pytest.mark.parametrize("flags, options", INCOMPLETE)
def test_incomplete_scores_are_those_of_the_program(tmp_path, flags, options):
    """Every number and the order; of equally good alignments the program may choose another."""
    queries = [spell("w1", "A"), spell("rep", "AAAAAAAAA", n_sites=7.9)]
    write_motifs([*queries, *random_motifs(3, 6, low=4, high=20, prefix="q")], tmp_path / "q.meme")
    write_motifs(random_motifs(4, 56, high=24), tmp_path / "t.meme")
    command = ["tomtom", "-text", "-verbosity", "1", "-thresh", "1", "-incomplete-scores", *flags]
    files = [tmp_path / "q.meme", tmp_path / "t.meme"]
    printed = subprocess.run([*command, *files], capture_output=True, text=True, check=True).stdout
    (tmp_path / "program.tsv").write_text(printed)
    frame = tomtom(*files, q="compat", thresh=1.0, incomplete_scores=True, **options)
    write_tomtom_tsv(frame, tmp_path / "own.tsv")
    ours, theirs = rows(tmp_path / "own.tsv"), rows(tmp_path / "program.tsv")
    assert [row[:2] + row[3:8] for row in ours] == [row[:2] + row[3:8] for row in theirs]
    pairs = zip(ours[1:], theirs[1:], strict=True)
    assert all(one == two for one, two in pairs if float(two[3]) < 0.1)


def test_results_do_not_depend_on_threads_or_on_other_queries():
    queries = random_motifs(1, 70, low=6, prefix="q")
    targets = random_motifs(2, 80)
    one = tomtom(queries, targets, thresh=1.0, threads=1)
    assert one.equals(tomtom(queries, targets, thresh=1.0, threads=3))
    alone = tomtom(queries[66:67], targets, thresh=1.0)
    assert alone.equals(one.filter(query_id="q66"))


def test_the_bootstrap_depends_on_the_queries_before_and_the_default_stays_near_it():
    known = load_database("JASPAR2024_CORE_vertebrates")
    queries = [motif for motif in known[::30] if not is_flat(motif)]
    options = {"thresh": 1.0, "q": "compat"}
    together = tomtom(queries, known, **options)
    alone = pl.concat([tomtom([query], known, **options) for query in queries])
    assert together.drop("q_value").equals(alone.drop("q_value"))
    assert not together.equals(alone)
    default = tomtom(queries, known, thresh=1.0)
    for both in zip(default["q_value"], together["q_value"], strict=True):
        assert both[0] == pytest.approx(both[1], rel=0.03)


def test_queries_may_have_backgrounds_of_their_own():
    targets = random_motifs(2, 60)
    backgrounds = [(0.25,) * 4, (0.4, 0.1, 0.1, 0.4), (0.25,) * 4]
    queries = [
        Motif(f"q{i}", "", [A, C, G, T, A], 5, background)
        for i, background in enumerate(backgrounds)
    ]
    frame = tomtom(queries, targets, thresh=1.0)
    p = [frame.filter(query_id=f"q{i}")["p_value"].to_list() for i in range(3)]
    assert p[0] == p[2] != p[1]
    stated = tomtom(queries, targets, thresh=1.0, background=backgrounds[1])
    assert stated.filter(query_id="q0")["p_value"].to_list() == p[1]


def test_a_motif_matches_itself_on_either_strand():
    targets = random_motifs(5, 60, low=8)
    frame = tomtom([targets[7].reverse_complement()], targets, thresh=1.0)
    best = frame.row(0, named=True)
    assert (best["target_id"], best["orientation"], best["optimal_offset"]) == ("t7", "-", 0)
    assert best["log10_p"] == pytest.approx(np.log10(best["p_value"]))
    assert best["e_value"] == best["p_value"] * 60


def test_what_underflows_single_precision_keeps_its_logarithm():
    targets = random_motifs(5, 200, low=38, high=40)
    frame = tomtom(targets[:1], targets, thresh=1.0)
    best = frame.row(0, named=True)
    assert best["target_id"] == "t0"
    assert best["log10_p"] < -50
    assert np.float32(best["p_value"]) == 0


@pytest.mark.parametrize("options", [{}, {"incomplete_scores": True}])
def test_what_underflows_double_precision_keeps_its_logarithm(options):
    targets = random_motifs(5, 300, low=99, high=101)
    [query] = [motif for motif in targets if motif.width == 100][:1]
    frame = tomtom([query], targets, thresh=1.0, reverse_complement=False, **options)
    best = frame.row(0, named=True)
    assert (best["target_id"], best["p_value"]) == (query.id, 0)
    # All columns must have their highest score at once.
    smooth = [(motif.matrix * 20 + 0.025) / 20.1 for motif in (query, *targets)]
    columns = np.vstack(smooth[1:])
    scores = -np.sqrt(((smooth[0][:, None] - columns) ** 2).sum(axis=2))
    if not options:
        middle = [len(columns) // 2 - 1, (len(columns) + 1) // 2 - 1]
        scores -= np.sort(scores, axis=1)[:, middle].mean(axis=1, keepdims=True)
    low = np.floor(scores.min())
    cells = np.floor((scores - low) * np.floor(100 / (scores.max() - low)) + 0.5)
    shares = (cells == cells.max(axis=1, keepdims=True)).mean(axis=1)
    tried = 199 if options else 1
    assert best["log10_p"] == pytest.approx(np.log10(shares).sum() + np.log10(tried), rel=1e-9)
    assert np.isfinite(frame["log10_p"].to_numpy()).all()


def test_a_target_may_be_one_column_and_a_query_wider_than_all_targets():
    targets = [spell(f"t{i}", letter) for i, letter in enumerate("ACGT")]
    frame = tomtom([spell("q", "GATTACA")], targets, thresh=1.0)
    assert frame["overlap"].to_list() == [1] * 4
    assert frame["p_value"].is_between(0, 1).all()


def test_sites_that_are_not_known_count_as_twenty():
    targets = random_motifs(2, 30)
    expected = tomtom([spell("q", "ACGT", n_sites=20)], targets, thresh=1.0)
    for sites in (None, 0, 0.5, 20.9):
        assert tomtom([spell("q", "ACGT", n_sites=sites)], targets, thresh=1.0).equals(expected)


def test_a_query_wider_than_a_hundred_is_skipped_with_a_warning():
    wide = Motif("wide", "", [A] * 101)
    with pytest.warns(UserWarning, match="wider than 100 positions: wide"):
        frame = tomtom([wide, spell("q", "ACG")], random_motifs(2, 5), thresh=1.0)
    assert frame["query_id"].unique().to_list() == ["q"]
    assert len(tomtom([Motif("w100", "", [A] * 100)], [wide], thresh=1.0)) == 1


def test_of_an_id_that_occurs_twice_the_first_counts_with_a_warning():
    with pytest.warns(UserWarning, match="targets left out, their ids occur before: t1"):
        frame = tomtom([spell("q", "AC")], [spell("t1", "ACC"), spell("t1", "AC")], thresh=1.0)
    assert frame["target_consensus"].to_list() == ["ACC"]
    with pytest.warns(UserWarning, match="queries left out, their ids occur before: q"):
        tomtom([spell("q", "AC"), spell("q", "GG")], [spell("t1", "ACC")], thresh=1.0)


def test_a_flat_query_is_matched_with_a_warning():
    assert is_flat(spell("flat", "NNNN"))
    assert not is_flat(spell("q", "NNAN"))
    with pytest.warns(UserWarning, match=r"matches mean nothing: flat"):
        tomtom([spell("flat", "NNNN")], random_motifs(2, 5))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dist": "person"}, "dist must be one of .* did you mean 'pearson'"),
        ({"evalue": True, "pvalue": True}, "evalue and pvalue exclude each other"),
        ({"q": "storey"}, "q must be one of independent, compat"),
        ({"min_overlap": 0}, "min_overlap must lie in 1..100, got 0"),
        ({"thresh": 10}, "thresh must lie in 0..1, got 10"),
        ({"pseudocount": -1.0}, "pseudocount must be finite and at least 0, got -1"),
        ({"threads": 0}, "threads must be positive"),
        ({"dist": "kullback", "pseudocount": 0.0}, "scores of query q are not finite"),
        ({"dist": "allr"}, "scores of query q are not finite"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tomtom([spell("q", "ACG")], [spell("t", "AC")], **options)


def test_a_threshold_may_bound_the_p_value():
    queries, targets = random_motifs(1, 9, prefix="q"), random_motifs(2, 80)
    every = tomtom(queries, targets, thresh=1.0)
    some = tomtom(queries, targets, thresh=0.02, pvalue=True)
    assert some.equals(every.filter(pl.col("p_value") <= 0.02))


def test_the_preset_of_modisco_is_pearson_over_five_columns():
    queries, targets = random_motifs(1, 5, low=6, prefix="q"), random_motifs(2, 60)
    found = tomtom(queries, targets, **PRESETS["modisco"])
    assert found.equals(tomtom(queries, targets, dist="pearson", min_overlap=5))


def test_no_targets_is_an_error_and_no_queries_an_empty_table():
    with pytest.raises(ValueError, match="targets must hold at least one motif"):
        tomtom([spell("q", "ACG")], [])
    empty = tomtom([], [spell("t", "AC")])
    assert empty.schema == schema.MATCHES
    assert empty.is_empty()


def test_the_table_in_tomtom_s_layout_is_read_by_the_usual_parsers(tmp_path):
    frame = tomtom([spell("q", "ACGT")], random_motifs(2, 60), thresh=1.0)
    write_tomtom_tsv(frame, tmp_path / "tomtom.tsv")
    read = pl.read_csv(tmp_path / "tomtom.tsv", separator="\t", comment_prefix="#")
    assert read.columns[0] == "Query_ID"
    assert read.drop_nulls()["Target_ID"].to_list() == frame["target_id"].to_list()
    assert (tmp_path / "tomtom.tsv").read_text().splitlines()[-4] == ""

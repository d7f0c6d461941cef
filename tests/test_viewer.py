"""The static site: what lies in it, that it asks for nothing, and that data stay data."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saers import schema
from saers.viewer import payload, write_site
from saers.viewer.site import ASSETS

HOSTILE = '</script><img src=x onerror="alert(1)">&\u2028'
TABLES = ("annotations", "embedding", "features", "matches", "motifs", "relations", "seqlets")
STATIC = Path(payload.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


def frame(columns, rows):
    return pl.DataFrame(rows, schema=dict(columns), orient="row")


def run_of(n, *, label="PLS", name="FOS", n_seqlets=3):
    """Tables of n features; feature 0 is dead, the others have a motif with a match each."""
    alive = range(1, n)
    matrix = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]]
    features = [
        (f, n - f, f"{n - f}_n{f}", 100 * f, 0.01 * f, 1.0 + f, 2.0 + f, 5, f > 0) for f in range(n)
    ]
    motifs = [(f"{n - f}_n{f}.1", f, 1, 2, 40, -12.5, "builtin", "AW", matrix) for f in alive]
    matches = [
        (f"{n - f}_n{f}.1", "MA1", -1, 1e-9, 1e-6, 1e-5, 2, "AW", "AW", "-", -9.0, name, f)
        for f in alive
    ]
    seqlets = [
        (f, r, 0, 7, "chr1", 10 * r, 10 * r + 5, "+", 9.0 / r, "ACGTN")
        for f in alive
        for r in range(1, n_seqlets + 1)
    ]
    annotations = [(f, "ccre", label, 9, 1.0, 0.0, float("inf"), 9.0, 1e-9, 1e-8) for f in alive]
    relations = [(f, f + 1, 5, 20, 0.25, 1) for f in range(1, n - 1)]
    return {
        "features": frame(schema.FEATURES, features),
        "motifs": frame(schema.MOTIFS, motifs),
        "matches": frame(schema.MATCHES, matches),
        "seqlets": frame(schema.SEQLETS, seqlets),
        "annotations": frame(schema.ANNOTATIONS, annotations),
        "relations": frame(schema.RELATIONS, relations),
        "embedding": frame(schema.EMBEDDING, [(f, 0.5 * f, -1.0 * f, 0) for f in alive]),
    }


def calls(path):
    """The calls of a data script: name and arguments, which must be JSON."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, arguments = re.fullmatch(r"saers\.(\w+)\((.*)\);", line).groups()
        found.append((name, json.loads(f"[{arguments}]")))
    return found


def index_of(site):
    return dict(calls(site / "data" / "index.js"))["index"][0]


def details_of(site, number=0):
    ((name, (k, features)),) = calls(site / "data" / f"c{number:05}.js")
    assert (name, k) == ("chunk", number)
    return features


@pytest.fixture
def site(tmp_path):
    write_site(
        tmp_path / "atlas",
        **run_of(5),
        meta={"title": "Toy", "model": "toy", "fvu": 0.125, "n_windows": 1200, "seed_words": "x"},
        targets={"MA1": [[0, 0, 0, 1], [1, 0, 0, 0]], "MA2": [[1, 0, 0, 0]]},
    )
    return tmp_path / "atlas"


class Page(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self):
        super().__init__()
        self.elements = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    @classmethod
    def read(cls, path):
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page.elements


# ---- the folder


def test_the_folder_holds_a_page_its_assets_and_its_data(site):
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    data = {"data/index.js", "data/c00000.js", "data/targets.js"}
    assert files == {"index.html", *(f"assets/{name}" for name in ASSETS), *data}


def test_every_file_that_the_page_names_is_there(site):
    for tag, attributes in Page.read(site / "index.html"):
        source = attributes.get("src") if tag == "script" else attributes.get("href")
        if source and not source.startswith(("#", "data:")):
            assert (site / source).is_file()


def test_the_scripts_are_classic_ones(site):
    scripts = [attributes for tag, attributes in Page.read(site / "index.html") if tag == "script"]
    assert len(scripts) == len(ASSETS)  # the style sheet less, the index more
    assert all(set(attributes) == {"src"} for attributes in scripts)


def test_the_same_tables_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_site(tmp_path / name, **run_of(9), meta={})
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files}
        for name in ("one", "two")
        for files in [[p for p in (tmp_path / name).rglob("*") if p.is_file()]]
    )
    assert one == two


def test_a_new_site_replaces_the_old_one_whole(tmp_path):
    write_site(tmp_path / "atlas", **run_of(payload.CHUNK + 2), meta={})
    write_site(tmp_path / "atlas", **run_of(3), meta={})
    assert not (tmp_path / "atlas" / "data" / "c00001.js").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "atlas"]


def test_a_failed_write_leaves_the_old_site(site):
    before = (site / "data" / "index.js").read_bytes()
    with pytest.raises(ValueError, match="could not convert"):
        write_site(site, **run_of(4), meta={}, targets={"MA1": [["no number"]]})
    assert (site / "data" / "index.js").read_bytes() == before
    assert list(site.parent.iterdir()) == [site]


def test_a_missing_column_is_named(tmp_path):
    tables = run_of(3)
    tables["seqlets"] = tables["seqlets"].drop("sequence")
    with pytest.raises(ValueError, match="seqlets: missing columns"):
        write_site(tmp_path / "atlas", **tables, meta={})


# ---- the index


def test_every_column_of_the_index_has_a_value_for_each_feature(site):
    index = index_of(site)
    columns = {
        name: value for name, value in index.items() if name not in ("meta", "chunk", "classes")
    }
    assert {len(values) for values in columns.values()} == {5}


def test_features_are_listed_by_id_with_what_is_best_of_each(site):
    index = index_of(site)
    assert index["feature"] == [0, 1, 2, 3, 4]
    assert index["selected"] == [0, 1, 1, 1, 1]
    assert index["match_name"] == [None, "FOS", "FOS", "FOS", "FOS"]
    assert index["thumb"][1] == payload.encode_matrix([[1, 0, 0, 0], [0.5, 0, 0, 0.5]])
    assert [index["classes"][number] for number in index["class_of"][1]] == ["ccre:PLS"]
    assert index["x"][0] is None


def test_the_header_tells_the_run(site):
    meta = index_of(site)["meta"]
    facts = {label: value for label, value, _ in meta["facts"]}
    assert meta["title"] == "Toy"
    assert facts == {
        "Model": "toy",
        "Windows": "1,200",
        "FVU": "0.125",
        "Dead": "20.0%",
        "Seed words": "x",
    }


def test_families_are_taken_as_given_or_guessed_by_name(tmp_path):
    write_site(tmp_path / "guessed", **run_of(2, name="FOXA1"), meta={})
    write_site(tmp_path / "given", **run_of(2), meta={}, families={"MA1": "Fos-related"})
    assert index_of(tmp_path / "guessed")["family"] == [None, "FOX"]
    assert index_of(tmp_path / "given")["family"] == [None, "Fos-related"]


# ---- the details


def test_details_lie_in_chunks_in_the_order_of_the_index(tmp_path):
    n = 2 * payload.CHUNK + 3
    write_site(tmp_path / "atlas", **run_of(n), meta={})
    sizes = [len(details_of(tmp_path / "atlas", k)) for k in range(3)]
    assert sizes == [payload.CHUNK, payload.CHUNK, 3]
    first = details_of(tmp_path / "atlas", 1)[0]
    assert [other for other, *_ in first["related"]] == [payload.CHUNK - 1, payload.CHUNK + 1]


def test_a_dead_feature_has_no_details(site):
    assert details_of(site)[0] == {}


def test_a_feature_has_motifs_matches_seqlets_classes_and_relatives(site):
    feature = details_of(site)[2]
    assert feature["motifs"][0]["matches"] == [["MA1", "FOS", 1e-9, 1e-6, 1e-5, -1, 2, "-"]]
    assert feature["seqlets"][0] == ["chr1", 10, 15, "+", 9.0, "ACGTN"]
    assert feature["classes"] == [["ccre", "PLS", 9, 1.0, None, 9.0, 1e-8]]
    assert feature["related"] == [[1, 0.25, 1], [3, 0.25, 1]]
    assert sum(feature["histogram"]["counts"]) == 3


def test_lists_are_cut_but_the_histogram_counts_all(tmp_path):
    write_site(tmp_path / "atlas", **run_of(2, n_seqlets=80), meta={})
    feature = details_of(tmp_path / "atlas")[1]
    assert len(feature["seqlets"]) == payload.N_SEQLETS
    assert sum(feature["histogram"]["counts"]) == 80


def test_long_sequences_are_cut_to_their_centre(tmp_path):
    tables = run_of(2, n_seqlets=1)
    long = "A" * 50 + "C" * payload.N_BASES + "G" * 51
    tables["seqlets"] = tables["seqlets"].with_columns(sequence=pl.lit(long))
    write_site(tmp_path / "atlas", **tables, meta={})
    shown = details_of(tmp_path / "atlas")[1]["seqlets"][0][-1]
    assert shown == "…" + "C" * payload.N_BASES + "…"


def test_only_targets_that_are_matched_are_kept(site):
    ((name, (targets,)),) = calls(site / "data" / "targets.js")
    assert (name, targets) == ("targets", {"MA1": "AAA__AAA"})


def test_a_run_without_features_is_a_site(tmp_path):
    nothing = {name: schema.empty(getattr(schema, name.upper())) for name in TABLES}
    write_site(tmp_path / "atlas", **nothing, meta={})
    assert index_of(tmp_path / "atlas")["feature"] == []
    assert not (tmp_path / "atlas" / "data" / "c00000.js").exists()


# ---- safety: nothing from the data becomes markup, nothing is asked of the network


def test_hostile_text_stays_text(tmp_path):
    site = tmp_path / "atlas"
    write_site(
        site,
        **run_of(3, label=HOSTILE, name=HOSTILE),
        meta={"title": HOSTILE, "model": HOSTILE},
    )
    tags = {tag for tag, _ in Page.read(site / "index.html")}
    assert "img" not in tags
    assert index_of(site)["match_name"][1] == HOSTILE
    assert details_of(site)[1]["classes"][0][1] == HOSTILE
    assert "\u2028" not in (site / "data" / "index.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_build_elements_and_never_markup(script):
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.search(markup, script.read_text())


@pytest.mark.parametrize("asset", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_no_asset_asks_anything_of_the_network(asset):
    text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
    forbidden = r"https?://|//\w+\.\w|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\b|url\(|@import"
    assert not re.search(forbidden, text)


@pytest.mark.parametrize("asset", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_assets_stay_short(asset):
    assert len(asset.read_text().splitlines()) <= 400


# ---- the parts fit: names that a script uses exist where it looks for them


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_element_that_a_script_asks_for_is_in_the_page(script):
    ids = {attributes.get("id") for _, attributes in Page.read(STATIC / "index.html")}
    assert set(re.findall(r"\$\(\"([\w-]+)\"\)", script.read_text())) <= ids


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_column_that_a_script_reads_is_in_the_index(script, site):
    asked = set(re.findall(r"(?<![\w.])(?:saers\.)?data\.(\w+)", script.read_text()))
    assert asked <= set(index_of(site))


def test_every_helper_that_a_script_calls_is_defined():
    text = "\n".join(path.read_text() for path in SCRIPTS)
    defined = set(re.findall(r"saers\.(\w+) (?:\|\|)?= ", text))
    defined |= {"data", "s"}  # the object that core.js makes, and a name that it sets on it
    assert set(re.findall(r"\bsaers\.(\w+)", text)) <= defined


def test_controls_have_a_name():
    text = (STATIC / "index.html").read_text()
    for match in re.finditer(r"<(input|select|button)\b([^>]*)>([^<]*)", text):
        before = text[: match.start()]
        in_label = before.rfind("<label") > before.rfind("</label")
        assert "aria-label" in match[2] or match[3].strip() or in_label


def test_both_colour_schemes_set_the_same_colours():
    style = (STATIC / "atlas.css").read_text()
    light, dark = (part.split("}")[0] for part in style.split(":root {")[1:])
    names = [set(re.findall(r"--([\w-]+): ", part)) for part in (light, dark)]
    assert names[0] - names[1] == {"sans", "mono"}
    assert names[1] <= names[0]


# ---- encoding


@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda c: sum(c) > 0.01),
        min_size=1,
        max_size=20,
    )
)
def test_a_matrix_survives_its_text_to_half_a_step(columns):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    matrix = np.array(columns) / np.sum(columns, axis=1, keepdims=True)
    decoded = np.array([letters.index(letter) / 63 for letter in payload.encode_matrix(matrix)])
    assert np.abs(decoded.reshape(-1, 4) - matrix).max() <= 0.5 / 63 + 1e-12
    assert letters in (STATIC / "logo.js").read_text()


def test_numbers_that_json_lacks_become_null():
    text = payload.script("f", [float("nan"), float("inf"), 1.5, {"a": (float("-inf"),)}])
    assert text == 'f([null,null,1.5,{"a":[null]}]);\n'


@pytest.mark.parametrize(
    "name, family",
    [
        ("CTCF", "CTCF"),
        ("SOX10", "SOX"),
        ("HNF4A", "HNF"),
        ("TFAP2A(var.2)", "TFAP"),
        ("NR2F1", "NR"),
        ("E2F6", "E2F"),
        ("Arnt::Ahr", "ARNT"),
        ("123", "123"),
    ],
)
def test_families_are_stems_of_names(name, family):
    assert payload.family_of(name) == family

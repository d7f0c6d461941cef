import dataclasses
import json

import numpy as np
import polars as pl
import pybigtools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import saers
from saers import schema
from saers.bigwig import export_bigwig, signal
from saers.cli import app
from saers.code_files import Places, write_codes
from saers.codes import Codes
from saers.layer import LayerInfo
from saers.recipe import dump_recipe, load_recipe
from saers.store import RunStore, atomic_path
from tests.tiny_run import write_inputs

CHROMOSOMES = {"chrB": 90, "chrA": 60, "empty": 7}
CONV = LayerInfo("conv", channels=8, stride=4, window_lo=3, window_hi=6)  # 10 bp around 4 i
WINDOWS = pl.DataFrame(
    {
        "window": [5, 2, 9, 3],
        "chrom": ["chrA", "chrA", "chrB", "chrB"],
        "start": [-6, 11, 70, 0],
        "end": [34, 51, 110, 40],
    }
).with_columns(split=pl.lit("train"))


def bases(track, layer):
    """The definition: each position paints its bases, and the highest wins."""
    painted = {chrom: np.zeros(length) for chrom, length in CHROMOSOMES.items()}
    places = {row["window"]: row for row in WINDOWS.iter_rows(named=True)}
    for window, position, value in track.iter_rows():
        seen = places[window]["start"] + layer.stride * position - layer.window_lo
        margin = (layer.window_lo + layer.window_hi + 1 - layer.stride) // 2
        line = painted[places[window]["chrom"]]
        for base in range(seen + margin, seen + margin + layer.stride):
            if 0 <= base < len(line):
                line[base] = max(line[base], value)
    return painted


@st.composite
def tracks(draw):
    entries = draw(
        st.dictionaries(
            st.tuples(st.sampled_from([5, 2, 9, 3]), st.integers(0, 9)),
            st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.125, 8, width=16),
        )
    )
    rows = [(*place, value) for place, value in entries.items()]
    return pl.DataFrame(rows, schema=dict(schema.FEATURE_TRACK), orient="row")


@given(tracks(), st.sampled_from([(1, 0, 0), (2, 11, 12), (4, 3, 6), (5, -2, 9), (3, 0, 0)]))
def test_every_base_has_the_highest_activation_that_covers_it(track, geometry):
    layer = LayerInfo("conv", 8, *geometry)
    frame = signal(track, WINDOWS, layer, CHROMOSOMES)
    assert frame.schema == dict(schema.SIGNAL)
    painted = {chrom: np.zeros(length) for chrom, length in CHROMOSOMES.items()}
    last = ("", 0, 0.0)
    for chrom, start, end, value in frame.iter_rows():
        assert 0 <= start < end <= CHROMOSOMES[chrom]
        assert value > 0
        assert chrom != last[0] or start > last[1] or (start == last[1] and value != last[2])
        painted[chrom][start:end] = value
        last = (chrom, end, value)
    order = [name for name in CHROMOSOMES if name in set(frame["chrom"])]
    assert frame["chrom"].unique(maintain_order=True).to_list() == order
    for chrom, expected in bases(track, layer).items():
        np.testing.assert_array_equal(painted[chrom], expected)


def test_a_position_covers_the_middle_of_what_it_has_seen():
    track = pl.DataFrame({"window": [3], "position": [2], "value": [1.5]})
    start = 0 + 4 * 2 - 3 + 3  # of 10 bp from base 5 on, the middle 4
    assert signal(track, WINDOWS, CONV, CHROMOSOMES).rows() == [("chrB", start, start + 4, 1.5)]


def test_a_window_or_a_chromosome_that_is_not_known_is_named():
    track = pl.DataFrame({"window": [3], "position": [2], "value": [1.5]})
    with pytest.raises(ValueError, match="windows must hold window 3"):
        signal(track, WINDOWS.filter(pl.col("window") != 3), CONV, CHROMOSOMES)
    with pytest.raises(ValueError, match="chromosomes must hold 'chrB'"):
        signal(track, WINDOWS, CONV, {"chrA": 60})


@pytest.fixture
def codes(tmp_path):
    rng = np.random.default_rng(2)
    indices = np.stack([rng.permutation(6)[:3] for _ in range(40)]).reshape(4, 10, 3)
    values = rng.random((4, 10, 3)).astype(np.float16)
    values[indices == 4] = 0
    path = tmp_path / "codes.h5"
    options = {"n_features": 6, "n_positions": 10, "k": 3, "places": Places(WINDOWS, CONV)}
    with write_codes(path, **options) as writer:
        writer.append(WINDOWS["window"].to_numpy(), Codes(indices, values))
    return path


def read_back(path):
    with pybigtools.open(str(path)) as file:
        assert file.chroms().items() <= CHROMOSOMES.items()
        return {chrom: list(file.records(chrom)) for chrom in file.chroms()}


def test_a_bigwig_holds_the_signal_to_the_bit(tmp_path, codes):
    paths = export_bigwig(codes, [3, 0], tmp_path / "out", chromosomes=CHROMOSOMES)
    assert [path.name for path in paths] == ["n3.bw", "n0.bw"]
    for feature, path in zip([3, 0], paths, strict=True):
        frame = signal(saers.feature_track(codes, feature), WINDOWS, CONV, CHROMOSOMES)
        assert frame.height > 5
        records = read_back(path)
        for chrom in CHROMOSOMES:
            expected = frame.filter(pl.col("chrom") == chrom).drop("chrom").rows()
            assert records.get(chrom, []) == expected


def test_a_silent_feature_has_one_base_of_zero(tmp_path, codes):
    [path] = export_bigwig(codes, [4], tmp_path, chromosomes=CHROMOSOMES, names={4: "6_n4"})
    assert path == tmp_path / "6_n4.bw"
    assert read_back(path)["chrB"] == [(0, 1, 0.0)]


def test_codes_that_do_not_tell_their_places_need_them(tmp_path, codes):
    path = tmp_path / "bare.h5"
    with write_codes(path, n_features=6, n_positions=10, k=3) as writer:
        for windows, block in saers.read_codes(codes):
            writer.append(windows, block)
    with pytest.raises(ValueError, match=r"windows and layer are needed: .*bare\.h5 does not tell"):
        export_bigwig(path, [0], tmp_path, chromosomes=CHROMOSOMES)
    given_places = {"windows": WINDOWS, "layer": CONV}
    [bare] = export_bigwig(path, [0], tmp_path, chromosomes=CHROMOSOMES, **given_places)
    [full] = export_bigwig(codes, [0], tmp_path / "full", chromosomes=CHROMOSOMES)
    assert read_back(bare) == read_back(full)


def test_what_cannot_be_written_leaves_no_file(tmp_path, codes):
    for features, chromosomes, message in (
        ([6], CHROMOSOMES, r"feature must lie in 0\.\.5, got 6"),
        ([0], {"chrA": 60}, "chromosomes must hold 'chrB'"),
        ([0], {}, "chromosomes must hold at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            export_bigwig(codes, features, tmp_path / "out", chromosomes=chromosomes)
    assert not list((tmp_path / "out").glob("*"))


def test_the_verb_writes_what_the_function_writes(tmp_path, codes):
    fasta = tmp_path / "genome.fa"
    fasta.write_text("".join(f">{name}\n{'A' * n}\n" for name, n in CHROMOSOMES.items()))
    options = ["--feature", "3", "--feature", "0", "--genome", str(fasta)]
    command = ["bigwig", str(codes), *options, "-o", str(tmp_path / "verb"), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    paths = json.loads(result.stdout)["out"]
    expected = export_bigwig(codes, [3, 0], tmp_path / "function", chromosomes=CHROMOSOMES)
    assert [read_back(path) for path in paths] == [read_back(path) for path in expected]


def test_the_verb_takes_a_run_with_its_places_names_and_genome(tmp_path, codes):
    recipe = write_inputs(tmp_path)
    store = RunStore(tmp_path / "RUN")
    with atomic_path(store.path("recipe")) as temporary:
        temporary.write_text(dump_recipe(load_recipe(recipe)))
    table = WINDOWS.with_columns(chrom=pl.col("chrom").replace({"chrA": "chr1", "chrB": "chr2"}))
    store.write_table("windows", table)
    store.write_json("layer", dataclasses.asdict(CONV))
    store.path("codes").parent.mkdir()
    codes.rename(store.path("codes"))
    command = ["bigwig", str(store.root), "--feature", "3", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    columns = {name: [0] for name in schema.FEATURES} | {"feature": [3], "name": ["2_n3"]}
    store.write_table("features", pl.DataFrame(columns, strict=False))
    assert CliRunner().invoke(app, command).exit_code == 0
    named, plain = (tmp_path / "out" / name for name in ("2_n3.bw", "n3.bw"))
    assert named.read_bytes() == plain.read_bytes()
    with pybigtools.open(str(named)) as file:
        assert file.chroms() == {"chr1": 60_000, "chr2": 20_000}


def test_the_verb_says_what_it_lacks(tmp_path, codes):
    result = CliRunner().invoke(app, ["bigwig", str(codes), "--feature", "3"])
    assert result.exit_code == 1
    assert "--genome FASTA is needed" in result.output
    result = CliRunner().invoke(app, ["bigwig", str(tmp_path), "--feature", "3"])
    assert "is neither a file of codes nor a run directory" in result.output
    (tmp_path / "recipe.toml").touch()
    result = CliRunner().invoke(app, ["bigwig", str(tmp_path), "--feature", "3"])
    assert "set encode.codes = true" in result.output

"""A recipe is checked to the last key before anything runs."""

import tomllib

import pytest

from saers import FormatError
from saers.cli.init import commented_recipe
from saers.context import outside_files
from saers.recipe import Recipe, dump_recipe, load_recipe

SMALL = '[model]\nsource = "model.py:build"\nlayer = "a"\n[genome]\nfasta = "g.fa"\n'


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_small_recipe_takes_the_defaults(tmp_path):
    recipe = load_recipe(write(tmp_path, SMALL))
    assert recipe.motifs.engine == "builtin"
    assert recipe.encode.per_window == 8


def test_paths_are_taken_from_the_folder_of_the_recipe(tmp_path):
    (tmp_path / "mine.meme").write_text("")
    text = SMALL + (
        '[windows]\nbed = "w.bed"\n[annotate.bed]\nccre = "c.bed"\n'
        '[match]\ndatabases = ["mine.meme", "JASPAR2024_CORE"]\n'
    )
    recipe = load_recipe(write(tmp_path, text))
    assert recipe.genome.fasta == str(tmp_path / "g.fa")
    assert recipe.windows.bed == str(tmp_path / "w.bed")
    assert recipe.annotate.bed == {"ccre": str(tmp_path / "c.bed")}
    assert recipe.match.databases == [str(tmp_path / "mine.meme"), "JASPAR2024_CORE"]
    assert recipe.model.source == f"{tmp_path / 'model.py'}:build"


def test_a_module_path_is_no_file(tmp_path):
    recipe = load_recipe(write(tmp_path, SMALL.replace("model.py:build", "package.net:build")))
    assert recipe.model.source == "package.net:build"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[motfs]\ncount = 1\n", "motfs: unknown key; did you mean 'motifs'"),
        ("[motifs]\ncuont = 1\n", "motifs.cuont: unknown key; did you mean 'count'"),
        ("[motifs]\ncount = 0\n", "motifs.count = 0: Input should be greater than 0"),
        ('[motifs]\nengine = "mem"\n', "motifs.engine = 'mem'"),
        ("[motifs\n", "line 6"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path, extra, message):
    with pytest.raises(FormatError) as caught:
        load_recipe(write(tmp_path, SMALL + extra))
    assert message in str(caught.value)
    assert "recipe.toml" in str(caught.value)


def test_a_recipe_needs_a_model_or_activations(tmp_path):
    with pytest.raises(FormatError, match=r"either a \[model\] or capture.activations"):
        load_recipe(write(tmp_path, '[genome]\nfasta = "g.fa"\n'))


def test_a_missing_recipe_says_what_writes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="saers init"):
        load_recipe(tmp_path / "no.toml")


def test_a_written_recipe_reads_back_the_same(tmp_path):
    recipe = load_recipe(write(tmp_path, SMALL))
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


@pytest.mark.parametrize("preset", ["default", "sae-borzoi"])
def test_the_commented_recipe_is_a_recipe(tmp_path, preset):
    recipe = load_recipe(write(tmp_path, commented_recipe(preset)))
    assert recipe.seqlets.width == ("paper" if preset == "sae-borzoi" else "rf")


def test_every_field_of_the_commented_recipe_has_its_default_when_uncommented():
    text = "\n".join(
        line.removeprefix("# ")
        for line in commented_recipe().splitlines()
        if not line.startswith("#")
        or (
            " = " in line
            and line.startswith("# ")
            and line.count(" = ") == 1
            and line.split(" = ")[0].removeprefix("# ").isidentifier()
        )
    )
    written = Recipe.model_validate(tomllib.loads(text))
    assert written.motifs == type(written.motifs)()
    assert written.encode == type(written.encode)()


def test_a_preset_and_an_alignment_of_motifs_are_told_apart_from_slips(tmp_path):
    text = SMALL + '[motifs]\npreset = "fast"\nweighted = true\ncontrol = "background.fa"\n'
    recipe = load_recipe(write(tmp_path, text))
    assert recipe.motifs.control == str(tmp_path / "background.fa")
    assert list(outside_files(["motifs"], recipe)) == []
    (tmp_path / "background.fa").write_text(">a\nACGT\n")
    assert list(outside_files(["motifs"], recipe)) == [tmp_path / "background.fa"]
    with pytest.raises(FormatError, match=r"motifs\.preset = 'quick'"):
        load_recipe(write(tmp_path, SMALL + '[motifs]\npreset = "quick"\n'))

"""Logos: heights in bits, and pictures that any program can parse."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saers import plotting

SVG = "{http://www.w3.org/2000/svg}"
MATRICES = arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.just(4)),
    elements=st.floats(0.0, 1.0),
).map(lambda counts: counts + 1e-6)


def paths(svg):
    return ET.fromstring(svg).findall(f"{SVG}path")


def test_a_certain_base_is_two_bits_high():
    assert plotting.letter_heights([[0, 0, 1, 0]]).tolist() == [[0, 0, 2, 0]]


def test_a_column_of_pure_background_has_no_height():
    background = [0.3, 0.2, 0.2, 0.3]
    heights = plotting.letter_heights([background], background=background)
    assert np.abs(heights).max() < 1e-12


def test_heights_against_the_formula_written_out():
    column, background = np.array([0.7, 0.1, 0.15, 0.05]), np.array([0.3, 0.2, 0.2, 0.3])
    bits = sum(p * np.log2(p / q) for p, q in zip(column, background, strict=True))
    heights = plotting.letter_heights([column], background=background)
    np.testing.assert_allclose(heights[0], column * bits, rtol=1e-12)


@given(MATRICES)
def test_a_column_never_exceeds_two_bits_and_is_never_negative(matrix):
    heights = plotting.letter_heights(matrix)
    assert (heights >= 0).all()
    assert (heights.sum(axis=1) <= 2 + 1e-9).all()


def test_a_rare_base_may_exceed_two_bits_and_still_fits_the_picture():
    svg = plotting.logo_svg([[0, 1, 0, 0]], background=[0.45, 0.05, 0.05, 0.45], height=40)
    (letter,) = paths(svg)
    assert "translate(" in letter.get("transform")
    assert letter.get("transform").endswith("0.4)")  # 100 units of outline on all 40 pixels


@given(MATRICES)
def test_every_logo_is_well_formed_xml_that_names_its_size(matrix):
    root = ET.fromstring(plotting.logo_svg(matrix, height=30, column_width=10))
    assert root.get("viewBox") == f"0 0 {10 * len(matrix)} 30"


@given(MATRICES)
def test_the_reverse_complement_twice_is_the_logo_itself(matrix):
    turned = matrix[::-1, ::-1]
    assert plotting.logo_svg(turned, reverse=True) == plotting.logo_svg(matrix)


def test_letters_have_their_colours_and_the_highest_lies_on_top():
    letters = paths(plotting.logo_svg([[0.1, 0.2, 0, 0.7]], height=100))
    assert [letter.get("fill") for letter in letters] == [plotting.COLORS[base] for base in "ACT"]
    tops = [float(letter.get("transform").split()[1].rstrip(")")) for letter in letters]
    assert tops == sorted(tops, reverse=True)


def test_letters_too_low_to_see_are_left_out():
    assert len(paths(plotting.logo_svg([[0.9999, 0.0001, 0, 0]], height=20))) == 1


def test_counts_are_normalised():
    assert plotting.logo_svg([[8, 0, 0, 8]]) == plotting.logo_svg([[0.5, 0, 0, 0.5]])


def test_a_logo_without_columns_is_empty_but_valid():
    assert paths(plotting.logo_svg(np.zeros((0, 4)))) == []


def test_the_title_is_escaped():
    svg = plotting.logo_svg([[1, 0, 0, 0]], title="<script>&")
    assert "<script>" not in svg
    assert ET.fromstring(svg).find(f"{SVG}title").text == "<script>&"


@pytest.mark.parametrize(
    "column, letter",
    [
        ([1, 0, 0, 0], "A"),
        ([0.4, 0, 0.4, 0.2], "D"),
        ([0.5, 0, 0.3, 0.2], "R"),
        ([0, 0.5, 0, 0.5], "Y"),
        ([0.25, 0.25, 0.25, 0.25], "N"),
    ],
)
def test_the_consensus_names_bases_that_reach_half_of_the_highest(column, letter):
    assert plotting.consensus([column]) == letter


@pytest.mark.parametrize(
    "matrix, message",
    [
        ([[1, 0, 0]], r"shape \(width, 4\)"),
        ([[1, 0, 0, np.nan]], "finite"),
        ([[1, 0, 0, -1]], "at least 0"),
        ([[1, 0, 0, 0], [0, 0, 0, 0]], "column of zeros at 1"),
    ],
)
def test_a_matrix_that_is_none_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        plotting.logo_svg(matrix)


def test_a_background_must_be_positive():
    with pytest.raises(ValueError, match="background must hold 4"):
        plotting.letter_heights([[1, 0, 0, 0]], background=[0, 0.5, 0.5, 0])


def test_height_must_be_positive():
    with pytest.raises(ValueError, match="height must be above 0, got 0"):
        plotting.logo_svg([[1, 0, 0, 0]], height=0)


def test_a_figure_shows_the_heights_of_the_svg(tmp_path):
    figure = plotting.logo_figure([[1, 0, 0, 0], [0.5, 0, 0, 0.5]], title="AW")
    assert figure.axes[0].get_title() == "AW"
    assert figure.axes[0].get_ylim() == (0, 2)
    figure.savefig(tmp_path / "logo.png")
    assert (tmp_path / "logo.png").stat().st_size > 1000

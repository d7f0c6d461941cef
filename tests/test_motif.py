"""saers.motif: what a motif is, and what is done to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saers import Motif

A, C, G, T, FLAT = *np.eye(4).tolist(), [0.25] * 4


def normalised(counts):
    return counts / counts.sum(axis=1, keepdims=True)


matrices = (
    st.integers(1, 15)
    .flatmap(lambda width: arrays(np.float64, (width, 4), elements=st.floats(0.01, 100)))
    .map(normalised)
)


def test_the_matrix_is_a_read_only_copy_in_double_precision():
    given_matrix = np.array([[1, 0, 0, 0]], dtype=np.float32)
    motif = Motif("m", "", given_matrix)
    given_matrix[0, 0] = 0
    assert motif.matrix.dtype == np.float64
    assert motif.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        motif.matrix[0, 0] = 0


def test_rows_a_little_off_are_divided_by_their_sum():
    assert Motif("m", "", [[0.33, 0.33, 0.33, 0]]).matrix[0, 0] == 0.33 / 0.99
    assert Motif("m", "", [[0.333333, 0.333333, 0.333333, 0]]).matrix[0, 0] == 0.333333


@pytest.mark.parametrize(
    "matrix, message",
    [
        ([1, 0, 0, 0], r"shape \(width, 4\), got \(4,\)"),
        ([[1, 0, 0]], "4 columns"),
        (np.zeros((0, 4)), "at least one row"),
        ([A, [0.5, 0.6, 0, 0]], "row 2 of the matrix sums to 1.1"),
        ([[2, -1, 0, 0]], "row 1 of the matrix holds -1"),
        ([[np.nan, 0.5, 0.5, 0]], "holds NaN"),
    ],
)
def test_a_matrix_that_is_not_one_of_probabilities_is_refused_by_name(matrix, message):
    with pytest.raises(ValueError, match=f"matrix of m.*{message}"):
        Motif("m", "", matrix)


@pytest.mark.parametrize("id", ["", "two words", "tab\tbed"])
def test_an_id_is_one_word(id):
    with pytest.raises(ValueError, match="id must be a word"):
        Motif(id, "", [A])


@pytest.mark.parametrize("background", [(0.5, 0.5), (0.5, 0.5, 0.5, 0.5), (1.2, -0.2, 0, 0)])
def test_a_background_is_four_frequencies(background):
    with pytest.raises(ValueError, match="background must be 4 frequencies"):
        Motif("m", "", [A], background=background)


def test_the_other_strand_has_the_other_background():
    motif = Motif("m", "x", [A, G], n_sites=7, background=(0.4, 0.3, 0.2, 0.1))
    other = motif.reverse_complement()
    assert (other.consensus, other.background) == ("CT", (0.1, 0.2, 0.3, 0.4))
    assert (other.id, other.name, other.n_sites) == ("m", "x", 7)


def test_of_equal_letters_the_first_is_spelled():
    assert Motif("m", "", [[0, 0.5, 0, 0.5], FLAT]).consensus == "CA"


def test_information_is_two_bits_less_the_entropy():
    motif = Motif("m", "", [A, FLAT, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]])
    p = np.array([0.7, 0.1, 0.1, 0.1])
    expected = [2, 0, 1, 2 + np.sum(p * np.log2(p))]
    np.testing.assert_allclose(motif.information, expected, atol=1e-12)


def test_trimming_keeps_weak_positions_between_strong_ones():
    assert Motif("m", "", [FLAT, A, FLAT, G, FLAT, FLAT]).trim(0.25).width == 3


def test_a_flat_motif_is_trimmed_to_one_position():
    assert Motif("m", "", [FLAT] * 5).trim(0.25).width == 1


@given(matrices)
def test_two_reverse_complements_change_nothing(matrix):
    motif = Motif("m", "", matrix)
    twice = motif.reverse_complement().reverse_complement()
    np.testing.assert_array_equal(twice.matrix, motif.matrix)


@given(matrices, st.integers(0, 2**64 - 1))
def test_a_shuffle_keeps_the_positions_and_repeats_for_its_seed(matrix, seed):
    motif = Motif("m", "", matrix)
    shuffled = motif.shuffle_columns(seed).matrix
    np.testing.assert_array_equal(shuffled, motif.shuffle_columns(seed).matrix)
    assert sorted(shuffled.tolist()) == sorted(motif.matrix.tolist())


def test_a_shuffle_is_uniform_over_orders():
    motif = Motif("m", "", [A, C, G])
    seen = [motif.shuffle_columns(seed).consensus for seed in range(3000)]
    counts = [seen.count(word) for word in ("ACG", "AGC", "CAG", "CGA", "GAC", "GCA")]
    assert sum(counts) == 3000
    assert min(counts) > 430


@given(matrices, st.floats(0, 2))
def test_the_flanks_of_a_trimmed_motif_are_informative(matrix, min_ic):
    motif = Motif("m", "", matrix)
    kept = motif.trim(min_ic).information
    if (motif.information >= min_ic).any():
        assert min(kept[0], kept[-1]) >= min_ic
    else:
        assert kept.tolist() == [motif.information.max()]

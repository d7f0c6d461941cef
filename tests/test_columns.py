"""Names become numbers, however they come."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saers.columns import code, encode

NAMES = st.lists(st.sampled_from(["chr1", "chr10", "chr2", "scaffold_with_a_long_name", ""]))


def decoded(coded, known=None):
    """Values of the numbers; None for those that are not known."""
    names = coded.levels if known is None else known
    return [None if n == 2**32 - 1 else names[int(n)] for n in coded.numbers]


@given(NAMES, st.sampled_from([pl.String, pl.Categorical]))
def test_numbers_stand_for_the_values(names, dtype):
    coded = code(pl.Series(names, dtype=pl.String).cast(dtype))
    assert coded.levels.to_list() == sorted(set(names))
    assert decoded(coded) == names
    assert coded.numbers.dtype == np.uint32


@given(NAMES)
def test_values_that_are_not_known_get_no_place(names):
    known = pl.Series(["chr2", "chrX", "chr1"])
    found = decoded(code(pl.Series(names, dtype=pl.String), known=known), known)
    assert found == [name if name in set(known) else None for name in names]


@given(st.lists(st.integers(0, 9) | st.integers(-3, 2**40)))
def test_whole_numbers_are_coded_dense_or_not(values):
    series = pl.Series(values, dtype=pl.Int64)
    assert decoded(code(series)) == values
    assert code(series).levels.to_list() == sorted(set(values))


def long_lists():
    rng = np.random.default_rng(0)
    mixed = rng.integers(0, 3, 200_000)
    late = np.r_[np.zeros(100_000, int), mixed]
    yield "grouped", np.sort(mixed)
    yield "mixed", mixed
    yield "mixed, one only at the end", np.r_[rng.integers(0, 2, 199_999), 2]
    yield "grouped at first", late


@pytest.mark.parametrize("name, places", list(long_lists()))
@pytest.mark.parametrize("known", [None, ["b", "a", "c"], ["c"]])
def test_long_columns_in_any_order(name, places, known):
    names = np.array(["a", "b", "c"])[places]
    wanted = pl.Series(["a", "b", "c"] if known is None else known)
    coded = code(pl.Series(names), known=None if known is None else wanted)
    table = np.full(3, 2**32 - 1, np.uint32)
    for number, value in enumerate(wanted):
        table["abc".index(value)] = number
    np.testing.assert_array_equal(coded.numbers, table[places])


def test_an_enum_is_sorted_by_its_names():
    coded = code(pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])))
    assert coded.levels.to_list() == ["a", "b"]
    assert coded.numbers.tolist() == [1, 0]


def test_coordinates_of_any_whole_type_are_taken():
    frame = pl.DataFrame(
        {"chrom": ["a"], "start": [3], "end": [9]},
        schema_overrides={"start": pl.UInt32, "end": pl.Int16},
    )
    table = encode(frame, None)
    assert table.columns[0] is None
    assert [column.tolist() for column in table.columns[2:]] == [[3], [9]]
    assert table.tags.to_list() == ["any"]


@pytest.mark.parametrize("column", ["chrom", "start", "end", "class"])
def test_missing_columns_and_empty_fields_are_named(column):
    frame = pl.DataFrame({"chrom": ["a"], "start": [3], "end": [9], "class": ["x"]})
    with pytest.raises(ValueError, match=rf"regions: missing columns \['{column}'\]"):
        encode(frame.drop(column), "class", name="regions")
    with pytest.raises(ValueError, match="regions must have no empty fields"):
        encode(frame.with_columns(pl.lit(None).alias(column)), "class", name="regions")

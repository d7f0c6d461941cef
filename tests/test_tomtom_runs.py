"""Every option over hundreds of queries: the rows have the digests of what Tomtom 5.4.1 printed."""

import gzip
import json

import pytest

from tests.tomtom_runs import (
    DATABASES,
    OPTIONS,
    RECORDED,
    digests,
    own,
    queries_of,
    write_inputs,
)

EXPECTED = json.loads(gzip.decompress(RECORDED.read_bytes()))


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomtom")
    write_inputs(data, folder)
    return folder


@pytest.mark.data
@pytest.mark.parametrize("key", EXPECTED)
def test_rows_are_those_that_the_program_printed(folder, key):
    option, queries, database = key.split()
    rows = own(folder, queries, database, OPTIONS[option][1])
    found = digests(rows)
    expected = EXPECTED[key]["digests"]
    differing = [query for query in expected if found.get(query) != expected[query]]
    assert (len(rows), differing) == (EXPECTED[key]["rows"], [])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_was_recorded_with_two_databases(option):
    for database in DATABASES:
        keys = [f"{option} {queries} {database}" for queries in queries_of(option)]
        recorded = [EXPECTED[key]["digests"] for key in keys if key in EXPECTED]
        assert len(recorded) == len(keys)
        # A threshold leaves queries without rows, of which nothing is printed.
        assert "-thresh" in OPTIONS[option][0] or sum(map(len, recorded)) > 300


def test_a_digest_changes_with_a_digit_and_with_the_order():
    rows = ["q\ta\t1e-5", "q\tb\t1e-4", "r\ta\t1"]
    one = digests(rows)
    assert set(one) == {"q", "r"}
    assert digests([rows[1], rows[0], rows[2]])["q"] != one["q"]
    assert digests([rows[0], "q\tb\t1.1e-4", rows[2]])["q"] != one["q"]

"""One-hot codes: of any type, in either layout, into arrays and tensors that are there."""

import re

import numpy as np
import pytest
import torch

from saers.genome import Genome

REGIONS = [("chr1", 0, 9, "-"), ("chr1", 6, 15), ("chr2", -3, 6)]


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1 first\nACGTAC\nGTnnNN\nAAC\n>chr2\nGGRGCC\n")
    return Genome(path)


def expected(genome, dtype=np.float32):
    letters = np.array([list(text) for text in genome.slice(REGIONS, pad=True)])
    return (letters[:, :, None] == np.array(list("ACGT"))).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "?", "f2", "i4", "f4", "f8", ">f4"])
def test_numbers_of_any_type_are_written_as_such(genome, dtype):
    code = genome.onehot(REGIONS, dtype, pad=True)
    assert code.dtype == np.dtype(dtype)
    assert code.flags.c_contiguous
    np.testing.assert_array_equal(code, expected(genome, dtype))
    first = genome.onehot(REGIONS, dtype, pad=True, channels_first=True)
    assert first.shape == (3, 4, 9)
    np.testing.assert_array_equal(first.swapaxes(1, 2), code)


def test_the_code_is_float32_unless_another_is_asked_for(genome):
    assert genome.onehot(REGIONS, pad=True).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_an_array_that_is_there_is_filled_and_returned(genome, dtype):
    whole = np.full((5, 9, 4), 7, dtype)
    assert genome.onehot(REGIONS, pad=True, out=whole[1:4]) is not whole
    np.testing.assert_array_equal(whole[1:4], expected(genome))
    assert (whole[[0, 4]] == 7).all()
    own = np.empty((3, 4, 9), dtype)
    assert genome.onehot(REGIONS, dtype, pad=True, channels_first=True, out=own) is own
    np.testing.assert_array_equal(own.swapaxes(1, 2), expected(genome))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.uint8])
def test_a_tensor_is_filled_and_returned(genome, dtype):
    out = torch.full((3, 9, 4), 7, dtype=dtype)
    assert genome.onehot(REGIONS, pad=True, out=out) is out
    np.testing.assert_array_equal(out.numpy(), expected(genome))


@pytest.mark.parametrize(
    "out, message",
    [
        (np.empty((3, 8, 4), np.float32), "out must have the shape (3, 9, 4), got (3, 8, 4)"),
        (np.empty((3, 9, 4), np.float16), "out must have the type float32, got float16"),
        (np.empty((3, 9, 8), np.float32)[:, :, ::2], "out must be contiguous"),
        (np.empty((3, 4, 9), np.float32).swapaxes(1, 2), "out must be contiguous"),
        (np.broadcast_to(np.float32(0), (3, 9, 4)), "out must be contiguous"),
        (np.empty((3, 9, 4), ">f4"), "out must have the type float32, got >f4"),
        (torch.empty((3, 9, 4), dtype=torch.float64), "type float32, got float64"),
        (torch.empty((3, 9, 4), requires_grad=True), "needs no gradient"),
        (torch.empty((3, 9, 4), device="meta"), "on the CPU"),
        (torch.empty((3, 4, 9)).swapaxes(1, 2), "out must be contiguous"),
    ],
)
def test_what_cannot_be_written_to_is_named(genome, out, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        genome.onehot(REGIONS, np.float32, pad=True, out=out)


def test_only_arrays_and_tensors_of_numbers_are_written_to(genome):
    with pytest.raises(TypeError, match="out must be an array or a tensor, got list"):
        genome.onehot(REGIONS, pad=True, out=[])
    for dtype in (complex, "U1", object, "datetime64[s]"):
        with pytest.raises(ValueError, match="dtype must be a type of numbers"):
            genome.onehot(REGIONS, dtype, pad=True)


def test_bad_regions_are_named_as_in_slices(genome):
    for region, message in [
        (("chr1", 5, 4), "has its start after its end"),
        (("chr1", 9, 16), "reaches past the end of chr1, 15 bp"),
        (("chr1", -1, 4), "starts before 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            genome.onehot([region])


def test_no_regions_fill_nothing(genome):
    assert genome.onehot([]).shape == (0, 0, 4)
    out = np.empty((0, 0, 4), np.uint8)
    assert genome.onehot([], out=out) is out
    assert genome.onehot([("chr1", 3, 3)], np.uint8).shape == (1, 0, 4)


@pytest.mark.parametrize("width", [34, 3000])
def test_the_number_of_threads_changes_nothing(tmp_path, width):
    rng = np.random.default_rng(0)
    lines = rng.choice(np.frombuffer(b"ACGTNacgtn", np.uint8), (20_000, 61))
    lines[:, 60] = ord("\n")
    path = tmp_path / "genome.fa"
    path.write_bytes(b">a\n" + lines.tobytes())
    genome = Genome(path)
    starts = rng.integers(-50, 1_200_000 - width, 3000).tolist()
    regions = [("a", s, s + width, "+-"[s % 2]) for s in starts]
    once = genome.slice(regions, pad=True, soft_mask=True, threads=1)
    code = genome.onehot(regions, np.uint8, pad=True, threads=1)
    for threads in (2, 8, None):
        assert genome.slice(regions, pad=True, soft_mask=True, threads=threads) == once
        again = genome.onehot(regions, np.uint8, pad=True, threads=threads)
        np.testing.assert_array_equal(again, code)
    whole = lines[:, :60].tobytes().decode()
    forward = [s for s in starts if s >= 0 and s % 2 == 0]
    wanted = [whole[s : s + width] for s in forward]
    assert genome.slice([("a", s, s + width) for s in forward], soft_mask=True) == wanted


@pytest.mark.parametrize("call", ["slice", "onehot"])
def test_threads_must_be_positive(genome, call):
    with pytest.raises(ValueError, match="threads must be positive, got 0"):
        getattr(genome, call)([("chr1", 0, 3)], threads=0)

"""From base pairs to tokens and back: every token knows the bases that it stands for."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from saers.checks import in_range


class Tokens(NamedTuple):
    """A sequence as a language model reads it."""

    ids: list[int]
    """All that the model reads, special tokens among them."""
    rows: npt.NDArray[np.int64]
    """(n,) places in ``ids`` of the tokens that stand for bases, in their order."""
    places: npt.NDArray[np.int64]
    """(n, 2) first base and one past the last, from the start of the sequence."""


Tokenise: TypeAlias = Callable[[str], Tokens]


def tokeniser(tokenizer: Any, *, kmer: int | None = None, step: int = 1) -> Tokenise:  # noqa: ANN401
    """Make a function that tokenises DNA with a tokenizer of Hugging Face.

    Parameters
    ----------
    tokenizer
        A fast one tells the place of each token itself (byte-pair encoding, DNABERT-2). Of others
        the letters of the tokens must spell the sequence (Nucleotide Transformer, characters).
    kmer
        Cut the sequence into words of so many bases first, for vocabularies of k-mers whose
        tokenizer expects them with blanks between (DNABERT); None: it is given the sequence.
    step
        Bases from one such word to the next; what is left at the end is not read.
    """
    if kmer is not None:
        in_range("kmer", kmer, 1, 64)
        in_range("step", step, 1, kmer)
        return lambda sequence: _of_words(tokenizer, sequence, kmer, step)
    if getattr(tokenizer, "is_fast", False):
        return lambda sequence: _by_offsets(tokenizer, sequence)
    return lambda sequence: _by_spelling(tokenizer, sequence)


def _of_words(tokenizer: Any, sequence: str, kmer: int, step: int) -> Tokens:  # noqa: ANN401
    starts = np.arange(0, len(sequence) - kmer + 1, step)
    words = [sequence[start : start + kmer] for start in starts.tolist()]
    places = np.stack([starts, starts + kmer], axis=1)
    return _between(tokenizer, tokenizer.convert_tokens_to_ids(words), places)


def _by_offsets(tokenizer: Any, sequence: str) -> Tokens:  # noqa: ANN401
    """Take the places that the tokenizer tells; special tokens have none."""
    told = tokenizer(sequence, return_offsets_mapping=True, return_special_tokens_mask=True)
    spans = np.array(told["offset_mapping"], np.int64).reshape(-1, 2)
    # An unknown letter is a special token too, but one that stands for something.
    rows = np.flatnonzero(spans[:, 1] > spans[:, 0])
    places = spans[rows]
    _check(places, len(sequence))
    return Tokens(list(told["input_ids"]), rows, places)


def _by_spelling(tokenizer: Any, sequence: str) -> Tokens:  # noqa: ANN401
    """Find the places by reading the tokens one after the other."""
    tokens, places, at = tokenizer.tokenize(sequence), [], 0
    for token in tokens:
        if not sequence.startswith(token, at) or not token:
            raise ValueError(
                f"token {token!r} does not spell the sequence at base {at} "
                f"({sequence[at : at + 12]!r}): a fast tokenizer, or kmer=K, is needed"
            )
        places.append((at, at + len(token)))
        at += len(token)
    found = np.array(places, np.int64).reshape(-1, 2)
    return _between(tokenizer, tokenizer.convert_tokens_to_ids(tokens), found)


def _between(tokenizer: Any, own: list[int], places: npt.NDArray[np.int64]) -> Tokens:  # noqa: ANN401
    """Put the special tokens around a sequence's own, and find the own among them."""
    ids = list(tokenizer.build_inputs_with_special_tokens(own))
    first = next((i for i in range(len(ids) - len(own) + 1) if ids[i : i + len(own)] == own), None)
    if first is None:
        raise ValueError("special tokens must stand before or behind the sequence, not within it")
    return Tokens(ids, np.arange(first, first + len(own)), places)


def _check(places: npt.NDArray[np.int64], length: int) -> None:
    """Require tokens in the order of the bases that do not overlap."""
    edges = places.ravel()
    if len(edges) and (edges[0] < 0 or edges[-1] > length or (np.diff(edges) < 0).any()):
        raise ValueError("the tokenizer's places overlap or lie outside the sequence")


def letters_of(onehot: npt.NDArray[np.floating[Any]]) -> list[str]:
    """Read one-hot sequences (b, length, 4); a row of zeros is N.

    Examples
    --------
    >>> letters_of(np.array([[[0, 1, 0, 0], [0, 0, 0, 0]]], np.float32))
    ['CN']
    """
    numbers = np.where(onehot.any(axis=2), onehot.argmax(axis=2), 4)
    return [row.tobytes().decode("ascii") for row in _LETTERS[numbers]]


_LETTERS: npt.NDArray[np.uint8] = np.frombuffer(b"ACGTN", np.uint8)


def filled(rows: Sequence[npt.NDArray[np.int64]], n: int) -> npt.NDArray[np.int64]:
    """Stack places of sequences, (b, n, 2); -1 where a sequence has no more tokens."""
    found = np.full((len(rows), n, 2), -1, np.int64)
    for number, places in enumerate(rows):
        found[number, : len(places)] = places
    return found

"""Checks that are made in many places, each with one wording."""

import difflib
from collections.abc import Iterable
from pathlib import Path


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Require ``low <= value <= high``.

    Examples
    --------
    >>> in_range("k", 0, 1, 2432)
    Traceback (most recent call last):
    ...
    ValueError: k must lie in 1..2432, got 0
    """
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, got {value}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Require a known word and offer the nearest one where it is not.

    Examples
    --------
    >>> one_of("engine", "mem", ["builtin", "meme", "streme"])
    Traceback (most recent call last):
    ...
    ValueError: engine must be one of builtin, meme, streme, got 'mem'; did you mean 'meme'?
    """
    words = list(allowed)
    if value not in words:
        raise ValueError(
            f"{name} must be one of {', '.join(words)}, got {value!r}{did_you_mean(value, words)}"
        )


def did_you_mean(word: str, known: Iterable[str], *, most: int = 1) -> str:
    """Word a hint with the nearest known words, empty where none is near.

    Examples
    --------
    >>> did_you_mean("conv1d_11", ["conv1d_1", "head"])
    "; did you mean 'conv1d_1'?"
    >>> did_you_mean("xyz", ["conv1d_1"])
    ''
    """
    near = difflib.get_close_matches(word, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def existing_file(path: str | Path, *, what: str) -> Path:
    """Require a file that can be opened; ``what`` names its role in the message.

    Examples
    --------
    >>> existing_file("no-such.fa", what="genome")
    Traceback (most recent call last):
    ...
    FileNotFoundError: genome: no file at no-such.fa
    """
    found = Path(path)
    if not found.is_file():
        raise FileNotFoundError(f"{what}: no file at {found}")
    return found

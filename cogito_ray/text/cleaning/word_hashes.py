"""Texts as hashes of their words and of runs of words, whatever case, punctuation and spaces."""

import re
from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np

Hashes = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
WORDS = re.compile(r"\w+")
MULTIPLIER, SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


def words_of(text: str) -> list[str]:
    """Its runs of letters and digits, in lower case."""
    return WORDS.findall(text.lower())


def word_hashes(words: Sequence[str]) -> Hashes:
    """(W,) 64 bits a word, the same in every process."""
    from pandas.util import hash_array  # half a second, which a command that reads no text need not wait

    hashes: Hashes = hash_array(np.array(words, dtype=object), categorize=False)
    return hashes


def ngram_hashes(hashes: Hashes, length: int) -> Hashes:
    """Hashes (W,) of words -> (W - length + 1,) of each run of `length` of them; (0,) where there are fewer."""
    return next(islice(growing_ngrams(hashes), length - 1, None))


def growing_ngrams(hashes: Hashes) -> Iterator[Hashes]:
    """Hashes (W,) of words -> (W,) of each word, (W - 1,) of each two in a row, and so on without end.

    A polynomial in the words with a shift between the terms, which makes their order count, all runs at once.
    """
    runs = hashes
    for length in count(1):
        yield runs
        runs = runs[: max(len(hashes) - length, 0)] * MULTIPLIER    # wraps around: arithmetic modulo 2^64
        runs ^= runs >> SHIFT
        runs += hashes[length:]

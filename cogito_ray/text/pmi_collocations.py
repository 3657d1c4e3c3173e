"""Collocations of a corpus by n-gram pointwise mutual information (PMI-Masking, arXiv:2010.01825, equation 3).

An n-gram scores log p(n-gram) minus the best sum of log p over all ways to cut it into shorter runs, so that it counts
only if no part of it explains it. The best-scoring n-grams are kept, the same number of each length.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.vocabulary_info import Collocations, Vocabulary

COUNTED_ROWS = 20_000
"""Train rows that are counted for collocations, drawn as training draws them."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@lru_cache(maxsize=2)
def with_collocations(corpus: Corpus) -> Vocabulary:
    """The corpus's vocabulary and its collocations: seconds of counting, once per process."""
    plan = corpus.plan(seed=0)
    rows = MappedReader(corpus, plan).read(0, min(COUNTED_ROWS, sum(plan.rows)))
    return replace(corpus.vocabulary, collocations=find_collocations(rows, corpus.vocabulary))


def find_collocations(
    rows: Ints, vocabulary: Vocabulary, *, longest: int = 5, least_count: int = 10, kept: int = 10_000
) -> Collocations | None:
    """rows (R, N) token ids -> at most `kept` collocations of each length from 2 to `longest` that occur at least
    `least_count` times; None if the corpus has none."""
    logs, places, levels = [_unigrams(rows, vocabulary)], [rows], []
    for length in range(2, longest + 1):
        keys, counts, place = _ngrams(places[-1], rows, vocabulary, length, least_count)
        if not len(keys):
            break
        places.append(place)
        log = np.log(counts) - np.log(rows.size)
        cuts = _best_cut(place, len(keys), logs, places)
        levels.append((keys, log - cuts))
        logs.append(np.maximum(log, cuts))          # what this run is worth as a part of a longer one
    return _trie(levels, vocabulary.size, kept)


def _unigrams(rows: Ints, vocabulary: Vocabulary) -> Floats:
    counts = np.bincount(rows.ravel(), minlength=vocabulary.size)
    logs: Floats = np.log(np.maximum(counts, 1)) - np.log(rows.size)
    return logs


def _ngrams(
    before: Ints, rows: Ints, vocabulary: Vocabulary, length: int, least_count: int
) -> tuple[Ints, Ints, Ints]:
    """-> keys and counts of frequent n-grams, and (R, N) which of them starts at each place, -1 = none."""
    known = ~np.isin(rows, vocabulary.special_ids)
    ends = np.zeros(rows.shape, dtype=np.int64)
    ends[:, : 1 - length] = rows[:, length - 1 :]
    valid = known & (before >= 0)
    valid[:, : 1 - length] &= known[:, length - 1 :]
    valid[:, 1 - length :] = False
    key = np.where(valid, before * vocabulary.size + ends, -1)
    keys, counts = np.unique(key[valid], return_counts=True)
    keys, counts = keys[counts >= least_count], counts[counts >= least_count]
    if not len(keys):
        return keys, counts, np.full(rows.shape, -1)
    found = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    return keys, counts, np.where(keys[found] == key, found, -1)


def _best_cut(place: Ints, size: int, logs: list[Floats], places: list[Ints]) -> Floats:
    """The largest sum of two parts' worth, for each of `size` n-grams.

    Of all ways to cut an n-gram into several parts, those into two are enough: a part's worth is the larger of its own
    log p and its best cut, so that further cuts are in it already (dynamic programming over lengths).
    """
    length = len(places)
    where = np.zeros(size, dtype=np.int64)
    flat = place.ravel()
    where[flat[flat >= 0]] = np.flatnonzero(flat >= 0)          # one place in the corpus where each n-gram starts
    cuts = [
        logs[cut - 1][places[cut - 1].ravel()[where]]
        + logs[length - cut - 1][places[length - cut - 1].ravel()[where + cut]]
        for cut in range(1, length)
    ]
    best: Floats = np.max(cuts, axis=0)
    return best


def _trie(levels: list[tuple[Ints, Floats]], size: int, kept: int) -> Collocations | None:
    """Keep the best n-grams of each length and their beginnings, and renumber the keys to what is left.

    A key of a level is (index of its beginning in the level before) * vocabulary size + its last token. Dropping keys
    of a level shifts the indices that the next one refers to: `renumbered` maps old ones to new ones.
    """
    wholes = [_top(scores, kept) for _, scores in levels]
    needed = [whole.copy() for whole in wholes]
    for i in range(len(levels) - 1, 0, -1):
        needed[i - 1][levels[i][0][needed[i]] // size] = True
    keys, whole, renumbered = [], [], np.arange(size)
    for (level, _), mine, use in zip(levels, wholes, needed, strict=True):
        if not use.any():
            break
        keys.append(renumbered[level[use] // size] * size + level[use] % size)
        whole.append(mine[use])
        renumbered = np.cumsum(use) - 1
    return Collocations(tuple(keys), tuple(whole)) if keys else None


def _top(scores: Floats, kept: int) -> NDArray[np.bool_]:
    """The `kept` largest positive scores."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[:kept]] = True
    positive: NDArray[np.bool_] = chosen & (scores > 0)
    return positive

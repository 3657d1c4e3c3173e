"""Collocations by pointwise mutual information, against the definition."""

import itertools
from math import log

import numpy as np
import pytest
import torch

from cogito_ray.objectives.span_masking import matches
from cogito_ray.text.pmi_collocations import find_collocations, with_collocations
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.vocabulary_info import Vocabulary

VOCABULARY = Vocabulary(size=50, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))


def corpus() -> np.ndarray:
    rows = np.random.default_rng(1).integers(4, 50, (300, 20))
    rows[:, 3:6] = (10, 11, 12)                 # a planted run of three
    rows[:100, 12:14] = (20, 21)                # and one of two
    rows[:, 9] = VOCABULARY.separator_id
    return rows


def score(run: tuple[int, ...], rows: np.ndarray) -> float:
    """log p(run) minus the best log-probability of any cut of it, over everything in `rows`."""

    def log_p(part: tuple[int, ...]) -> float:
        windows = np.lib.stride_tricks.sliding_window_view(rows, len(part), axis=1)
        return log((windows == part).all(axis=2).sum() / rows.size)

    cuts = [c for n in range(1, len(run)) for c in itertools.combinations(range(1, len(run)), n)]
    parts = [[run[a:b] for a, b in itertools.pairwise((0, *cut, len(run)))] for cut in cuts]
    return log_p(run) - max(sum(map(log_p, cut)) for cut in parts)


def longest_match(run: tuple[int, ...], rows: np.ndarray, **settings: int) -> int:
    found = find_collocations(rows, VOCABULARY, **settings)
    return int(matches(torch.tensor([run]), found, VOCABULARY.size)[0, 0])


def test_planted_runs_are_found_whole():
    assert longest_match((10, 11, 12), corpus(), kept=1) == 3
    assert longest_match((20, 21, 30), corpus(), kept=5) == 2


@pytest.mark.parametrize("length", [2, 3])
def test_the_kept_runs_are_those_with_the_highest_score(length: int):
    rows = corpus()
    windows = np.lib.stride_tricks.sliding_window_view(rows, length, axis=1).reshape(-1, length)
    runs, counts = np.unique(windows, axis=0, return_counts=True)
    runs = [tuple(run.tolist()) for run, count in zip(runs, counts, strict=True) if count >= 10 and run.min() > 3]
    best = max(runs, key=lambda run: score(run, rows))
    assert longest_match(best, rows, kept=1, longest=length) == length


def test_runs_across_separators_do_not_count():
    rows = corpus()
    rows[:, 8], rows[:, 10] = 30, 31
    assert longest_match((30, VOCABULARY.separator_id, 31), rows) == 1


def test_a_corpus_without_repeats_has_none():
    assert find_collocations(np.arange(4, 44).reshape(2, 20), VOCABULARY) is None


def test_a_prepared_corpus_tells_its_collocations(corpus: Corpus):
    """Its words are made of two syllables each, and its tokenizer is too small to hold them whole."""
    vocabulary = with_collocations(corpus)
    rows = torch.from_numpy(corpus.held_out_rows(20))
    assert (matches(rows, vocabulary.collocations, vocabulary.size) > 1).float().mean() > 0.1
    assert vocabulary.size == corpus.vocabulary.size

"""Encoders that know everything, nothing, or only which words there are."""

import math

import pytest
import torch
from torch import Tensor

from cogito_ray.evaluation.validation.word_probes import WordProbes, content_auc, halves_exchanged, order_accuracy
from cogito_ray.text.vocabulary_info import Vocabulary

PAD, SEPARATOR, WORDS, LENGTH = 0, 2, 40, 24
VOCABULARY = Vocabulary(size=3 + WORDS, pad_id=PAD, mask_id=1, separator_id=SEPARATOR, special_ids=(0, 1, 2))


def rows(count: int = 128) -> Tensor:
    """Rows in which a word of number w stands with frequency that falls with w."""
    draw = torch.Generator().manual_seed(1)
    share = 1.0 / torch.arange(4, 4 + WORDS)
    return 3 + share.multinomial(count * LENGTH, replacement=True, generator=draw).view(count, LENGTH)


def one_hot(ids: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(ids, VOCABULARY.size).float()        # (R, N, V)


def bag(ids: Tensor) -> Tensor:
    return one_hot(ids).amax(dim=1, keepdim=True)                           # (R, 1, V)


def halves(ids: Tensor) -> Tensor:
    """The bags of a row's two halves: order and all."""
    return torch.cat([bag(half) for half in ids.chunk(2, dim=1)], dim=1)    # (R, 2, V)


def constant(ids: Tensor) -> Tensor:
    return torch.linspace(-1, 1, 8).expand(len(ids), 3, 8)


def unrelated(ids: Tensor) -> Tensor:
    return torch.randn(len(ids), 4, 16, generator=torch.Generator().manual_seed(int(ids.sum())))


def asked(encode) -> tuple[float, float]:
    """Content and order of the made-up encoder's concepts."""
    scores = WordProbes(rows(), VOCABULARY)(encode, lambda ids: encode(ids).mean(dim=1))
    assert str(scores["eval/word_content_auc_of_token_means"]) == str(scores["eval/word_content_auc"])  # nan, too
    return scores["eval/word_content_auc"], scores["eval/word_order_accuracy"]


def test_a_bag_of_words_knows_all_words_and_no_order():
    content, order = asked(bag)
    assert content > 0.98
    assert order == 0.5


def test_bags_of_halves_know_words_and_order():
    content, order = asked(halves)
    assert content > 0.9
    assert order > 0.9


def test_constant_concepts_know_nothing():
    assert asked(constant) == (0.5, 0.5)


def test_collapsed_concepts_know_nothing_though_a_perfect_reader_could_tell_them_apart():
    assert asked(lambda ids: 1 + 1e-4 * halves(ids)) == (0.5, 0.5)


def test_unrelated_concepts_score_chance():
    content, order = asked(unrelated)
    assert content == pytest.approx(0.5, abs=0.05)      # of about 35 words, each with an error of about 0.1
    assert order == pytest.approx(0.5, abs=0.05)


def test_scores_do_not_depend_on_the_scale_of_vectors():
    vectors, present = bag(rows())[:, 0], bag(rows())[:, 0, 5:20] > 0
    assert content_auc(64 * vectors, present) == pytest.approx(content_auc(vectors, present), abs=1e-9)


def test_concepts_that_are_not_finite_are_not_scored():
    content, order = asked(lambda ids: bag(ids) / 0)
    assert math.isnan(content)
    assert math.isnan(order)


def test_exchanging_halves_leaves_padding_at_the_end_and_says_which_half_is_first():
    ids = torch.tensor([[3, 4, 5, 6, 7, 0], [3, 4, 0, 0, 0, 0]])
    exchanged, first = halves_exchanged(ids, PAD)
    assert exchanged.tolist() == [[5, 6, 7, 3, 4, 0], [4, 3, 0, 0, 0, 0]]
    assert first.tolist() == [[True, True, False, False, False, False], [True, False, False, False, False, False]]


def test_order_is_asked_of_words_that_stand_in_one_half_only():
    a, b, c = 3, 4, 5
    ids = torch.tensor([[a, b, b, c], [c, b, b, a]]).repeat(32, 1)
    assert WordProbes(ids, VOCABULARY).lead.shape[1] == 0    # every word stands in every row: too frequent to be asked
    rare = torch.cat([ids, torch.full((80, 4), 6)])
    lead = WordProbes(rare, VOCABULARY).lead
    assert lead[:2].tolist() == [[1, -1], [-1, 1]]      # a and c; b stands in both halves


def test_padding_and_separators_are_no_words():
    ids = torch.full((64, 4), SEPARATOR)
    ids[:, 3] = PAD
    ids[::2, :3], ids[::4, 0] = 3, 4
    assert WordProbes(ids, VOCABULARY).present.shape[1] == 2


def test_too_few_rows_are_not_asked():
    assert WordProbes(rows(31), VOCABULARY)(bag, lambda ids: bag(ids)[:, 0]) == {}


def test_guesses_count_half():
    lead = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(4, 1)                  # (8, 1)
    change = torch.zeros(8, 1, 1)
    change[:4] = 1.0 * lead[:4, None]                   # half of the rows change as the word does, half do not
    assert order_accuracy(change, torch.zeros_like(change), lead) == pytest.approx(0.75)

"""Made-up readings of which it is known how narrow they are, and what they go by."""

import math

import pytest
import torch
from torch import Tensor

from cogito_ray.analysis.attention_statistics import (
    by_position,
    centres_and_deviations,
    entropies,
    lifts,
    peaks,
    position_bias,
    top_tokens,
)

TEXTS, TOKENS = 60, 16
VISIBLE = torch.ones(TEXTS, TOKENS, dtype=torch.bool)
IDS = torch.randint(0, 8, (TEXTS, TOKENS), generator=torch.Generator().manual_seed(0))


def one_token(positions: Tensor) -> Tensor:
    """Reads one token a text, at positions (R,): (R, 1, K)."""
    return torch.nn.functional.one_hot(positions, TOKENS).float()[:, None]


def everything() -> Tensor:
    return torch.full((TEXTS, 1, TOKENS), 1 / TOKENS)


def of_word(word: int) -> Tensor:
    """Reads every occurrence of one word alike; all tokens where there is none."""
    there = IDS.eq(word).float()
    there[there.sum(dim=1) == 0] = 1
    return (there / there.sum(dim=1, keepdim=True))[:, None]


def test_entropy_goes_from_one_token_to_all():
    half = torch.zeros(TEXTS, 1, TOKENS)
    half[..., : TOKENS // 2] = 2 / TOKENS
    weights = torch.cat([one_token(IDS[:, 0]), half, everything()], dim=1)
    assert entropies(weights, VISIBLE[:, None]).tolist() == pytest.approx([0, math.log(8) / math.log(16), 1])


def test_padding_does_not_count_as_read_alike():
    visible = VISIBLE.clone()
    visible[:, 4:] = False
    weights = torch.zeros(TEXTS, 1, TOKENS)
    weights[..., :4] = 1 / 4
    assert entropies(weights, visible[:, None]).tolist() == pytest.approx([1])
    assert centres_and_deviations(weights, visible)[0].tolist() == pytest.approx([0.5])
    assert by_position(weights, visible)[0, 0, ::4].tolist() == pytest.approx([0.25] * 4)


def test_place_explains_all_of_a_fixed_place_and_nothing_of_a_random_one():
    random = torch.randint(0, TOKENS, (TEXTS,), generator=torch.Generator().manual_seed(1))
    weights = torch.cat([one_token(torch.full((TEXTS,), 3)), one_token(random), everything()], dim=1)
    fixed, free, even = position_bias(weights, VISIBLE).tolist()
    assert fixed == even == pytest.approx(1)
    assert free == pytest.approx(1 / TEXTS, abs=2 / TEXTS)


def test_a_centre_and_its_width_are_in_shares_of_a_text():
    ends = torch.zeros(TEXTS, 1, TOKENS)
    ends[..., 0] = ends[..., -1] = 0.5
    mean, spread = centres_and_deviations(torch.cat([one_token(torch.full((TEXTS,), 3)), ends], dim=1), VISIBLE)
    assert mean.tolist() == pytest.approx([3.5 / 16, 0.5])
    assert spread.tolist() == pytest.approx([0, 7.5 / 16])


def test_a_concept_that_reads_one_kind_lifts_it_by_the_inverse_of_its_share():
    kinds = (torch.arange(TOKENS) >= 12).long().expand(TEXTS, -1)       # a quarter of all tokens is of kind 1
    last = torch.zeros(TEXTS, 1, TOKENS)
    last[..., 12:] = 1 / 4
    told = lifts(torch.cat([last, everything()], dim=1), VISIBLE[:, None], kinds, 3)
    assert told[:, :2].flatten().tolist() == pytest.approx([0, 4, 1, 1])
    assert told[:, 2].isnan().all()


def test_the_word_that_is_read_is_the_favourite_and_reading_all_alike_has_none():
    told = top_tokens(torch.cat([of_word(5), everything()], dim=1), VISIBLE[:, None], IDS, most=3)
    assert told[0][0] == 5
    assert told[1] == []


def test_a_concept_that_reads_all_of_its_own_document_alike_prefers_nothing_in_it():
    own = (torch.arange(TOKENS) < 4).expand(TEXTS, 1, -1)
    weights = own / 4
    kinds = (torch.arange(TOKENS) >= 2).long().expand(TEXTS, -1)
    assert entropies(weights, own).tolist() == pytest.approx([1])
    assert lifts(weights, own, kinds, 2).tolist() == [pytest.approx([1, 1])]
    assert top_tokens(weights, own, IDS, most=3) == [[]]


def test_peaks_are_of_different_texts_and_in_order():
    weights = torch.full((3, 1, 4), 0.1)
    weights[0, 0, 2], weights[2, 0, 1] = 0.7, 0.8
    (first, second), = peaks(weights, most=2)
    assert (first.row, first.position, second.row, second.position) == (2, 1, 0, 2)
    assert first.share == pytest.approx(0.8)

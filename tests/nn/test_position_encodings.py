"""Positions: nested codes, relative rotations, other lengths."""

import pytest
import torch

from cogito_ray.nn.attention import Attention
from cogito_ray.nn.position_encodings import (
    ContextualPositions,
    LearnedPositions,
    Rotary,
    SinusoidalPositions,
    contextual_counts,
    segment_centres,
    sinusoidal_code,
)


@pytest.mark.parametrize("width", [1, 7, 16])
def test_the_code_of_a_smaller_width_is_a_prefix_of_a_larger_one(width: int):
    places = torch.linspace(0, 31, 9)
    assert torch.equal(sinusoidal_code(places, width, 20.0), sinusoidal_code(places, 64, 20.0)[:, :width])


def test_codes_resemble_each_other_less_the_further_apart_they_are():
    code = sinusoidal_code(torch.arange(64), 128, base=128 / torch.pi)
    likeness = (code @ code.T)[0]
    assert likeness.argmax() == 0
    assert (likeness[:4].diff() < 0).all()
    assert likeness[8:].max() < 0.6 * likeness[0]


def test_scores_of_turned_queries_and_keys_depend_on_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 5, 8)
    scores = [
        rotary.apply(query) @ rotary.apply(key).mT for rotary in (Rotary(torch.arange(5) + shift) for shift in (0, 7))
    ]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-5)
    assert scores[0][0, 0, 0].std() > 0.01


def test_contextual_scores_are_the_papers_before_a_query_and_their_mirror_image_behind_it():
    torch.manual_seed(0)
    positions, query, key = ContextualPositions(5, 8).double(), *torch.randn(2, 1, 2, 5, 4).double()
    torch.nn.init.normal_(positions.table)
    scores = query @ key.mT / 2
    added = positions(query, scores, 0.5, None).detach()
    gates, tables = scores[0].sigmoid(), positions.table.detach().unflatten(-1, (2, 4))
    for head, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(5)).tolist():
        count = float(gates[head, i, min(i, j) : max(i, j) + 1].sum())     # arXiv:2405.18719, equation 4
        share, whole = count % 1, int(count)
        of_whole = [float(query[0, head, i] @ tables[int(j > i), p, head]) / 2 for p in (whole, whole + 1)]
        assert float(added[0, head, i, j]) == pytest.approx((1 - share) * of_whole[0] + share * of_whole[1], rel=1e-4)


def test_where_all_gates_are_open_contextual_positions_count_distances():
    assert contextual_counts(torch.ones(3, 3)).tolist() == [[1, 2, 3], [2, 1, 2], [3, 2, 1]]


def test_contextual_positions_neither_count_nor_read_what_is_not_seen():
    torch.manual_seed(0)
    attention, positions, x = Attention(8, 8, 2), ContextualPositions(5, 8), torch.randn(1, 5, 8)
    torch.nn.init.normal_(positions.table)
    visible = torch.tensor([[True, True, False, True, True]]).expand(1, 5, 5)
    read, other = (
        attention(each, each, visible=visible, contextual=positions)[:, [0, 1, 3, 4]]
        for each in (x, torch.where(torch.arange(5)[:, None] == 2, 9.0, x))
    )
    assert torch.equal(read, other)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_a_row_twice_as_long_is_squeezed_into_the_trained_range(kind: type):
    positions = kind(8, 6, 5.0) if kind is SinusoidalPositions else kind(8, 6)
    before = positions(torch.arange(8))
    positions.resize(16)
    torch.testing.assert_close(positions(torch.arange(0, 16, 2)), before)
    assert positions(torch.arange(16)).unique(dim=0).shape[0] >= 15


def test_segments_are_equal_parts_of_a_row():
    assert segment_centres(4, 16).tolist() == [1.5, 5.5, 9.5, 13.5]     # of places 0..3, 4..7, 8..11, 12..15

"""Positions: nested codes, relative rotations, other lengths."""

import pytest
import torch

from cogito_ray.nn.position_encodings import (
    LearnedPositions,
    Rotary,
    SinusoidalPositions,
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


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_a_row_twice_as_long_is_squeezed_into_the_trained_range(kind: type):
    positions = kind(8, 6, 5.0) if kind is SinusoidalPositions else kind(8, 6)
    before = positions(torch.arange(8))
    positions.resize(16)
    torch.testing.assert_close(positions(torch.arange(0, 16, 2)), before)
    assert positions(torch.arange(16)).unique(dim=0).shape[0] >= 15


def test_segments_are_equal_parts_of_a_row():
    assert segment_centres(4, 16).tolist() == [1.5, 5.5, 9.5, 13.5]     # of places 0..3, 4..7, 8..11, 12..15

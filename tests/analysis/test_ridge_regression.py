"""Linear probes of vectors that know all, nothing, or too little to store."""

import pytest
import torch

from cogito_ray.analysis.ridge_regression import explained


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_vectors_that_hold_a_value_tell_it():
    values = draw(200)
    vectors = values[:, None] * draw(8, seed=1) + 3
    assert explained(vectors, values) > 0.99
    assert explained(1000 * vectors, values) == pytest.approx(explained(vectors, values), abs=1e-2)


def test_unrelated_vectors_tell_nothing():
    """No better than the mean, and at most as bad as a map of 16 random numbers fitted to 150 rows."""
    assert explained(draw(200, 16, seed=1), draw(200)) == pytest.approx(0, abs=16 / 150 + 0.05)


def test_what_is_lost_in_storage_is_not_told():
    values = draw(200)
    assert explained(1 + 1e-5 * values[:, None].expand(-1, 4), values) == pytest.approx(0, abs=0.05)


def test_values_that_do_not_vary_are_refused():
    with pytest.raises(ValueError, match="200 values that are all"):
        explained(draw(200, 4), torch.full((200,), 7))

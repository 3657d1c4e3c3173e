"""Weights: what is dead, how many directions there are, and that what is not finite is named."""

import pytest
import torch

from cogito_ray.analysis.weight_health import matrices, refuse_broken, weight_metrics


def test_a_matrix_of_one_direction_has_stable_rank_one_and_an_orthogonal_one_that_of_its_shorter_side():
    line = torch.outer(torch.arange(1.0, 7), torch.ones(4))
    whole = torch.nn.init.orthogonal_(torch.empty(3, 8))
    one, other = matrices({"line": line, "whole": whole, "bias": torch.ones(4)})
    assert (one.name, one.shape, other.shape) == ("line", (6, 4), (3, 8))
    assert (one.stable_rank, other.stable_rank) == (pytest.approx(1), pytest.approx(3))
    assert one.spectral_norm == pytest.approx(float(torch.linalg.matrix_norm(line, 2)))
    assert other.rms == pytest.approx(8**-0.5)


def test_units_without_weights_are_dead_and_counted_over_all_matrices():
    torch.manual_seed(0)
    weights = {"a": torch.randn(8, 5), "b": torch.randn(12, 3), "c": torch.randn(2, 2, 3)}
    weights["a"][2] = 0
    weights["b"][:3] *= 1e-5
    assert [one.dead_units for one in matrices(weights)] == [1, 3, 0]
    assert weight_metrics(matrices(weights))["weight_dead_units_share"] == pytest.approx(4 / 24)


def test_a_matrix_of_zeros_has_no_direction():
    [one] = matrices({"zeros": torch.zeros(3, 2)})
    assert (one.stable_rank, one.dead_units) == (0, 3)


def test_weights_that_are_not_finite_are_all_named_with_how_many():
    with pytest.raises(ValueError, match=r"NaN or infinite.*: a \(1 of 2\), c \(2 of 2\)"):
        refuse_broken({"a": torch.tensor([1.0, torch.nan]), "b": torch.ones(2), "c": torch.full((2,), torch.inf)})

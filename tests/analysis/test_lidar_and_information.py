"""Vectors of views and of parts whose common content is known."""

import math

import pytest
import torch
from torch import Tensor

from cogito_ray.analysis.lidar_and_information import information_nats, lidar


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("told", [1, 4, 8])
def test_lidar_counts_the_directions_in_which_texts_are_told_apart(told: int):
    """The other directions vary more, but as much within a text as between texts."""
    texts = normal(400, 1, 16) * (torch.arange(16) < told)
    views = 3 * texts + normal(400, 6, 16, seed=1) * torch.where(torch.arange(16) < told, 0.1, 5.0)
    assert lidar(views) == pytest.approx(told, rel=0.1)


def test_lidar_is_the_rank_that_eigenvalues_of_both_covariances_have_in_any_coordinates():
    views = normal(100, 1, 6) * torch.tensor([3.0, 2, 1, 1, 0.5, 0.1]) + normal(100, 4, 6, seed=1)
    means = views.double().mean(dim=1)
    between, within = torch.cov(means.T), torch.cov((views.double() - means[:, None]).flatten(0, 1).T)
    ratios = torch.linalg.eigvals(torch.linalg.solve(within, between)).real
    share = ratios / ratios.sum()
    assert lidar(views) == pytest.approx(float(torch.special.entr(share).sum().exp()), rel=0.01)
    assert lidar(views @ normal(6, 6, seed=2)) == pytest.approx(lidar(views), rel=0.02)       # to bfloat16


def test_views_that_are_all_one_have_no_rank():
    assert lidar(torch.ones(8, 3, 4)) == 0
    assert lidar(torch.zeros(8, 3, 4)) == 0


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_the_information_is_that_of_normal_vectors_whatever_is_added_that_says_nothing(noise: float):
    content, turn = normal(4000, 3), torch.linalg.qr(normal(8, 8, seed=1)).Q
    one = torch.cat([content + noise * normal(4000, 3, seed=2), normal(4000, 5, seed=3)], dim=1) @ turn
    other = torch.cat([content + noise * normal(4000, 3, seed=4), normal(4000, 5, seed=5)], dim=1)
    exact = -1.5 * math.log(1 - 1 / (1 + noise**2) ** 2)                     # of correlations of 1 / (1 + noise^2)
    assert information_nats(one, other) == pytest.approx(exact, rel=0.1)
    assert information_nats(10 * one + 3, other / 7) == pytest.approx(information_nats(one, other), rel=0.02)


def test_vectors_that_know_nothing_of_each_other_have_no_information():
    one, other = normal(200, 8), normal(200, 8, seed=1)
    assert information_nats(one, other) < 3 * 8 / (4 * 200)
    assert information_nats(torch.ones(200, 8), other) == pytest.approx(0, abs=1e-6)
    assert information_nats(one[:7], other[:7]) == 0


def test_few_texts_of_many_dimensions_do_not_drown_what_is_known_in_what_is_not():
    content = 3 * normal(128, 4)
    one, other = (torch.cat([content, normal(128, 124, seed=seed)], dim=1) for seed in (1, 2))
    unknown = information_nats(one, other.roll(1, dims=0))
    assert 0 <= unknown < 1
    assert information_nats(one, other) > unknown + 3


def test_equal_vectors_of_which_nothing_can_be_asked_have_no_information():
    assert information_nats(normal(32, 4), torch.ones(32, 4)) == 0

"""Minimum spanning trees against scipy."""

import pytest
import torch
from scipy.sparse import csgraph

from cogito_ray.losses.diversity_regularisers import MstSpec
from cogito_ray.losses.minimum_spanning_tree import minimum_spanning_tree


def spanning_edges(distances: torch.Tensor) -> torch.Tensor:
    """(B, C, C) -> (B, C - 1) lengths."""
    source, target = minimum_spanning_tree(distances)
    return distances[torch.arange(len(distances))[:, None], source, target]


@pytest.mark.parametrize(("rows", "nodes"), [(5, 2), (5, 3), (20, 17), (2, 64)])
def test_a_tree_has_the_length_that_scipy_finds(rows: int, nodes: int):
    points = torch.randn(rows, nodes, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distances = torch.cdist(points, points)
    lengths = [csgraph.minimum_spanning_tree(one.numpy()).sum() for one in distances]
    torch.testing.assert_close(spanning_edges(distances).sum(dim=1), torch.tensor(lengths, dtype=torch.float64))


def test_equal_gaps_still_make_one_tree():
    distances = torch.ones(3, 8, 8) - torch.eye(8)
    assert torch.equal(spanning_edges(distances), torch.ones(3, 7))


def test_coinciding_points_are_joined_at_no_cost():
    points = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).repeat(2, 1)[None]
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    assert (spanning_edges(distances) == 0).sum() == 4


def test_mst_of_orthogonal_concepts_is_minus_the_diagonal_of_a_square():
    concepts = 7 * torch.eye(6)[None]
    torch.testing.assert_close(MstSpec()(concepts), torch.tensor(-(2.0**0.5)))

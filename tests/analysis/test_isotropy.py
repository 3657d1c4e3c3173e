"""Sets of vectors whose spread is known."""

import math

import pytest
import torch

from cogito_ray.analysis.isotropy import (
    directions_for,
    duplicates_share,
    epps_pulley,
    first_share,
    intrinsic_dimension,
    normality_gap,
    pairwise_cosines,
    participation_ratio,
    spectrum_decay,
    uniformity,
)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def axes(*variances: float) -> torch.Tensor:
    """Rows of exactly these variances along the axes."""
    deviations = torch.tensor(variances, dtype=torch.float64).sqrt().diag()
    return torch.cat([deviations, -deviations])


def test_each_pair_of_concepts_has_one_cosine():
    concepts = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]]])
    torch.testing.assert_close(pairwise_cosines(concepts), torch.tensor([[1.0, 0, 0], [-1, 0, 0]]).double())


def test_concepts_that_point_the_same_way_are_twins():
    concepts = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]])
    assert duplicates_share(concepts) == 0.5
    assert duplicates_share(concepts, above=1.0) == 0.0
    assert duplicates_share(normal(4, 8, 64)) == 0.0


def test_uniformity_of_two_opposite_vectors_by_hand():
    assert uniformity(torch.tensor([[3.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8.0)   # distance 2, t = 2
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0.0)


def test_uniformity_of_many_directions_nears_minus_twice_the_temperature():
    """|x - y|^2 is about 2 in D dimensions; its spread of 2/sqrt(D) adds t^2 * 4/D / 2 = 0.008 for D = 1024."""
    assert uniformity(normal(300, 1024)) == pytest.approx(-4 + 8 / 1024, abs=0.005)


@pytest.mark.parametrize(
    ("variances", "ratio", "needed", "share"),
    [
        ([1, 1, 1, 1], 4, 4, 1 / 4),
        ([1, 0, 0, 0], 1, 1, 1),
        ([4, 1], 25 / 17, 2, 2 / 3),
        ([96, 3, 1], 100**2 / (96**2 + 9 + 1), 1, 96**0.5 / (96**0.5 + 3**0.5 + 1)),
        ([94, 3, 3], 100**2 / (94**2 + 18), 2, 94**0.5 / (94**0.5 + 2 * 3**0.5)),
    ],
)
def test_directions_are_counted_by_their_variances(variances, ratio: float, needed: int, share: float):
    rows = axes(*variances)
    assert participation_ratio(rows) == pytest.approx(ratio)
    assert directions_for(0.95, rows) == needed
    assert first_share(rows) == pytest.approx(share)
    assert participation_ratio(rows + 100) == pytest.approx(ratio)              # centred
    assert first_share(rows + 100) > 0.5                                        # not centred


def test_rows_that_do_not_vary_use_no_direction():
    rows = torch.full((20, 4), 0.1)
    assert participation_ratio(rows) == 0
    assert directions_for(0.95, rows) == 0
    assert first_share(torch.zeros(3, 4)) == 0


@pytest.mark.parametrize(("dimension", "rim"), [(1, 0.1), (2, 0.1), (5, 0.15)])
def test_the_intrinsic_dimension_is_that_of_the_cube_rows_are_drawn_from(dimension: int, rim: float):
    """To three deviations of the draw (3 % of 2000 rows), and what the rim takes away: more in high dimensions."""
    cube = torch.rand(2000, dimension, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = cube @ normal(dimension, 32)
    assert intrinsic_dimension(turned) == pytest.approx(dimension, rel=rim)


def test_the_intrinsic_dimension_of_a_bent_line_is_one_though_it_fills_three_directions():
    angle = torch.rand(1000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 6
    helix = torch.stack([angle.cos(), angle.sin(), angle / 3], dim=1)
    assert intrinsic_dimension(helix) == pytest.approx(1, rel=0.08)
    assert directions_for(0.95, helix) == 3


def test_equal_rows_count_once_in_the_intrinsic_dimension():
    cube = torch.rand(1500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert intrinsic_dimension(torch.cat([cube, cube[:300]])) == pytest.approx(intrinsic_dimension(cube))
    with pytest.raises(ValueError, match="1 of 30 rows are distinct"):
        intrinsic_dimension(torch.ones(30, 4))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 7.0])
def test_the_intrinsic_dimension_of_rows_all_equally_far_apart_is_what_they_span(scale: float):
    assert intrinsic_dimension(scale * torch.eye(12)) == 11
    assert intrinsic_dimension(scale * torch.eye(12, 40)) == 11


def test_no_rows_have_more_dimensions_than_they_could_span():
    almost = torch.eye(12) + 1e-6 * normal(12, 12)
    assert 1 < intrinsic_dimension(almost) <= 11


def test_the_mean_of_cosines_of_random_concepts_is_near_zero():
    assert float(pairwise_cosines(normal(4, 16, 256)).mean()) == pytest.approx(0, abs=3 / math.sqrt(480 * 256))


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0])
def test_the_decay_of_a_spectrum_is_the_power_by_which_variances_fall(slope: float):
    assert spectrum_decay(axes(*(place**-slope for place in range(1, 9)))) == pytest.approx(slope, abs=1e-6)


def test_rows_that_do_not_vary_have_no_decay():
    assert spectrum_decay(torch.ones(5, 3)) == 0


def test_normal_rows_have_the_smallest_gap_to_a_normal_distribution_at_any_scale():
    rows = normal(2000, 16)
    assert normality_gap(rows) < 0.003
    assert normality_gap(7 * rows + 3) == pytest.approx(normality_gap(rows))
    one_sided = rows * torch.tensor([4.0] + [0.1] * 15, dtype=torch.float64)
    assert normality_gap(one_sided) > 0.03
    assert normality_gap(rows.sign() * rows.abs().amax(dim=1, keepdim=True).exp()) > 10 * normality_gap(rows)


def test_equal_rows_have_a_gap_and_no_nan():
    assert 0.1 < normality_gap(torch.ones(5, 3)) < 2


def test_along_one_direction_the_distance_to_a_normal_distribution_is_that_of_its_integral():
    """In closed form: products of cosines and a bell are bells. To what 17 points miss of it."""
    rows = normal(50, 1) * 1.5 + 0.3
    pairs = (-(rows - rows.T).square() / 2).exp().mean() * math.sqrt(2 * math.pi)
    crossed = 2 * math.sqrt(math.pi) * (-rows.square() / 4).exp().mean()
    exact = float(pairs - crossed) + math.sqrt(2 * math.pi / 3)
    assert float(epps_pulley(rows, torch.tensor([[-2.0]], dtype=rows.dtype))) == pytest.approx(exact, abs=2e-4)

"""What every pressure against collapse promises."""

import math
from typing import get_args

import pytest
import torch

from cogito_ray.analysis.effective_rank import effective_ranks
from cogito_ray.losses.regularisers import OrthogonalitySpec, RegulariserSpec, SoftOrthogonalitySpec, UniformitySpec

KINDS = [kind() for kind in get_args(get_args(RegulariserSpec)[0])]
every_kind = pytest.mark.parametrize("regulariser", KINDS, ids=lambda spec: spec.kind)


def nearly_collapsed(directions: int = 8) -> torch.Tensor:
    """Concepts of a text point almost the same way, another one per text (8) or the same for all (1)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(directions, 1, 16, generator=generator) + 0.05 * torch.randn(8, 6, 16, generator=generator)


@every_kind
def test_descending_it_raises_the_rank(regulariser: RegulariserSpec):
    """Variance cannot tell texts that each collapsed their own way, nor covariance texts that all became one."""
    directions = 1 if regulariser.kind == "variance" else 8
    concepts = nearly_collapsed(directions).requires_grad_()
    optimizer = torch.optim.Adam([concepts], lr=0.05)
    before = effective_ranks(concepts).mean()
    for _ in range(60):
        optimizer.zero_grad()
        regulariser(concepts).backward()
        optimizer.step()
    assert effective_ranks(concepts).mean() > 1.3 * before


@every_kind
def test_it_does_not_depend_on_the_order_of_concepts_or_texts(regulariser: RegulariserSpec):
    concepts = nearly_collapsed()
    torch.testing.assert_close(regulariser(concepts.flip(1)), regulariser(concepts))
    torch.testing.assert_close(regulariser(concepts.flip(0)), regulariser(concepts))


@every_kind
def test_it_never_goes_below_its_floor(regulariser: RegulariserSpec):
    spread = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q[None]
    opposite = torch.stack([torch.eye(16)[0], -torch.eye(16)[0]])[None]
    values = [float(regulariser(concepts)) for concepts in (nearly_collapsed(), 100 * spread, opposite)]
    assert min(values) >= regulariser.floor


@every_kind
def test_equal_concepts_have_a_finite_gradient(regulariser: RegulariserSpec):
    concepts = torch.ones(4, 6, 16, requires_grad=True)
    regulariser(concepts).backward()
    assert torch.isfinite(concepts.grad).all()


@every_kind
@pytest.mark.parametrize("apart", [1e-2, 1e-3, 3e-4, 1e-4])
def test_near_collapse_the_gradient_of_float32_points_where_that_of_float64_does(
    regulariser: RegulariserSpec, apart: float
):
    generator = torch.Generator().manual_seed(0)
    concepts = torch.randn(8, 1, 64, generator=generator) + apart * torch.randn(8, 12, 64, generator=generator)

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        given = concepts.detach().to(dtype, copy=True).requires_grad_()
        regulariser(given).backward()
        return given.grad.double().flatten()

    assert torch.cosine_similarity(gradient(torch.float32), gradient(torch.float64), dim=0) > 0.99


def test_orthogonal_concepts_cost_nothing():
    concepts = 3 * torch.eye(8)[None]
    assert OrthogonalitySpec()(concepts) == 0
    assert SoftOrthogonalitySpec()(concepts) == 0


def test_uniformity_of_two_opposite_concepts_is_the_kernel_of_their_distance():
    concepts = torch.tensor([[[2.0, 0.0], [-5.0, 0.0]]])
    assert UniformitySpec(sharpness=0.5)(concepts).item() == pytest.approx(math.exp(-0.5 * 4))

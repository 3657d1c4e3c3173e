"""Every pressure against collapse keeps what all promise."""

import math

import pytest
import torch

from cogito_ray.losses.diversity_regularisers import (
    OrthogonalitySpec,
    RegulariserSpec,
    SoftOrthogonalitySpec,
    UniformitySpec,
)
from cogito_ray.testing import RegulariserSuite
from cogito_ray.testing.regulariser_suite import nearly_collapsed
from cogito_ray.testing.tiny_runs import kinds


@pytest.mark.parametrize("regulariser", [kind() for kind in kinds(RegulariserSpec)], ids=lambda spec: spec.kind)
class TestRegularisers(RegulariserSuite):
    def collapsed(self, regulariser):
        """Variance cannot tell texts that each collapsed their own way, nor covariance texts that all became one."""
        return nearly_collapsed(directions=1 if regulariser.kind == "variance" else 8)


def test_orthogonal_concepts_cost_nothing():
    concepts = 3 * torch.eye(8)[None]
    assert OrthogonalitySpec()(concepts) == 0
    assert SoftOrthogonalitySpec()(concepts) == 0


def test_uniformity_of_two_opposite_concepts_is_the_kernel_of_their_distance():
    concepts = torch.tensor([[[2.0, 0.0], [-5.0, 0.0]]])
    assert UniformitySpec(sharpness=0.5)(concepts).item() == pytest.approx(math.exp(-0.5 * 4))

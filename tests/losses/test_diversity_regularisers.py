"""Every pressure against collapse keeps what all promise."""

import math

import pytest
import torch

from cogito_ray.losses.diversity_regularisers import (
    OrthogonalitySpec,
    RegulariserSpec,
    SigregSpec,
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


def test_sigreg_is_least_for_normal_vectors_and_tells_scale_shift_and_shape():
    concepts = torch.randn(64, 32, 16, generator=torch.Generator().manual_seed(0))
    least = SigregSpec()(concepts)
    assert least < 2e-3                                                 # of n normal vectors, about 1.3 / n
    for other in (3 * concepts, concepts + 1, concepts.sign()[..., :1].expand_as(concepts)):
        assert SigregSpec()(other) > 20 * least


def test_pooled_sigreg_asks_the_mean_concepts_of_texts_alone():
    means = torch.randn(256, 1, 16, generator=torch.Generator().manual_seed(0))
    apart = 5 * torch.randn(256, 4, 16, generator=torch.Generator().manual_seed(1))
    concepts = means + apart - apart.mean(dim=1, keepdim=True)
    torch.testing.assert_close(SigregSpec(vectors="pooled")(concepts), SigregSpec()(means))
    assert SigregSpec()(concepts) > 5 * SigregSpec(vectors="pooled")(concepts)


def test_directions_of_sigreg_are_those_of_the_seed_that_a_pass_begins_with():
    concepts, values = nearly_collapsed(), []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        values.append(SigregSpec()(concepts))
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(seed)))    # none drawn
    assert values[0] == values[2] != values[1]

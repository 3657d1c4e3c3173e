"""Every objective keeps what all promise of their views."""

import pytest
import torch

from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.testing import ObjectiveSuite
from cogito_ray.testing.objective_suite import PLAIN, rows
from cogito_ray.testing.tiny_runs import kinds

KINDS = [kind() for kind in kinds(ObjectiveSpec)]
DENSE = [kind.model_copy(update={"target_rate": 1.0}) for kind in KINDS if "target_rate" in type(kind).model_fields]


@pytest.mark.parametrize("objective", KINDS + DENSE, ids=lambda spec: spec.kind)
class TestObjectives(ObjectiveSuite):
    def least_tokens(self, objective):
        return 2 if objective.kind == "prefix" else 1       # a prefix of one token leaves no rest

    def steady(self, objective):
        lengths = {"shortest": 0.4, "longest": 0.4} if objective.kind == "prefix" else {}
        return objective.model_copy(update=lengths)


def test_only_what_needs_collocations_asks_for_them():
    for kind in KINDS:
        if "collocations" not in kind.needs:
            kind.corrupt(rows(), PLAIN, torch.Generator())

"""Every early-stopping policy does what all must; without a cluster."""

import math

import pytest
from pydantic import TypeAdapter

from cogito_ray.spec_registry import name_of
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.testing import StoppingSuite
from cogito_ray.testing.stopping_suite import metrics
from cogito_ray.testing.tiny_runs import kinds

PARSE = TypeAdapter(StoppingSpec).validate_python
FIRST = StoppingSuite.first
ONE = (GoalSpec(metric="nats", mode="min"),)
TWO = (*ONE, GoalSpec(metric="rank", mode="max"))
KINDS = [
    ({"kind": "asha", "first_rung": FIRST, "mode": "stop"}, ONE, "asha"),
    ({"kind": "median", "first_step": FIRST, "least": 2}, ONE, "median"),
    ({"kind": "pareto_asha", "first_rung": FIRST, "mode": "stop"}, ONE, "pareto_asha with one goal"),
    ({"kind": "pareto_asha", "first_rung": FIRST, "mode": "stop"}, TWO, "pareto_asha"),
    ({"kind": "hyperband", "first_rung": FIRST, "mode": "stop"}, ONE, "hyperband"),
    ({"kind": "hyperband", "first_rung": FIRST}, ONE, "hyperband, pausing"),
    ({"kind": "asha", "first_rung": FIRST}, ONE, "asha, pausing"),
    ({"kind": "pareto_asha", "first_rung": FIRST}, TWO, "pareto_asha, pausing"),
    ({"kind": "population", "every": FIRST}, ONE, "population"),
    ({"kind": "population", "every": FIRST}, TWO, "population with two goals"),
]


@pytest.mark.parametrize(
    ("stopping", "goals"), [pytest.param(PARSE(written), goals, id=name) for written, goals, name in KINDS]
)
class TestPolicies(StoppingSuite):
    def spares_all(self, stopping):
        return stopping.kind == "population"    # where nobody may be copied, nobody is stopped


def test_without_stopping_every_trial_goes_on():
    suite = StoppingSuite()
    rule = suite.policy(PARSE({"kind": "none"}), TWO)
    assert all(rule.report(*told).keep for told in [*suite.reports(), ("t", suite.steps, metrics(math.nan))])


def test_every_kind_is_tried():
    tried = {written["kind"] for written, _, _ in KINDS} | {"none"}
    assert tried == {name_of(kind) for kind in kinds(StoppingSpec)}

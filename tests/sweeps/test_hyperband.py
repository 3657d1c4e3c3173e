"""HyperBand: how trials are shared among brackets; what every policy must do is in test_stopping."""

import pytest

from cogito_ray.sweeps.early_stopping.hyperband import HyperbandSpec
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


SIZES = [81, 34, 15, 8, 5]
"""R = 81 and eta = 3 with every rung from 1 (Table 1 of arXiv:1603.06560)."""


def shared(trials):
    """How many of so many trials each bracket gets, and the policy."""
    policy = HyperbandSpec(first_rung=1).policy(81, AIM)
    for n in range(trials):
        policy.report(f"t{n}", 1, {"nats": 1.0})
    members = list(policy._of.values())
    return [members.count(bracket) for bracket in policy._brackets], policy


def test_as_many_trials_as_the_paper_has_fill_its_brackets():
    found, policy = shared(sum(SIZES))
    assert [len(bracket.rungs) for bracket in policy._brackets] == [4, 3, 2, 1, 0]
    assert found == SIZES


@pytest.mark.parametrize("trials", [5, 12, 30, 81, 100, 400])
def test_however_many_trials_there_are_each_bracket_has_its_share_of_them(trials):
    found, _ = shared(trials)
    assert sum(found) == trials
    assert all(abs(have - trials * size / sum(SIZES)) < 1 for have, size in zip(found, SIZES, strict=True))


def test_twelve_trials_in_three_brackets_leave_none_of_them_empty():
    policy = HyperbandSpec(first_rung=50).policy(400, AIM)
    for n in range(12):
        policy.report(f"t{n}", 50, {"nats": 1.0})
    assert [list(policy._of.values()).count(bracket) for bracket in policy._brackets] == [6, 4, 2]


def test_a_trial_is_compared_within_its_bracket_alone():
    policy = HyperbandSpec(first_rung=10, mode="stop").policy(90, AIM)
    assert policy.report("early", 10, {"nats": 0.1}).keep
    assert policy.report("late", 10, {"nats": 9.0}).keep  # no rung of its bracket
    assert policy.report("late", 30, {"nats": 9.0}).keep  # the first of its bracket there
    assert not policy.report("worse", 10, {"nats": 0.2}).keep
    assert policy._of["worse"] is policy._of["early"]
    assert policy._of["late"] is not policy._of["early"]

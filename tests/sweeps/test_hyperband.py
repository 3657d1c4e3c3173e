"""HyperBand: how trials are shared among brackets; what every policy must do is in test_stopping."""

from cogito_ray.sweeps.goals import Aim, GoalSpec
from cogito_ray.sweeps.hyperband import HyperbandSpec

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


def test_brackets_are_filled_in_turn_in_the_sizes_of_the_paper():
    """R = 81 and eta = 3 with every rung from 1: 81, 34, 15, 8 and 5 trials (Table 1 of arXiv:1603.06560)."""
    policy = HyperbandSpec(first_rung=1).policy(81, AIM)
    assert [len(bracket.rungs) for bracket in policy._brackets] == [4, 3, 2, 1, 0]
    for n in range(143):
        policy.report(f"t{n}", 1, {"nats": 1.0})
    members = list(policy._of.values())
    assert [members.count(bracket) for bracket in policy._brackets] == [81, 34, 15, 8, 5]
    assert members[:81] == [policy._brackets[0]] * 81


def test_a_trial_is_compared_within_its_bracket_alone():
    policy = HyperbandSpec(first_rung=10).policy(90, AIM)
    for n in range(9):
        policy.report(f"early{n}", 10, {"nats": 0.1})
    assert policy.report("late", 10, {"nats": 9.0}).keep
    assert policy.report("late", 30, {"nats": 9.0}).keep  # the first of its bracket there
    assert not policy.report("later", 30, {"nats": 9.5}).keep

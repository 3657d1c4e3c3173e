"""What every early-stopping policy must do, whatever its rule; without a cluster."""

import math
import random

import pytest
from pydantic import TypeAdapter

from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.goals import Aim, GoalSpec

PARSE = TypeAdapter(StoppingSpec).validate_python
STEPS = 90
FIRST = 10
ONE = (GoalSpec(metric="nats", mode="min"),)
TWO = (*ONE, GoalSpec(metric="rank", mode="max"))
KINDS = [
    pytest.param({"kind": "asha", "first_rung": FIRST, "mode": "stop"}, ONE, id="asha"),
    pytest.param({"kind": "median", "first_step": FIRST, "least": 2}, ONE, id="median"),
    pytest.param({"kind": "pareto_asha", "first_rung": FIRST, "mode": "stop"}, ONE, id="pareto_asha with one goal"),
    pytest.param({"kind": "pareto_asha", "first_rung": FIRST, "mode": "stop"}, TWO, id="pareto_asha"),
    pytest.param({"kind": "hyperband", "first_rung": FIRST, "mode": "stop"}, ONE, id="hyperband"),
    pytest.param({"kind": "hyperband", "first_rung": FIRST}, ONE, id="hyperband, pausing"),
    pytest.param({"kind": "asha", "first_rung": FIRST}, ONE, id="asha, pausing"),
    pytest.param({"kind": "pareto_asha", "first_rung": FIRST}, TWO, id="pareto_asha, pausing"),
    pytest.param({"kind": "population", "every": FIRST}, ONE, id="population"),
    pytest.param({"kind": "population", "every": FIRST}, TWO, id="population with two goals"),
]
POLICIES = pytest.mark.parametrize(("written", "goals"), KINDS)


def policy(written, goals, **constraints):
    return PARSE(written).policy(STEPS, Aim.of(goals, constraints))


def metrics(value):
    """The smaller `value`, the better in every goal."""
    return {"nats": value, "rank": -value}


def reports(count=300, seed=0):
    draw = random.Random(seed)
    return [(f"t{draw.randrange(20)}", 10 * draw.randrange(1, 10), metrics(draw.random())) for _ in range(count)]


@POLICIES
def test_the_same_reports_in_the_same_order_get_the_same_verdicts(written, goals):
    first, second = (policy(written, goals) for _ in range(2))
    verdicts = [first.report(*told) for told in reports()]
    assert [second.report(*told) for told in reports()] == verdicts
    assert {verdict.keep for verdict in verdicts} == {True, False}
    assert second.copies == first.copies


@POLICIES
def test_a_policy_that_is_told_the_past_again_goes_on_as_if_never_interrupted(written, goals):
    straight, resumed = (policy(written, goals) for _ in range(2))
    told = reports()
    expected = [straight.report(*one) for one in told]
    for one in [*told[:100], *told[60:100]]:  # after a crash a trial repeats what it did since its checkpoint
        resumed.report(*one)
    assert [resumed.report(*one) for one in told[100:]] == expected[100:]
    assert resumed.copies == straight.copies


@POLICIES
def test_before_its_first_step_it_stops_nobody(written, goals):
    rule = policy(written, goals)
    assert all(rule.report(f"t{n}", FIRST - 1, metrics(value)).keep for n, value in enumerate([1.0, 9.0, math.nan]))


@POLICIES
def test_what_was_better_than_all_others_at_every_step_is_never_stopped(written, goals):
    rule = policy(written, goals)
    draw = random.Random(1)
    for step in range(10, STEPS, 10):
        for n in range(12):
            rule.report(f"t{n}", step, metrics(1 + draw.random()))
        assert rule.report("best", step, metrics(0.5)).keep


@POLICIES
def test_what_was_worse_than_all_others_is_stopped_where_they_were_compared(written, goals):
    rule = policy(written, goals)
    for n in range(6):
        rule.report(f"t{n}", FIRST, metrics(n / 10))
    verdict = rule.report("worst", FIRST, metrics(9.0))
    assert (verdict.keep, verdict.rung) == (False, FIRST)
    assert verdict.cause.startswith("nats 9")
    assert rule.report("best", FIRST, metrics(-1.0)).cause == ""


@POLICIES
def test_what_is_not_finite_is_stopped_and_keeps_nobody_from_passing(written, goals):
    rule = policy(written, goals)
    assert not any(rule.report(f"t{n}", FIRST, metrics(math.nan)).keep for n in range(4))
    assert not rule.report("lost", FIRST, {}).keep
    assert rule.report("sound", FIRST, metrics(7.0)).keep


@POLICIES
def test_what_breaks_a_constraint_comes_after_all_that_keep_it(written, goals):
    rule = policy(written, goals, similarity=">= 0.5")
    for n in range(6):
        rule.report(f"t{n}", FIRST, metrics(5.0 - n) | {"similarity": 0.6})
    verdict = rule.report("meaningless", FIRST, metrics(-9.0) | {"similarity": 0.4})
    assert not verdict.keep
    assert "similarity 0.4, not >= 0.5" in verdict.cause


@POLICIES
def test_while_nobody_keeps_a_constraint_who_is_far_better_in_the_goals_goes_on_and_who_breaks_it_least_does(
    written, goals
):
    """Early, hardly a trial keeps a constraint yet: 4 nats with 0.54 must not lose to 7 nats with 0.57."""
    rule = policy(written, goals, auc=">= 0.6")
    for n, (value, auc) in enumerate([(7.0, 0.55), (6.9, 0.56), (7.1, 0.57), (6.8, 0.53), (7.2, 0.52), (7.3, 0.51)]):
        rule.report(f"t{n}", FIRST, metrics(value) | {"auc": auc})
    assert rule.report("better", FIRST, metrics(4.0) | {"auc": 0.54}).keep
    assert rule.report("least broken", FIRST, metrics(7.0) | {"auc": 0.595}).keep
    worse = rule.report("worse in both", FIRST, metrics(7.5) | {"auc": 0.505})
    assert worse.keep == (written["kind"] == "population")  # there, nobody is stopped while nobody may be copied


@POLICIES
def test_a_trial_is_judged_once_at_each_place(written, goals):
    rule = policy(written, goals)
    for n in range(6):
        rule.report(f"t{n}", FIRST, metrics(n / 10))
    stopped = rule.report("bad", FIRST, metrics(2.0))
    assert not stopped.keep
    assert rule.report("bad", FIRST, metrics(-5.0)) == stopped


@POLICIES
def test_only_who_waits_is_ever_promoted_and_only_once(written, goals):
    rule = policy(written, goals)
    told = [(f"t{n}", rule.report(f"t{n}", FIRST, metrics(n / 10))) for n in range(9)]
    waiting = {name for name, verdict in told if verdict.waits}
    promoted = [name for _ in range(9) if (name := rule.promoted(idle=True))]
    assert set(promoted) <= waiting
    assert len(set(promoted)) == len(promoted)


def test_without_stopping_every_trial_goes_on():
    rule = policy({"kind": "none"}, TWO)
    assert all(rule.report(*told).keep for told in [*reports(), ("t", STEPS, metrics(math.nan))])

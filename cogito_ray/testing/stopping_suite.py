"""What every early-stopping policy must do, whatever its rule; without a cluster.

The argument `stopping` is its Spec, whose first comparison is at step `first`; `goals` are those it is to compare by:
nats, the fewer the better, and if there are two, rank, the more the better.
"""

import math
import random
from typing import TypeAlias

from cogito_ray.sweeps.early_stopping.policy import Policy
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec

Goals: TypeAlias = tuple[GoalSpec, ...]


def metrics(value: float) -> dict[str, float]:
    """The smaller `value`, the better in every goal."""
    return {"nats": value, "rank": -value}


class StoppingSuite:
    """What every early-stopping policy promises: inherit it, and parametrize the class over `stopping`."""

    first = 10
    """Step at which trials are first compared."""
    steps = 90
    """Of every trial."""

    def policy(self, stopping: StoppingSpec, goals: Goals, **constraints: str) -> Policy:
        """A fresh one, under constraints such as auc=">= 0.6"."""
        return stopping.policy(self.steps, Aim.of(goals, constraints))

    def reports(self, count: int = 300, seed: int = 0) -> list[tuple[str, int, dict[str, float]]]:
        """Of 20 trials in random order: (trial, step, metrics)."""
        draw = random.Random(seed)
        return [(f"t{draw.randrange(20)}", 10 * draw.randrange(1, 10), metrics(draw.random())) for _ in range(count)]

    def spares_all(self, stopping: StoppingSpec) -> bool:
        """Does nobody stop while nobody keeps the constraints?"""
        return False

    def test_the_same_reports_in_the_same_order_get_the_same_verdicts(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        first, second = (self.policy(stopping, goals) for _ in range(2))
        verdicts = [first.report(*told) for told in self.reports()]
        assert [second.report(*told) for told in self.reports()] == verdicts
        assert {verdict.keep for verdict in verdicts} == {True, False}
        assert second.copies == first.copies

    def test_a_policy_that_is_told_the_past_again_goes_on_as_if_never_interrupted(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        straight, resumed = (self.policy(stopping, goals) for _ in range(2))
        told = self.reports()
        expected = [straight.report(*one) for one in told]
        for one in [*told[:100], *told[60:100]]:  # after a crash a trial repeats what it did since its checkpoint
            resumed.report(*one)
        assert [resumed.report(*one) for one in told[100:]] == expected[100:]
        assert resumed.copies == straight.copies

    def test_before_its_first_step_it_stops_nobody(self, stopping: StoppingSpec, goals: Goals) -> None:
        rule = self.policy(stopping, goals)
        for n, value in enumerate([1.0, 9.0, math.nan]):
            assert rule.report(f"t{n}", self.first - 1, metrics(value)).keep

    def test_what_was_better_than_all_others_at_every_step_is_never_stopped(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        rule = self.policy(stopping, goals)
        draw = random.Random(1)
        for step in range(10, self.steps, 10):
            for n in range(12):
                rule.report(f"t{n}", step, metrics(1 + draw.random()))
            assert rule.report("best", step, metrics(0.5)).keep

    def test_what_was_worse_than_all_others_is_stopped_where_they_were_compared(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        rule = self.policy(stopping, goals)
        for n in range(6):
            rule.report(f"t{n}", self.first, metrics(n / 10))
        verdict = rule.report("worst", self.first, metrics(9.0))
        assert (verdict.keep, verdict.rung) == (False, self.first)
        assert verdict.cause.startswith("nats 9")
        assert not rule.report("best", self.first, metrics(-1.0)).cause

    def test_what_is_not_finite_is_stopped_and_keeps_nobody_from_passing(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        rule = self.policy(stopping, goals)
        assert not any(rule.report(f"t{n}", self.first, metrics(math.nan)).keep for n in range(4))
        assert not rule.report("lost", self.first, {}).keep
        assert rule.report("sound", self.first, metrics(7.0)).keep

    def test_what_breaks_a_constraint_comes_after_all_that_keep_it(self, stopping: StoppingSpec, goals: Goals) -> None:
        rule = self.policy(stopping, goals, similarity=">= 0.5")
        for n in range(6):
            rule.report(f"t{n}", self.first, metrics(5.0 - n) | {"similarity": 0.6})
        verdict = rule.report("meaningless", self.first, metrics(-9.0) | {"similarity": 0.4})
        assert not verdict.keep
        assert "similarity 0.4, not >= 0.5" in verdict.cause

    def test_while_nobody_keeps_a_constraint_who_is_far_better_in_the_goals_goes_on_and_who_breaks_it_least_does(
        self, stopping: StoppingSpec, goals: Goals
    ) -> None:
        """Early, hardly a trial keeps a constraint yet: 4 nats with 0.54 must not lose to 7 nats with 0.57."""
        rule = self.policy(stopping, goals, auc=">= 0.6")
        others = [(7.0, 0.55), (6.9, 0.56), (7.1, 0.57), (6.8, 0.53), (7.2, 0.52), (7.3, 0.51)]
        for n, (value, auc) in enumerate(others):
            rule.report(f"t{n}", self.first, metrics(value) | {"auc": auc})
        assert rule.report("better", self.first, metrics(4.0) | {"auc": 0.54}).keep
        assert rule.report("least broken", self.first, metrics(7.0) | {"auc": 0.595}).keep
        worse = rule.report("worse in both", self.first, metrics(7.5) | {"auc": 0.505})
        assert worse.keep == self.spares_all(stopping)

    def test_a_trial_is_judged_once_at_each_place(self, stopping: StoppingSpec, goals: Goals) -> None:
        rule = self.policy(stopping, goals)
        for n in range(6):
            rule.report(f"t{n}", self.first, metrics(n / 10))
        stopped = rule.report("bad", self.first, metrics(2.0))
        assert not stopped.keep
        assert rule.report("bad", self.first, metrics(-5.0)) == stopped

    def test_only_who_waits_is_ever_promoted_and_only_once(self, stopping: StoppingSpec, goals: Goals) -> None:
        rule = self.policy(stopping, goals)
        told = [(f"t{n}", rule.report(f"t{n}", self.first, metrics(n / 10))) for n in range(9)]
        waiting = {name for name, verdict in told if verdict.waits}
        assert waiting == set(rule.waiting)
        promoted = list[str]()
        for _ in range(9):
            if name := rule.promoted(rule.waiting, idle=True):
                assert rule.promoted(rule.waiting, idle=True) == name
                rule.resumed(name)
                promoted.append(name)
        assert set(promoted) <= waiting
        assert len(set(promoted)) == len(promoted)

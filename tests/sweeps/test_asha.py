"""Asynchronous successive halving, without a cluster."""

import math
import random

import pytest

from cogito_ray.sweeps.asha import AshaSpec, NoStoppingSpec, decide


def test_rungs_are_first_rung_times_powers_of_eta_below_the_last_step():
    spec = AshaSpec(first_rung=50, eta=3)
    assert spec.rungs(300) == (50, 150)
    assert spec.rungs(450) == (50, 150)
    assert spec.rungs(451) == (50, 150, 450)
    assert spec.rungs(50) == ()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_trial_passes_when_among_the_best_of_those_recorded_so_far(mode):
    sign = 1 if mode == "min" else -1
    recorded = [sign * value for value in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert decide(recorded, sign * 1.5, eta=3, mode=mode)
    assert not decide(recorded, sign * 2.5, eta=3, mode=mode)


def test_the_first_at_a_rung_passes_and_the_second_only_if_it_is_better():
    assert decide([], 9.0, eta=3, mode="min")
    assert decide([9.0], 8.0, eta=3, mode="min")
    assert not decide([9.0], 10.0, eta=3, mode="min")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_never_passes_and_never_keeps_another_from_passing(mode):
    assert not decide([], math.nan, eta=3, mode=mode)
    assert decide([math.nan, math.nan], 7.0, eta=3, mode=mode)


def test_replaying_the_same_reports_gives_the_same_verdicts():
    generator = random.Random(0)
    draw = generator.randrange
    reports = [(f"t{draw(20)}", (50, 150, 450)[draw(3)], generator.random()) for _ in range(200)]
    first, second = (AshaSpec(first_rung=50).policy(1000, "min") for _ in range(2))
    assert [first.report(*report) for report in reports] == [second.report(*report) for report in reports]


def test_a_rung_decides_once_for_each_trial():
    policy = AshaSpec(first_rung=50).policy(300, "min")
    policy.report("good", 50, 1.0)
    stopped = policy.report("bad", 50, 2.0)
    assert policy.report("bad", 50, 0.5) == stopped
    assert not stopped.keep
    assert stopped.rung == 50


def test_a_late_report_counts_for_the_highest_rung_it_reached():
    policy = AshaSpec(first_rung=50).policy(300, "min")
    assert policy.report("late", 160, 1.0).rung == 150
    assert policy.report("other", 60, 9.0).keep


def test_before_the_first_rung_and_without_stopping_every_trial_goes_on():
    assert AshaSpec(first_rung=50).policy(300, "min").report("t", 49, math.nan).keep
    assert NoStoppingSpec().policy(300, "min").report("t", 300, math.nan).keep


def test_about_one_in_eta_of_identically_distributed_trials_passes():
    generator = random.Random(1)
    policy = AshaSpec(first_rung=1, eta=4).policy(4, "max")
    passed = sum(policy.report(f"t{n}", 1, generator.random()).keep for n in range(800))
    assert abs(passed / 800 - 1 / 4) < 0.06  # four standard errors of a proportion

"""Asynchronous successive halving, with one goal and with several; what every policy must do is in test_stopping."""

import random

import pytest

from cogito_ray.sweeps.asha import AshaSpec, ParetoAshaSpec, decide
from cogito_ray.sweeps.goals import Aim, GoalSpec, Merit

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


def merit(*costs, excess=0.0):
    return Merit(costs, excess)


def told(value):
    return {"nats": value}


def test_rungs_are_first_rung_times_powers_of_eta_below_the_last_step():
    spec = AshaSpec(first_rung=50, eta=3)
    assert spec.rungs(300) == (50, 150)
    assert spec.rungs(450) == (50, 150)
    assert spec.rungs(451) == (50, 150, 450)
    assert spec.rungs(50) == ()


def test_a_trial_passes_when_among_the_best_of_those_recorded_so_far():
    recorded = [merit(value) for value in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert decide(recorded, merit(1.5), eta=3)
    assert not decide(recorded, merit(2.5), eta=3)


def test_the_first_at_a_rung_passes_and_the_second_only_if_it_is_no_worse():
    assert decide([], merit(9.0), eta=3)
    assert decide([merit(9.0)], merit(8.0), eta=3)
    assert decide([merit(9.0)], merit(9.0), eta=3)
    assert not decide([merit(9.0)], merit(10.0), eta=3)


def test_with_one_goal_both_kinds_decide_alike():
    draw = random.Random(0)
    reports = [(f"t{draw.randrange(40)}", draw.choice((50, 150, 450)), told(draw.random())) for _ in range(400)]
    one, many = (kind(first_rung=50).policy(1000, AIM) for kind in (AshaSpec, ParetoAshaSpec))
    assert [one.report(*report) for report in reports] == [many.report(*report) for report in reports]


def test_a_late_report_counts_for_the_highest_rung_it_reached():
    policy = AshaSpec(first_rung=50).policy(300, AIM)
    assert policy.report("late", 160, told(1.0)).rung == 150
    assert policy.report("other", 60, told(9.0)).keep


def test_about_one_in_eta_of_identically_distributed_trials_passes():
    draw = random.Random(1)
    policy = AshaSpec(first_rung=1, eta=4).policy(4, AIM)
    passed = sum(policy.report(f"t{n}", 1, told(draw.random())).keep for n in range(800))
    assert abs(passed / 800 - 1 / 4) < 0.06  # four standard errors of a proportion


def test_the_best_of_each_goal_passes_however_few_have_come():
    assert decide([merit(1.0, 9.0)], merit(9.0, 1.0), eta=3)
    assert decide([merit(1.0, 9.0), merit(5.0, 5.0)], merit(9.0, 1.0), eta=3)


def test_a_front_wider_than_the_places_is_thinned_evenly():
    line = [merit(n / 10, 1 - n / 10) for n in range(11)]
    crowd = [merit(0.01 + n / 1000, 0.99 - n / 1000) for n in range(8)]
    recorded = [*crowd, *line[:5], *line[6:]]
    assert decide(recorded, line[5], eta=3)
    assert not decide([*recorded, line[5]], merit(0.0105, 0.9895), eta=3)


@pytest.mark.parametrize("eta", [2, 3])
def test_a_dominated_trial_passes_only_where_the_front_leaves_room(eta):
    front = [merit(n, 3 - n) for n in range(4)]
    behind = [merit(n + 5, 8 - n) for n in range(4)]
    assert decide([*front, *behind], merit(4.5, 4.5), eta=eta) == (eta == 2)  # 9 // 2 + 1 places, 9 // 3 + 1


def test_an_infeasible_trial_passes_only_among_infeasible_ones():
    assert not decide([merit(9.0)] * 3, merit(1.0, excess=0.1), eta=3)
    assert decide([merit(9.0, excess=0.2)] * 3, merit(1.0, excess=0.1), eta=3)

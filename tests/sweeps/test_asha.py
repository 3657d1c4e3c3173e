"""Asynchronous successive halving, with one goal and with several; what every policy must do is in test_stopping."""

import random
import time

import pytest

from cogito_ray.sweeps.early_stopping.asha import AshaSpec, Halving, ParetoAshaSpec
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec, Merit
from cogito_ray.sweeps.goals.pareto_fronts import SpreadOrder

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


def merit(*costs, excess=0.0):
    return Merit(costs, excess)


def told(value):
    return {"nats": value}


def decide(recorded, own, *, eta):
    """May a trial pass a rung where others left `recorded`?"""
    goals = tuple(GoalSpec(metric=f"m{n}", mode="min") for n in range(len(own.costs)))
    policy = Halving((1,), eta, Aim.of(goals, {"excess": "<= 0"}))
    for number, one in enumerate([*recorded, own]):
        costs = {f"m{n}": cost for n, cost in enumerate(one.costs)}
        verdict = policy.report(str(number), 1, costs | {"excess": one.excess})
    return verdict.keep


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


@pytest.mark.parametrize("goals", [1, 2])
def test_among_thousands_a_decision_takes_milliseconds(goals):
    draw, order = random.Random(0), SpreadOrder()
    for number in range(4000):
        order.add(str(number), merit(*(draw.random() for _ in range(goals))))
    for number in range(4000):
        order.wait(str(number), not order.is_among(str(number), 1333))  # the better ones have gone on
    began = time.process_time()
    for number in range(4000, 4100):
        order.add(str(number), merit(*(draw.random() for _ in range(goals))))
        order.is_among(str(number), 1333)
        order.first(1333, {"nobody"})
    assert time.process_time() - began < 2  # if every value were a front of its own: 5 s, and more


def test_with_one_goal_both_kinds_decide_alike():
    draw = random.Random(0)
    reports = [(f"t{draw.randrange(40)}", draw.choice((50, 150, 450)), told(draw.random())) for _ in range(400)]
    one, many = (kind(first_rung=50, mode="stop").policy(1000, AIM) for kind in (AshaSpec, ParetoAshaSpec))
    assert [one.report(*report) for report in reports] == [many.report(*report) for report in reports]


def test_a_late_report_counts_for_the_highest_rung_it_reached():
    policy = AshaSpec(first_rung=50, mode="stop").policy(300, AIM)
    assert policy.report("late", 160, told(1.0)).rung == 150
    assert policy.report("other", 60, told(9.0)).keep


def test_about_one_in_eta_of_identically_distributed_trials_passes():
    draw = random.Random(1)
    policy = AshaSpec(first_rung=1, eta=4, mode="stop").policy(4, AIM)
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


def pausing(goals=1, **changed):
    aim = Aim.of((GoalSpec(metric="nats", mode="min"), GoalSpec(metric="rank", mode="max"))[:goals], {})
    return ParetoAshaSpec(first_rung=10, **changed).policy(90, aim)


def promoted(policy, idle):
    """Who is promoted, and starts again at once."""
    if (name := policy.promoted(policy.waiting, idle=idle)) is not None:
        policy.resumed(name)
    return name


def test_a_paused_trial_goes_on_once_enough_worse_ones_have_come():
    policy = pausing()
    assert policy.report("good", 10, told(1.0)).waits  # the first of three: nobody knows yet
    assert policy.report("bad", 10, told(3.0)).waits
    assert promoted(policy, idle=False) is None
    assert policy.report("worse", 10, told(4.0)).waits
    assert promoted(policy, idle=False) == "good"
    assert policy.report("good", 20, told(0.9)).keep
    assert promoted(policy, idle=False) is None


def test_who_is_among_the_best_on_arrival_does_not_pause_at_all():
    policy = pausing()
    for name, value in {"a": 3.0, "b": 4.0, "c": 5.0}.items():
        policy.report(name, 10, told(value))
    assert policy.report("best", 10, told(1.0)).keep


def test_of_those_who_wait_the_farthest_goes_on_first():
    policy = pausing()
    for n in range(9):
        policy.report(f"t{n}", 10, told(n))
    for n in range(3):
        policy.report(f"t{n}", 30, told(n))
    assert [promoted(policy, idle=False) for _ in range(2)] == ["t0", None]
    for n in range(9, 12):
        policy.report(f"t{n}", 10, told(n))
    assert promoted(policy, idle=False) == "t3"


def test_when_nothing_else_is_left_to_do_the_best_of_every_rung_goes_on_so_that_something_is_completed():
    policy = pausing()
    policy.report("better", 10, told(1.0))
    policy.report("worse", 10, told(2.0))
    assert promoted(policy, idle=False) is None
    assert promoted(policy, idle=True) == "better"
    assert policy.report("better", 30, told(1.0)).waits
    assert [promoted(policy, idle=True) for _ in range(2)] == ["better", None]


def test_every_further_goal_has_a_place_among_the_promoted():
    policy = pausing(goals=2)
    verdicts = [policy.report(f"t{n}", 10, {"nats": n, "rank": 10 * n}) for n in range(3)]
    assert [verdict.keep for verdict in verdicts] == [False, False, True]
    assert [promoted(policy, idle=False) for _ in range(2)] == ["t0", None]


def test_pausing_completes_the_best_of_all_where_stopping_lost_it_for_being_measured_once():
    """Every trial but the first is worse at the rung than those before, so that stopping keeps too few."""
    values = {f"t{n}": value for n, value in enumerate([5.0, 6.0, 4.9, 4.95, 7.0, 8.0, 9.0, 9.5, 9.9])}
    stop = ParetoAshaSpec(first_rung=10, mode="stop").policy(90, AIM)
    kept = {name for name, value in values.items() if stop.report(name, 10, told(value)).keep}
    pause = pausing()
    went = {name for name, value in values.items() if pause.report(name, 10, told(value)).keep}
    went |= {name for _ in values if (name := promoted(pause, idle=False))}
    best_third = set(sorted(values, key=values.__getitem__)[:3])
    assert best_third <= went
    assert not best_third <= kept

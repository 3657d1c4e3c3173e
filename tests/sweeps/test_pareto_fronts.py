"""Order by fronts, hypervolume and spread, against small sets whose answer is plain."""

import math
import random
from bisect import bisect_left

import numpy as np
import pytest

from cogito_ray.sweeps.goals.goal_spec import Aim, Bound, GoalSpec, Merit
from cogito_ray.sweeps.goals.pareto_fronts import SpreadOrder, by_hypervolume, by_spread, fronts, hypervolume

LINE = [Merit((float(n), 4.0 - n), 0.0) for n in range(5)]


def places(merits):
    """How many come before each, if it is ahead of its equals."""
    order, names = SpreadOrder(), [str(n) for n in range(len(merits))]
    for name, merit in zip(names, merits, strict=True):
        order.add(name, merit)

    def is_before(name):
        return lambda count: order.is_among(name, count + 1, newest_first=True)

    return [bisect_left(range(len(merits)), True, key=is_before(name)) for name in names]


def place_by_spread(merits):
    """How many come before the first."""
    return places(merits)[0]


def by_place(merits):
    """The order that the places say; copies share theirs."""
    return sorted(range(len(merits)), key=places(merits).__getitem__)


ORDERS = pytest.mark.parametrize("order", [by_hypervolume, by_place])


def test_each_layer_is_a_front():
    behind = [Merit((x + 3, y + 3), 0.0) for x, y in ((0, 2), (2, 0))]
    assert fronts([*LINE, *behind, Merit((0.0, 0.0), 1.0)]) == [1] * 5 + [2] * 2 + [None]


@ORDERS
def test_fronts_come_in_turn_then_the_least_infeasible_and_last_what_is_not_finite(order):
    merits = [
        Merit((math.nan, 0.0), 0.0),
        Merit((0.0, 0.0), 2.0),
        Merit((0.0, 0.0), 1.0),
        Merit((5.0, 5.0), 0.0),
        Merit((1.0, 1.0), 0.0),
    ]
    assert order(merits) == [4, 3, 2, 1, 0]


@ORDERS
def test_with_one_goal_the_order_is_that_of_its_values(order):
    assert order([Merit((value,), 0.0) for value in (3.0, 1.0, 2.0, 1.0)]) == [1, 3, 2, 0]


def test_with_one_goal_and_constraints_orders_are_those_of_the_same_goal_told_twice():
    draw = random.Random(0)
    merits = [Merit((draw.choice((math.nan, *range(9))),), draw.choice((0.0, 0.0, 1.0, 2.0))) for _ in range(60)]
    twice = [Merit(merit.costs * 2, merit.excess) for merit in merits]
    finite = [n for n in range(60) if merits[n].finite]
    for count in (1, 5, 30, 60):
        assert by_spread(merits, count) == by_spread(twice, count)
    assert [by_place(merits).index(n) for n in finite] == [by_place(twice).index(n) for n in finite]


@ORDERS
def test_scaling_a_goal_changes_no_order(order):
    bent = [Merit((0.0, 4.0), 0.0), Merit((0.5, 1.0), 0.0), Merit((1.0, 0.8), 0.0), Merit((4.0, 0.0), 0.0)]
    scaled = [Merit((merit.costs[0] * 1e6 - 3, merit.costs[1]), 0.0) for merit in bent]
    assert order(scaled) == order(bent)


def test_what_would_cost_the_front_most_comes_first():
    bent = [Merit((0.0, 4.0), 0.0), Merit((0.5, 0.5), 0.0), Merit((0.6, 0.45), 0.0), Merit((4.0, 0.0), 0.0)]
    assert by_hypervolume(bent)[0] == 1
    assert by_hypervolume(bent)[-1] == 2


def test_spread_takes_both_ends_then_the_middle():
    assert by_spread(LINE, 3) == [0, 4, 2]


def test_a_copy_adds_no_spread_once_the_first_is_taken():
    copied = [LINE[0], LINE[0], LINE[2], LINE[4]]
    assert place_by_spread(copied) == 0
    assert place_by_spread([LINE[2], LINE[0], LINE[0], LINE[4]]) == 2


def test_hypervolume_is_the_area_up_to_the_reference_point():
    assert hypervolume(np.array([[1.0, 3.0], [2.0, 1.0], [9.0, 0.0]]), [4.0, 4.0]) == pytest.approx(3 + 6 - 2)
    assert hypervolume(np.array([[3.0], [1.0]]), [4.0]) == 3.0
    assert hypervolume(np.empty((0, 2)), [4.0, 4.0]) == 0.0


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [(">= 0.45", 0.45, True), (">= 0.45", 0.44, False), ("<=3", 3.5, False), ("< 20", 20, False), ("> -1e-3", 0, True)],
)
def test_a_bound_says_what_holds_and_by_how_much_it_is_broken(text, value, holds):
    bound = Bound.parse(text)
    assert bound.holds(value) == holds
    if "=" in text:
        assert (bound.excess(value) <= 0) == holds
    assert bound.excess(math.nan) == math.inf
    assert not bound.holds(math.nan)


def test_a_merit_turns_goals_into_costs_and_sums_what_constraints_are_broken_by():
    goals = (GoalSpec(metric="nats", mode="min"), GoalSpec(metric="rank", mode="max"))
    aim = Aim.of(goals, {"similarity": ">= 0.5", "norm": "<= 2"})
    told = {"nats": 3.0, "rank": 7.0, "similarity": 0.25, "norm": 3.0}
    assert aim.merit(told) == Merit((3.0, -7.0), 1.25)
    assert aim.broken(told) == ["similarity 0.25, not >= 0.5", "norm 3, not <= 2"]
    assert aim.merit(told | {"similarity": 0.5, "norm": 2.0}).feasible
    assert not aim.merit({"nats": 3.0, "similarity": 1.0, "norm": 0.0}).finite


def test_the_best_few_are_those_whose_place_is_small():
    draw = random.Random(3)
    merits = [Merit((draw.random(), draw.random()), draw.choice([0.0, 0.0, draw.random()])) for _ in range(30)]
    assert by_spread(merits, 30) == by_place(merits)
    assert by_spread([Merit((math.nan, 1.0), 0.0)], 1) == []


def test_half_way_who_breaks_a_constraint_a_little_more_but_is_far_better_in_the_goal_is_not_last():
    merits = [Merit((cost,), excess) for cost, excess in [(7.0, 0.05), (6.9, 0.04), (7.1, 0.03), (4.0, 0.06)]]
    assert by_spread(merits, 2) == [3, 2]                               # the best in the goal, and the least broken
    assert by_hypervolume(merits) == [2, 1, 0, 3]                       # at the end, a constraint counts in full


def test_where_no_constraint_was_measured_yet_goals_decide_and_not_who_came_first():
    unmeasured = [Merit((cost,), math.inf) for cost in (3.0, 1.0, 2.0)]
    assert by_spread(unmeasured, 3) == [1, 2, 0]
    assert by_spread([*unmeasured, Merit((9.0,), 0.5)], 2) == [1, 3]    # measured is less broken than unmeasured
    assert by_spread([*unmeasured, Merit((9.0,), 0.0)], 1) == [3]


@pytest.mark.parametrize("goals", [1, 2, 3])
@pytest.mark.parametrize("constrained", [False, True])
def test_one_by_one_merits_take_the_order_of_all_at_once(goals, constrained):
    draw, order, merits, waiting = random.Random(goals), SpreadOrder(), list[Merit](), set[str]()
    for number in range(60):
        drawn = (draw.choice((math.nan, *range(9))) if draw.random() < 0.3 else draw.random() for _ in range(goals))
        costs = tuple(drawn)
        merits.append(Merit(costs, draw.choice((0.0, 0.5, 1.5, math.inf)) if constrained else 0.0))
        order.add(str(number), merits[-1])
        waits = draw.random() < 0.7
        order.wait(str(number), waits)
        waiting |= {str(number)} if waits and merits[-1].finite else set()
        for count in (1, 5, number // 3, number + 1):
            best = [str(index) for index in by_spread(merits, count)]
            assert [str(n) for n in range(number + 1) if order.is_among(str(n), count)] == sorted(best, key=int)
            ahead = by_spread([merits[-1], *merits[:-1]], count)
            assert order.is_among(str(number), count, newest_first=True) == (0 in ahead)
            among = {name for name in waiting if draw.random() < 0.8}
            assert order.first(count, among) == next((name for name in best if name in among), None)

"""Noise between seeds: who is run again, and what cannot be told apart."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from cogito_ray.sweeps.replication import COVERAGE, FINALISTS, finalists, intervals, other_seeds


def test_with_one_goal_the_better_half_is_run_again_up_to_a_bound():
    ranked = [f"t{n}" for n in range(20)]
    assert finalists(ranked, []) == ranked[:FINALISTS]
    assert finalists(ranked[:5], []) == ranked[:2]
    assert finalists(ranked[:1], []) == ranked[:1]


def test_with_several_goals_the_front_is_run_again_up_to_a_bound():
    assert finalists(["a", "b", "c"], ["a"]) == ["a"]
    assert len(finalists([], [f"t{n}" for n in range(9)])) == FINALISTS


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_other_seeds_are_other_valid_and_stay_when_more_are_asked_for(seed):
    drawn = other_seeds(seed, 5)
    assert len({seed, *drawn}) == 6
    assert all(0 <= one < 2**31 for one in drawn)
    assert other_seeds(seed, 3) == drawn[:3]


def test_of_a_single_trial_it_is_students_interval():
    runs = [4.1, 4.3, 4.0, 4.4]
    found = intervals({"a": runs})["a"]
    low, high = student.interval(COVERAGE, 3, np.mean(runs), np.std(runs, ddof=1) / 2)
    assert (found.low, found.high, found.runs) == (pytest.approx(low), pytest.approx(high), 4)


def test_noise_is_pooled_so_that_a_lucky_pair_of_runs_has_no_narrow_interval():
    alone = intervals({"a": [4.0, 4.0001]})["a"]
    pooled = intervals({"a": [4.0, 4.0001], "b": [5.0, 5.2], "c": [6.0, 6.3]})["a"]
    assert pooled.high - pooled.low > 10 * (alone.high - alone.low)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    draw = np.random.default_rng(0)
    hits = [
        found.low <= 0 <= found.high
        for _ in range(400)
        for found in intervals({name: draw.normal(size=3) for name in "abcd"}).values()
    ]
    assert np.mean(hits) == pytest.approx(COVERAGE, abs=0.03)


def test_runs_that_measured_nothing_finite_do_not_count():
    assert intervals({"a": [4.0, math.nan], "b": []}) == {}
    assert intervals({"a": [4.0, 4.2, math.inf]})["a"].runs == 2


def test_overlap_goes_both_ways():
    found = intervals({"a": [4.0, 4.2], "b": [4.1, 4.3], "c": [9.0, 9.2]})
    assert found["a"].overlaps(found["b"])
    assert found["b"].overlaps(found["a"])
    assert not found["a"].overlaps(found["c"])

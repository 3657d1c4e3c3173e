"""Noise between seeds: who is run again, and what cannot be told apart."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from cogito_ray.sweeps.follow_ups.derived_runs import other_seeds
from cogito_ray.sweeps.statistics.seed_intervals import (
    COVERAGE,
    FINALISTS,
    as_good_as_best,
    finalists,
    intervals,
    told_apart,
)


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


SWEEPS, SEEDS = 2000, 3
MARGIN = 0.02
"""Three standard errors of a rate of one in ten over so many sweeps."""


def simulated(means, seed_effect, seed=0):
    """Made-up further runs of finalists with these true means and noise of size 1, sweep by sweep."""
    draw = np.random.default_rng(seed)
    for _ in range(SWEEPS):
        alike = seed_effect * draw.normal(size=SEEDS)
        yield {at: dict(enumerate(mean + alike + draw.normal(size=SEEDS))) for at, mean in enumerate(means)}


def overlapping(costs):
    """Whose interval overlaps that of the best: what was asked before."""
    found = intervals({name: list(runs.values()) for name, runs in costs.items()})
    best = min(found.values(), key=lambda interval: interval.mean)
    return [name for name, interval in found.items() if interval.low <= best.high]


@pytest.mark.parametrize("seed_effect", [0.0, 1.0])
@pytest.mark.parametrize("means", [(0, 0), (0, 0, 0, 0), (0, 0, 50, 50), (0, 0, 0, 50)])
def test_of_equal_finalists_one_is_named_or_shut_out_in_one_sweep_of_ten_at_most(means, seed_effect):
    named = shut_out = 0
    for costs in simulated(means, seed_effect):
        best = as_good_as_best(costs)
        named += len(best) == 1
        shut_out += not {at for at, mean in enumerate(means) if mean == 0} <= set(best)
    assert named / SWEEPS <= 1 - COVERAGE + MARGIN
    assert shut_out / SWEEPS == pytest.approx(1 - COVERAGE, abs=MARGIN)


@pytest.mark.parametrize(("seed_effect", "power", "overlap"), [(0.0, 0.41, 0.26), (1.0, 0.41, 0.11)])
def test_the_best_of_four_by_two_standard_deviations_is_named_more_often_than_by_overlap(seed_effect, power, overlap):
    sweeps = list(simulated((0, 2, 2, 2), seed_effect))
    assert np.mean([as_good_as_best(costs) == [0] for costs in sweeps]) == pytest.approx(power, abs=MARGIN)
    assert np.mean([overlapping(costs) == [0] for costs in sweeps]) == pytest.approx(overlap, abs=MARGIN)


def test_what_a_seed_does_to_all_alike_changes_nothing():
    costs = next(iter(simulated((0, 1, 2), 0.0)))
    moved = {name: {seed: cost + 100 * seed for seed, cost in runs.items()} for name, runs in costs.items()}
    assert as_good_as_best(moved) == as_good_as_best(costs)


def test_of_two_finalists_it_is_the_paired_t_test():
    costs = {"a": {1: 4.0, 2: 4.4, 3: 4.1}, "b": {1: 4.3, 2: 4.75, 3: 4.38}}
    differences = [costs["b"][seed] - costs["a"][seed] for seed in (1, 2, 3)]
    critical = student.ppf((1 + COVERAGE) / 2, 2) * np.std(differences, ddof=1) / math.sqrt(3)
    assert np.mean(differences) > critical
    assert as_good_as_best(costs) == ["a"]
    nearer = np.mean(differences) - 0.99 * critical
    costs["b"] = {seed: cost - nearer for seed, cost in costs["b"].items()}
    assert as_good_as_best(costs) == ["a", "b"]


def test_without_two_seeds_that_all_share_nobody_is_told_from_the_best():
    assert as_good_as_best({"b": {1: 9.0}, "a": {1: 1.0}}) == ["a", "b"]
    assert as_good_as_best({"a": {1: 1.0, 2: 1.0}, "b": {2: 9.0, 3: 9.0}}) == ["a", "b"]
    assert as_good_as_best({"a": {1: 1.0, 2: 1.0}}) == ["a"]
    assert as_good_as_best({}) == []
    assert told_apart({"a": {1: 1.0}, "b": {1: 9.0}}) == set()


def test_of_all_pairs_of_equal_finalists_one_is_told_apart_in_one_sweep_of_ten_over_all_goals_together():
    for goals in (1, 2):
        runs = [list(simulated((0, 0, 0), 1.0, seed)) for seed in range(goals)]
        rate = np.mean([any(told_apart(costs, goals=goals) for costs in sweep) for sweep in zip(*runs, strict=True)])
        assert rate == pytest.approx(1 - COVERAGE, abs=MARGIN)

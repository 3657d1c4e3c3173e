"""How far a value would move under another seed: finalists run again, their means, and who cannot be told apart.

Intervals of one mean are Student's (10.1093/biomet/6.1.1), with the variance within trials pooled over all that were
run again: few runs each, but the noise is taken to be the same for all. The run for which a finalist was chosen is left
out: it was chosen for being good.

Whether two differ is not asked of their intervals, whose overlap is a test of no stated level, but of the differences
under the same seeds: what a seed does to all of them alike cancels (two-way layout, finalists by seeds). As the largest
of several differences is large by chance, it must exceed the studentized range of as many means (Tukey's; step-down,
10.1093/biomet/31.1-2.20): the best is told first from the worst, then from the next worst among one fewer, until one
difference is too small. All of these claims together are wrong in at most one of ten sweeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FINALISTS = 4
"""At most so many trials are run again."""
COVERAGE = 0.9
"""Of an interval; and of all that is said about differences, together."""


@dataclass(frozen=True)
class Interval:
    """Of a metric's mean over runs that differ in their seed alone."""

    mean: float
    low: float
    high: float
    runs: int


def finalists(ranked: Sequence[str], front: Sequence[str]) -> list[str]:
    """Who is run again: the best of the front if there are several goals, else of the better half of the ranked.

    `ranked`: every trial with a rank, best first. `front`: those of the first front, best first; empty for one goal.
    """
    return list(front or ranked[: max(2, len(ranked) // 2)])[:FINALISTS]


def intervals(values: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Of the values of each trial's runs. Trials without two finite ones are left out."""
    sound = {name: finite for name, runs in values.items() if len(finite := [v for v in runs if np.isfinite(v)]) > 1}
    freedom = sum(len(runs) - 1 for runs in sound.values())
    squares = sum(float(np.var(runs)) * len(runs) for runs in sound.values())
    if not sound:
        return {}
    from scipy.special import stdtrit  # scipy takes a second to import, and most sweeps have nothing run again

    found = {}
    for name, runs in sound.items():
        half = stdtrit(freedom, (1 + COVERAGE) / 2) * np.sqrt(squares / freedom / len(runs))
        mean = float(np.mean(runs))
        found[name] = Interval(mean, mean - float(half), mean + float(half), len(runs))
    return found


def as_good_as_best(costs: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Who may be the best, the one with the least mean first: alone if it can be told from all others.

    `costs`: what each finalist cost under each seed, all finite. Those seeds count under which all were run; with fewer
    than two of them nothing can be told. Assumes noise of one size in all finalists.
    """
    names, table = _shared(costs)
    order = [int(index) for index in np.argsort(table.mean(axis=1), kind="stable")]
    means, (error, freedom) = np.sort(table.mean(axis=1)), _error(table)
    left = len(order)
    while left > 1 and freedom and means[left - 1] - means[0] > _range(left, freedom) * error:
        left -= 1
    return [names[index] for index in order[:left]]


def told_apart(costs: Mapping[str, Mapping[int, float]], *, goals: int = 1) -> set[frozenset[str]]:
    """Every pair that differs, all pairs being asked at once, and as much in each of so many `goals`."""
    names, table = _shared(costs)
    means, (error, freedom) = table.mean(axis=1), _error(table)
    if not freedom:
        return set()
    least = _range(len(names), freedom, goals) * error
    return {
        frozenset((one, two))
        for at, one in enumerate(names)
        for other, two in enumerate(names[:at])
        if abs(means[at] - means[other]) > least
    }


def _shared(costs: Mapping[str, Mapping[int, float]]) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and (finalists, seeds) what each cost under the seeds that all were run with."""
    seeds = sorted(set.intersection(*(set(runs) for runs in costs.values()))) if costs else []
    if len(seeds) < 2:  # no difference can be told; the means are those of what each was run with
        return list(costs), np.array([[np.mean(list(runs.values()))] for runs in costs.values()]).reshape(-1, 1)
    return list(costs), np.array([[runs[seed] for seed in seeds] for runs in costs.values()])


def _error(table: NDArray[np.float64]) -> tuple[float, int]:
    """The standard error of a mean over seeds, what seeds do to all alike left out; and its degrees of freedom."""
    finalists, seeds = table.shape
    freedom = (finalists - 1) * (seeds - 1)
    if not freedom:
        return 0.0, 0
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    return float(np.sqrt((left**2).sum() / freedom / seeds)), freedom


@lru_cache
def _range(means: int, freedom: int, goals: int = 1) -> float:
    """What the range of so many equal means exceeds by chance as rarely as COVERAGE says, in standard errors of one."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - (1 - COVERAGE) / goals, means, freedom))


def paired(first: Sequence[float], others: Sequence[Sequence[float]]) -> list[Interval]:
    """Of each of `others` the mean of its differences from `first`, seed by seed, with Student's interval.

    The variance is pooled over all of them. At least two seeds, all values finite.
    """
    from scipy.special import stdtrit  # takes a second to import

    differences = [np.subtract(values, first) for values in others]
    seeds = len(first)
    freedom = len(others) * (seeds - 1)
    variance = sum(float(np.var(one)) * seeds for one in differences) / freedom
    half = float(stdtrit(freedom, (1 + COVERAGE) / 2) * np.sqrt(variance / seeds))
    means = [float(one.mean()) for one in differences]
    return [Interval(mean, mean - half, mean + half, seeds) for mean in means]

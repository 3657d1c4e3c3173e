"""By how much runs are worse than others under the same seeds: what a seed does to both cancels."""

from collections.abc import Sequence

import numpy as np

from cogito_ray.sweeps.statistics.seed_intervals import COVERAGE, Interval


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

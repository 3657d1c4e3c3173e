"""By how much runs are worse than others under the same seeds: what a seed does to both cancels."""

from collections.abc import Mapping, Sequence

import numpy as np

from cogito_ray.sweeps.statistics.seed_intervals import COVERAGE, Interval


def paired(first: Sequence[float], others: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Of each of `others`, by name, the mean of its differences from `first`, seed by seed, with Student's interval.

    The variance is pooled over all of them. At least two seeds, all values finite.
    """
    from scipy.special import stdtrit  # takes a second to import

    differences = {name: np.subtract(values, first) for name, values in others.items()}
    seeds = len(first)
    freedom = len(others) * (seeds - 1)
    variance = sum(float(np.var(one)) * seeds for one in differences.values()) / freedom
    half = float(stdtrit(freedom, (1 + COVERAGE) / 2) * np.sqrt(variance / seeds))
    return {
        name: Interval(float(one.mean()), float(one.mean()) - half, float(one.mean()) + half, seeds)
        for name, one in differences.items()
    }

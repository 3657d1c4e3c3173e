"""How far a value would move under another seed: finalists run again, their means, and who cannot be told apart.

Intervals are Student's (10.1093/biomet/6.1.1), with the variance within trials pooled over all that were run again: few
runs each, but the noise is taken to be the same for all. The run for which a finalist was chosen is left out: it was
chosen for being good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

FINALISTS = 4
"""At most so many trials are run again."""
COVERAGE = 0.9


@dataclass(frozen=True)
class Interval:
    """Of a metric's mean over runs that differ in their seed alone."""

    mean: float
    low: float
    high: float
    runs: int

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high


def finalists(ranked: Sequence[str], front: Sequence[str]) -> list[str]:
    """Who is run again: the best of the front if there are several goals, else of the better half of the ranked.

    `ranked`: every trial with a rank, best first. `front`: those of the first front, best first; empty for one goal.
    """
    return list(front or ranked[: max(2, len(ranked) // 2)])[:FINALISTS]


def other_seeds(seed: int, count: int) -> list[int]:
    """`count` seeds that differ from `seed` and from each other; the first ones stay when more are asked for."""
    found: list[int] = []
    for number in range(2 * count + 1):
        drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)
        if drawn != seed and drawn not in found:
            found.append(drawn)
    return found[:count]


def intervals(values: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Of the values of each trial's runs. Trials without two finite ones are left out."""
    sound = {name: finite for name, runs in values.items() if len(finite := [v for v in runs if np.isfinite(v)]) > 1}
    freedom = sum(len(runs) - 1 for runs in sound.values())
    squares = sum(float(np.var(runs)) * len(runs) for runs in sound.values())
    found = {}
    for name, runs in sound.items():
        half = stdtrit(freedom, (1 + COVERAGE) / 2) * np.sqrt(squares / freedom / len(runs))
        mean = float(np.mean(runs))
        found[name] = Interval(mean, mean - float(half), mean + float(half), len(runs))
    return found

"""Seeds of further runs: a pure function of a run's own."""

import numpy as np

MOST_SEEDS = 100
"""Of one run: more tell nothing new."""


def other_seeds(seed: int, count: int) -> list[int]:
    """`count` seeds that differ from `seed` and from each other; the first ones stay when more are asked for."""
    found: list[int] = []
    for number in range(2 * count + 1):
        drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)
        if drawn != seed and drawn not in found:
            found.append(drawn)
    return found[:count]

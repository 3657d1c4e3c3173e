"""Which axes of a sweep may change while a trial trains, and how a copy's settings differ from those of its parent.

As in population based training (arXiv:1711.09846) and its implementation in Ray Tune: a number is multiplied by 1.2 or
0.8, a value from a list gives way to a neighbour, or either is drawn anew. Other than there, what leaves the domain is
brought back to its nearest bound.
"""

import math
import re
from collections.abc import Mapping

from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from cogito_ray.sweeps.space.domains import Sample, Scalar, reads, written
from cogito_ray.sweeps.space.search_space import Space

MOVABLE = (
    r"training\.schedule(\..+)?",
    r"training\.optimizer\.(?!(kind|ema)$).+",
    r"loss\.weighting\.(weights\..+|share)",
    r"loss\.contrast\.temperature",
    r"loss\.regularisers\.\d+\.(?!kind$)[^.]+",
    r"objective\.(?!kind$)[^.]+",
)
"""Paths of a run whose change leaves its weights, its optimizer's moments, its order of rows and what it is asked at
each report what they are. None of them makes a parameter; a kind may, or makes it another task."""
FACTORS = (0.8, 1.2)


def movable(space: Space) -> dict[str, BaseDistribution]:
    """The axes that copies may vary, unless an axis that may not depends on them; the rest is inherited."""
    return {path: drawn for path, drawn in space.distributions().items() if _may_move(space, path)}


def _may_move(space: Space, path: str) -> bool:
    if any(path in domain.when for domain in space.axes.values()):    # a copy has the same axes as its parent
        return False
    followers = [other for other, domain in space.axes.items() if space.sets(path, *reads(domain))]
    settings = written(path, space.axes[path])
    return all(any(re.fullmatch(rule, setting) for rule in MOVABLE) for setting in settings) and all(
        _may_move(space, other) for other in followers
    )


def explored(sample: Sample, axes: Mapping[str, BaseDistribution], resample: float, draw: Generator) -> Sample:
    """`sample` with every one of these axes that it has perturbed, or drawn anew with probability `resample`."""
    moved = dict(sample)
    for path, drawn in axes.items():
        if path in sample:
            moved[path] = _anew(drawn, draw) if draw.random() < resample else _near(drawn, sample[path], draw)
    return moved


def _anew(drawn: BaseDistribution, draw: Generator) -> Scalar:
    match drawn:
        case CategoricalDistribution():
            value: Scalar = drawn.choices[draw.integers(len(drawn.choices))]
            return value
        case FloatDistribution(log=True):
            return _within(drawn, math.exp(draw.uniform(math.log(drawn.low), math.log(drawn.high))))
        case FloatDistribution() | IntDistribution():
            return _within(drawn, draw.uniform(drawn.low, drawn.high))
    raise TypeError(drawn)


def _near(drawn: BaseDistribution, value: Scalar, draw: Generator) -> Scalar:
    up = bool(draw.integers(2))
    match drawn:
        case CategoricalDistribution():
            place = int(drawn.to_internal_repr(value)) + (1 if up else -1)
            neighbour: Scalar = drawn.choices[min(max(place, 0), len(drawn.choices) - 1)]
            return neighbour
        case FloatDistribution() | IntDistribution():
            now = float(str(value))
            moved = _within(drawn, now * FACTORS[up])
            least = drawn.step or 0                    # a number that is rounded back to itself takes a step instead
            return moved if moved != value else _within(drawn, now + (least if up else -least))
    raise TypeError(drawn)


def _within(drawn: FloatDistribution | IntDistribution, value: float) -> float:
    """The nearest value of the domain."""
    if drawn.step is not None:
        value = drawn.low + round((value - drawn.low) / drawn.step) * drawn.step
    bounded = min(max(value, drawn.low), drawn.high)
    return int(bounded) if isinstance(drawn, IntDistribution) else float(bounded)

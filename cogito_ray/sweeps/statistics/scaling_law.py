"""What a larger run's loss will be, from a ladder of smaller ones: a law is fitted, and told with its uncertainty.

The law is Hoffmann et al.'s (arXiv:2203.15556): L(N, D) = E + A / N^alpha + B / D^beta of N parameters (token tables
left out, arXiv:2001.08361) and D tokens read; a term stands only where the ladder varies what it is of. Residuals of
log L count by soft L1, so that one odd run does not bend the curve.

A ladder has few rungs, and several laws fit them. So exponents, floor and sizes of the terms have wide priors around
what language models show, and the forecast is that of all laws as probable as they fit: drawn from their posterior by
the affine-invariant ensemble sampler (10.2140/camcos.2010.5.65). The point is their median.

Forecasts miss by more than their fits show: learning goes in stages, and one rate suits some sizes better than others.
So the interval also holds what such forecasts miss by. A miss is the log of what was reached over what was foretold,
per unit of log compute beyond the largest rung. A ladder's misses are taken for normal around 0, their unknown variance
for scaled inverse chi-squared, so that the next one has a t distribution (10.1201/b16018, section 2.6). Known of that
variance are USUAL_MISS, how much the ladder's smaller rungs miss its largest one by, and earlier forecasts' misses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import expit
from scipy.stats import t

from cogito_ray.sweeps.follow_ups.follow_up_specs import FEWEST_RUNGS

COVERAGE = 0.9
"""Of an interval."""
WALKERS, MOVES, STRETCH = 64, 600, 2.0
"""Of the ensemble: so many laws, each moved so often (the first half is forgotten), and how far at most."""
LEAST_NOISE = 2e-3
"""Relative standard deviation that a seed is taken to cause at the least, however alike a few runs came out."""
USUAL_MISS, ITS_WEIGHT = 0.05, 1
"""Per unit of log compute (12 % for ten times the compute): the median of 24 short ladders, of which
docs/how-to/full-scale.md tells; and as how many misses that counts."""
EXPONENT, EXPONENT_SPREAD = 0.4, 0.5
"""Prior of alpha and beta: log-normal, around what short and long runs of language models show (0.28 to 0.6)."""
TERM, TERM_SPREAD = 0.1, 1.5
"""Prior of a term at the largest rung, over the loss there: log-normal."""
FLOOR_SPREAD = 1.5
"""Prior of the logit of E over the least loss seen: normal around 0.5."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Rung:
    """One run of the ladder."""

    parameters: int
    """Without token tables."""
    tokens: int
    """Read in training, repeated ones included."""
    value: float

    @property
    def compute(self) -> float:
        """Training FLOPs up to a factor: parameters x tokens."""
        return float(self.parameters) * self.tokens


@dataclass(frozen=True)
class ScalingForecast:
    """Of one goal of one larger run."""

    value: float
    low: float
    high: float
    """The interval that holds it with probability COVERAGE."""
    law: str
    """For a reader."""


class Unforecastable(ValueError):
    """The ladder does not tell."""


def forecast_loss(
    ladder: Sequence[Rung], parameters: int, tokens: int, *, past: Sequence[float] = (), seed: int = 0
) -> ScalingForecast:
    """The loss of a run with so many parameters and tokens. `past`: misses of earlier forecasts.

    Unforecastable for fewer than FEWEST_RUNGS sizes, or values that are no positive numbers.
    """
    _refuse_short(ladder)
    seen = np.array([(rung.parameters, rung.tokens, rung.value) for rung in ladder], dtype=float)
    if not (np.isfinite(seen).all() and (seen[:, 2] > 0).all()):
        raise Unforecastable("a run of the ladder has no finite positive loss")
    noise, random = max(_seed_noise(ladder), LEAST_NOISE), np.random.default_rng(seed)
    told = _foretold(seen, np.array([[parameters, tokens]], dtype=float), noise, random)
    beyond = max(0.0, np.log(float(parameters) * tokens / max(rung.compute for rung in ladder)))
    half = beyond * next_miss([*past, *_own_misses(seen, noise, random)])
    low, high = (float(told.value * np.exp(side * np.hypot(np.log(end / told.value), half)))
                 for side, end in ((-1, told.low), (1, told.high)))  # fmt: skip
    return replace(told, low=low, high=high)


def miss(reached: float, foretold: float, compute_ratio: float) -> float:
    """By how much a forecast of a loss was off that lay so many times beyond the compute of its largest rung."""
    return float(np.log(reached / foretold) / np.log(compute_ratio))


def next_miss(misses: Sequence[float]) -> float:
    """What the next miss is below, without its sign, with probability COVERAGE, after these."""
    freedom = ITS_WEIGHT + len(misses)
    squares = ITS_WEIGHT * USUAL_MISS**2 + float(np.square(misses).sum())
    return float(t.ppf((1 + COVERAGE) / 2, freedom) * np.sqrt(squares / freedom))


def _own_misses(seen: Values, noise: float, random: np.random.Generator) -> list[float]:
    """Of runs (R, 3), where those up to each compute foretell the largest; none for the fewest rungs."""
    compute, found = seen[:, :2].prod(axis=1), list[float]()
    largest = seen[compute == compute.max()]
    for most in np.unique(compute)[:-1]:
        below = seen[compute <= most]
        if len(np.unique(below[:, :2], axis=0)) >= FEWEST_RUNGS:
            told = _foretold(below, largest[:1, :2], noise, random)
            found.append(miss(largest[:, 2].mean(), told.value, compute.max() / most))
    return found


def _foretold(seen: Values, size: Values, noise: float, random: np.random.Generator) -> ScalingForecast:
    """For a size (1, 2) from runs (R, 3), by what fits them alone."""
    law = _Law(seen[:, :2], seen[:, 2])
    noise = max(noise, law.residual(law.fit(LEAST_NOISE).x))
    values = law.at(law.posterior(noise, random), size)[:, 0]
    told = values * np.exp(noise * random.standard_normal(len(values)))
    low, high = np.quantile(told, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return ScalingForecast(float(np.median(values)), float(low), float(high), law.said(law.fit(noise).x))


def forecast_trend(
    ladder: Sequence[Rung], parameters: int, tokens: int, *, seed: int = 0
) -> ScalingForecast:
    """A goal that is no loss, by a line over the logarithm of compute.

    Unforecastable where the rungs do not come in one order, or where the run lies further beyond the largest rung than
    that one is above the smallest: a ladder that shows no order, or a short one, does not tell.
    """
    _refuse_short(ladder)
    compute = np.log([rung.compute for rung in ladder])
    values, sizes = np.array([rung.value for rung in ladder]), np.unique(compute)
    if not np.isfinite(values).all():
        raise Unforecastable("a run of the ladder has no finite value")
    means = np.array([values[compute == size].mean() for size in sizes])
    if not (np.all(np.diff(means) > 0) or np.all(np.diff(means) < 0)):
        raise Unforecastable("its values do not rise or fall with size all along the ladder")
    wanted = float(np.log(float(parameters) * tokens))
    if wanted > 2 * sizes[-1] - sizes[0]:
        reach = float(np.exp(sizes[-1] - sizes[0]))
        raise Unforecastable(f"the ladder spans {reach:.3g}x of compute, and this lies further than that beyond it")
    (slope, level), freedom = np.polyfit(compute, values, 1), len(values) - 2
    error = np.sqrt(((values - level - slope * compute) ** 2).sum() / freedom)
    away = (wanted - compute.mean()) ** 2 / ((compute - compute.mean()) ** 2).sum()
    half = float(t.ppf((1 + COVERAGE) / 2, freedom) * error * np.sqrt(1 + 1 / len(values) + away))
    value = float(level + slope * wanted)
    return ScalingForecast(value, value - half, value + half, f"{slope * np.log(2):+.3g} for twice the compute")


def _refuse_short(ladder: Sequence[Rung]) -> None:
    sizes = {(rung.parameters, rung.tokens) for rung in ladder}
    if len(sizes) < FEWEST_RUNGS:
        raise Unforecastable(f"{len(sizes)} sizes ended in order, and a law needs {FEWEST_RUNGS}")


def _seed_noise(ladder: Sequence[Rung]) -> float:
    """Relative standard deviation under other seeds, pooled over sizes; 0 where nothing was run again."""
    squares, freedom = 0.0, 0
    for size in {(rung.parameters, rung.tokens) for rung in ladder}:
        logs = np.log([rung.value for rung in ladder if (rung.parameters, rung.tokens) == size])
        squares, freedom = squares + float(((logs - logs.mean()) ** 2).sum()), freedom + len(logs) - 1
    return float(np.sqrt(squares / freedom)) if freedom else 0.0


class _Law:
    """E + A / N^alpha + B / D^beta. Its parameters theta (P,): the logit of E over the least loss seen, then, of each
    term, the log of its size at the largest rung and of its exponent."""

    def __init__(self, sizes: Values, values: Values):
        """sizes (R, 2) of parameters and tokens, values (R,)."""
        self._terms = [axis for axis in (0, 1) if len(np.unique(sizes[:, axis])) > 1]
        self._largest, self._least = sizes.max(axis=0), float(values.min())
        self._sizes, self._logs = sizes, np.log(values)
        each = [(np.log(TERM * self._least), TERM_SPREAD), (np.log(EXPONENT), EXPONENT_SPREAD)]
        self._centre, self._spread = np.array([(0.0, FLOOR_SPREAD), *each * len(self._terms)]).T

    def at(self, theta: Values, sizes: Values) -> Values:
        """theta (..., P), sizes (R, 2) -> losses (..., R)."""
        loss = np.repeat(self._least * expit(theta[..., :1]), len(sizes), axis=-1)
        for place, axis in enumerate(self._terms):
            size, exponent = theta[..., 1 + 2 * place, None], np.exp(theta[..., 2 + 2 * place, None])
            loss += np.exp(size - exponent * np.log(sizes[:, axis] / self._largest[axis]))
        return loss

    def fit(self, noise: float) -> OptimizeResult:
        """The law that fits best, where a seed moves log L by so much."""
        return least_squares(lambda theta: self._residuals(theta, noise), self._centre, loss="soft_l1")

    def posterior(self, noise: float, random: np.random.Generator) -> Values:
        """Laws (n, P), each as probable as its residuals, counted by soft L1, and its priors say."""
        best, seen, size = self.fit(noise).x, list[Values](), WALKERS // 2
        halves = [best + 0.1 * self._spread * random.standard_normal((size, len(best))) for _ in range(2)]
        logs = [self._log_density(half, noise) for half in halves]
        for move in range(MOVES):
            for one, other in ((0, 1), (1, 0)):
                anchors = halves[other][random.integers(size, size=size)]
                stretch = ((STRETCH - 1) * random.random(size) + 1) ** 2 / STRETCH
                moved = anchors + stretch[:, None] * (halves[one] - anchors)
                density = self._log_density(moved, noise)
                odds = (len(best) - 1) * np.log(stretch) + density - logs[one]
                taken = np.log(random.random(size)) < odds
                halves[one] = np.where(taken[:, None], moved, halves[one])
                logs[one] = np.where(taken, density, logs[one])
            if move >= MOVES // 2:
                seen += halves
        return np.concatenate(seen)

    def _log_density(self, theta: Values, noise: float) -> Values:
        return np.asarray(-(np.sqrt(1 + self._residuals(theta, noise) ** 2) - 1).sum(axis=-1))     # soft L1

    def _residuals(self, theta: Values, noise: float) -> Values:
        """Of the values seen, and of the priors, each over its own spread: (..., R + P)."""
        away = (np.log(self.at(theta, self._sizes)) - self._logs) / noise
        return np.concatenate([away, (theta - self._centre) / self._spread], axis=-1)

    def residual(self, theta: Values) -> float:
        """Relative standard deviation of what a law leaves, over the degrees of freedom that it leaves."""
        left = self._logs - np.log(self.at(theta, self._sizes))
        return float(np.sqrt((left**2).sum() / max(1, len(left) - len(theta))))

    def said(self, theta: Values) -> str:
        """The law, for a reader."""
        parts = [f"{self._least * expit(theta[0]):.3g}"]
        for place, axis in enumerate(self._terms):
            size, exponent = np.exp(theta[1 + 2 * place : 3 + 2 * place])
            parts.append(f"{size:.3g} ({'ND'[axis]} / {self._largest[axis]:.3g})^-{exponent:.2g}")
        return " + ".join(parts)

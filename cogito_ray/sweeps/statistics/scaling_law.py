"""What a larger run's loss will be, from a ladder of smaller ones: a law is fitted, and told with its uncertainty.

The law is Hoffmann et al.'s (arXiv:2203.15556): L(N, D) = E + A / N^alpha + B / D^beta of N parameters (token tables
left out, arXiv:2001.08361) and D tokens read; a term stands only where the ladder varies what it is of. Residuals of
log L count by soft L1, so that one odd run does not bend the curve.

A ladder has few rungs, and several laws fit them. So exponents, floor and sizes of the terms have wide priors around
what language models show, and the forecast is that of all laws as probable as they fit: drawn from their posterior by
the affine-invariant ensemble sampler (10.2140/camcos.2010.5.65). The point is their median; the interval also holds
what a seed does to the run that is forecast. A ladder of more rungs than the fewest first foretells its own largest
one: by as many times as that lies outside of its interval, the ladder counts as noisier than it looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import expit
from scipy.stats import t

from cogito_ray.sweeps.follow_ups.scale_spec import FEWEST_RUNGS

COVERAGE = 0.9
"""Of an interval."""
WALKERS, MOVES, STRETCH = 64, 600, 2.0
"""Of the ensemble: so many laws, each moved so often (the first half is forgotten), and how far at most."""
LEAST_NOISE = 2e-3
"""Relative standard deviation that a seed is taken to cause at the least, however alike a few runs came out."""
STRAIGHT = 0.9
"""Share of the first slope over the log of size that the last one may have at most."""
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


def forecast_loss(ladder: Sequence[Rung], parameters: int, tokens: int, *, seed: int = 0) -> ScalingForecast:
    """The loss of a run with so many parameters and tokens. Unforecastable for fewer than FEWEST_RUNGS sizes, values
    that are no positive numbers, or a ladder that does not bend as a law does."""
    _refuse_short(ladder)
    seen = np.array([(rung.parameters, rung.tokens, rung.value) for rung in ladder], dtype=float)
    if not (np.isfinite(seen).all() and (seen[:, 2] > 0).all()):
        raise Unforecastable("a run of the ladder has no finite positive loss")
    noise = max(_seed_noise(ladder), LEAST_NOISE)
    _refuse_straight(seen, noise)
    random, largest = np.random.default_rng(seed), seen[:, :2].prod(axis=1) == max(rung.compute for rung in ladder)
    below, missed = seen[~largest], 1.0
    if len(np.unique(below[:, :2], axis=0)) >= FEWEST_RUNGS:
        value, low, high, _ = _foretold(below, seen[largest][:1, :2], noise, random)
        missed = max(missed, abs(np.log(seen[largest, 2].mean() / value)) / (np.log(high / low) / 2))
    value, low, high, law = _foretold(seen, np.array([[parameters, tokens]], dtype=float), noise, random, missed)
    return ScalingForecast(value, low, high, law)


def _foretold(
    seen: Values, size: Values, noise: float, random: np.random.Generator, missed: float = 1.0
) -> tuple[float, float, float, str]:
    """(value, low, high, law) for a size (1, 2) from runs (R, 3), taken for `missed` times as noisy as they seem."""
    law = _Law(seen[:, :2], seen[:, 2])
    noise = missed * max(noise, law.residual(law.fit(LEAST_NOISE).x))
    values = law.at(law.posterior(noise, random), size)[:, 0]
    told = values * np.exp(noise * random.standard_normal(len(values)))
    low, high = np.quantile(told, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(np.median(values)), float(low), float(high), law.said(law.fit(noise).x)


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


def _refuse_straight(seen: Values, noise: float) -> None:
    """Rungs (R, 3) over whose sizes losses do not fall ever more slowly, as far as their noise lets one see: those of a
    law do, those of a model that has only begun to learn do not, and no law foretells when it will."""
    for axis, name in ((0, "parameters"), (1, "tokens")):
        bends = [_bend(seen[seen[:, 1 - axis] == other], axis, noise) for other in np.unique(seen[:, 1 - axis])]
        if np.median(bends) > 0:
            raise Unforecastable(
                f"with more {name} losses fall as fast at the ladder's end as at its beginning, so no law shows yet; "
                "use larger sizes"
            )


def _bend(seen: Values, axis: int, noise: float) -> float:
    """By how much the last slope over the log of size is steeper than it may be; below 0 where it is not. Slopes are
    those of a parabola through the means, so that no single run decides; what it leaves is noise, too."""
    sizes = np.unique(seen[:, axis])
    if len(sizes) < 3:
        return -1.0
    means, logs = np.array([seen[seen[:, axis] == size, 2].mean() for size in sizes]), np.log(sizes)
    parabola = np.polynomial.Polynomial.fit(logs, means, 2).convert()
    left = np.sqrt(((means - parabola(logs)) ** 2).sum() / max(1, len(sizes) - 3))
    first, last = -parabola.deriv()(np.array([logs[:2].mean(), logs[-2:].mean()]))
    return float(last - STRAIGHT * first - 4 * max(noise * means[-1], left) / (logs[-1] - logs[0]))


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

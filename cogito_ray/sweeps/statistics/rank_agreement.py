"""How far an early look can be trusted: does the order of trials at a rung foretell their order at the end?

Kendall's tau-b (10.1093/biomet/30.1-2.81) with a percentile bootstrap over trials (10.1214/aos/1176344552), and the
regret of picking the early look's winner. Only trials that were seen both early and at the end can tell: where early
stopping took the others, those are the better ones, which lie closer together, so tau errs low and says nothing of the
rest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
LEAST_TRIALS, MOST_TRIALS = 5, 1000
"""Of more, so many are drawn: memory grows with their square."""
RESAMPLES = 1000
COVERAGE = 0.9
WEAK = 0.3
"""An interval of tau that reaches below this says little about which trial will win."""


@dataclass(frozen=True)
class Certificate:
    """Agreement of two looks at the same trials."""

    trials: int
    tau: float | None
    """1 = same order, 0 = unrelated; None for too few trials."""
    low: float | None
    high: float | None
    """The interval that COVERAGE of the resampled taus lie in."""
    regret: float | None
    """What picking the early winner costs at the end, in the metric's unit; 0 = it is the final winner too."""
    span: float | None
    """Best to worst at the end: what the regret may be compared with."""

    @property
    def weak(self) -> bool:
        """Should nobody rely on it?"""
        return self.low is None or self.low < WEAK

    @property
    def verdict(self) -> str:
        """In a sentence for the report."""
        if self.tau is None or self.low is None:
            return f"only {self.trials} trials were seen at both: too few to tell ({LEAST_TRIALS} are the least)"
        if self.low < 0:
            return "weak: this early look may as well have tossed a coin"
        return "weak: the order may well change" if self.weak else "sound: the early order foretells the final one"


def certify(early: Mapping[str, float], final: Mapping[str, float], *, seed: int = 0) -> Certificate:
    """Of two looks at trials by name, each a cost to make small. Trials without both values are left out."""
    names = sorted(name for name in early.keys() & final.keys() if math.isfinite(early[name] + final[name]))
    if len(names) < LEAST_TRIALS:
        return Certificate(len(names), None, None, None, None, None)
    regret = final[min(names, key=early.__getitem__)] - min(final[name] for name in names)
    drawing, whole = np.random.default_rng(seed), len(names)
    if whole > MOST_TRIALS:
        names = [names[index] for index in drawing.permutation(whole)[:MOST_TRIALS]]
    first, last = (np.array([look[name] for name in names]) for look in (early, final))
    draws = drawing.multinomial(len(names), [1 / len(names)] * len(names), size=RESAMPLES)
    [tau] = _taus(first, last, np.ones((1, len(names))))
    low, high = np.quantile(_taus(first, last, draws.astype(float)), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Certificate(whole, float(tau), float(low), float(high), regret, float(np.ptp(last)))


def _taus(one: Values, two: Values, times: Values) -> Values:
    """(R,) tau-b of R samples that hold each trial so many `times` (R, trials); 0 where either look orders nothing.

    All at once: one call of scipy's for each resample takes seconds.
    """
    first, second = (np.sign(look[:, None] - look) for look in (one, two))      # (trials, trials) of each pair

    def pairs(kind: Values) -> Values:
        return np.asarray(((times @ kind) * times).sum(axis=1))

    untied = np.sqrt(pairs(first**2) * pairs(second**2))
    agree = pairs(first * second)
    return np.asarray(np.divide(agree, untied, out=np.zeros_like(untied), where=untied > 0))

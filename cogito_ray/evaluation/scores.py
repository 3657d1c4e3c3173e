"""Official metrics, each with a bootstrap interval (Efron 1979, doi:10.1214/aos/1176344552).

A model that says the same of every example has no correlation with anything: it scores 0 there, not an undefined value
that a table would hide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 500
COVERAGE = 0.95
Values = np.ndarray[tuple[int], np.dtype[Any]]


@dataclass(frozen=True)
class Score:
    value: float
    low: float
    """Of the interval that covers 95 % of resamples."""
    high: float


def _accuracy(labels: Values, predictions: Values) -> float:
    return float((labels == predictions).mean())


def _f1(labels: Values, predictions: Values) -> float:
    """Of class 1; 0 where it is neither present nor predicted."""
    from sklearn.metrics import f1_score  # slow to import, and needed only where labels are

    return float(f1_score(labels, predictions, zero_division=0.0))


def _pearson(labels: Values, predictions: Values) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(labels, predictions).statistic) if _vary(labels, predictions) else 0.0


def _spearman(labels: Values, predictions: Values) -> float:
    """Of ranks, ties sharing their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(labels, predictions).statistic) if _vary(labels, predictions) else 0.0


def _matthews(labels: Values, predictions: Values) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "pearson": _pearson,
    "spearman": _spearman,
    "matthews": _matthews,
}
OF_GRADES = {"pearson", "spearman"}


def value_of(metric: str, labels: Values, predictions: np.ndarray[Any, np.dtype[Any]]) -> float:
    """The metric of predictions (n,) or (n, 1) under labels (n,).

    ValueError where predictions are several columns, not finite, or labels do not vary where a metric needs them to.
    """
    return METRICS[metric](labels, _checked(metric, labels, predictions))


def score(metric: str, labels: Values, predictions: np.ndarray[Any, np.dtype[Any]], seed: int = 0) -> Score:
    """`value_of` with the interval that `seed` draws."""
    flat = _checked(metric, labels, predictions)
    draw = np.random.default_rng(seed)
    drawn = (draw.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
    values = [METRICS[metric](labels[chosen], flat[chosen]) for chosen in drawn]
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Score(METRICS[metric](labels, flat), float(low), float(high))


def _checked(metric: str, labels: Values, predictions: np.ndarray[Any, np.dtype[Any]]) -> Values:
    if predictions.shape not in ((len(labels),), (len(labels), 1)):
        raise ValueError(
            f"{metric}: {len(labels)} labels want one prediction each, got an array of shape {predictions.shape}; "
            "take the class of each row, or the one column of a regression"
        )
    if not np.isfinite(predictions).all():
        raise ValueError(f"{metric}: {(~np.isfinite(predictions)).sum()} of {len(labels)} predictions are not finite")
    if metric in OF_GRADES and not _vary(labels, labels):
        raise ValueError(f"{metric}: all {len(labels)} labels are {labels[0]}: there is nothing to correlate with")
    return predictions.reshape(len(labels))


def _vary(labels: Values, predictions: Values) -> bool:
    """Beyond the rounding of equal sums."""
    return all(np.ptp(values) > 1e-12 * np.abs(values).max(initial=0.0) for values in (labels, predictions))

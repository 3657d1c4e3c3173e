"""Official metrics, each with a bootstrap interval (Efron 1979, doi:10.1214/aos/1176344552).

A model that says the same of every example has no correlation with anything: it scores 0 there, not an undefined value
that a table would hide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RESAMPLES = 500
AT_ONCE = 50
"""Resamples in memory."""
COVERAGE = 0.95
ROUNDING, TINY = 1e-12, float(np.finfo(np.float64).tiny)
Values = np.ndarray[tuple[int], np.dtype[Any]]
Resampled = np.ndarray[tuple[int, int], np.dtype[Any]]


@dataclass(frozen=True)
class Score:
    """A metric's value and the interval in which it lies."""

    value: float
    low: float
    """Of the interval that covers 95 % of resamples."""
    high: float
    resamples: Values = field(repr=False, compare=False)
    """(R,) the value under each. Of as many rows or groups they are the same draws, so that two models' may be
    subtracted (paired bootstrap)."""


def _accuracies(labels: Resampled, predictions: Resampled) -> Values:
    accuracies: Values = (labels == predictions).mean(axis=1)
    return accuracies


def _f1s(labels: Resampled, predictions: Resampled) -> Values:
    """Of class 1; 0 where it is neither present nor predicted."""
    both = ((labels == 1) & (predictions == 1)).sum(axis=1)
    either = (labels == 1).sum(axis=1) + (predictions == 1).sum(axis=1)
    f1s: Values = 2 * both / np.maximum(either, 1)
    return f1s


def _pearsons(labels: Resampled, predictions: Resampled) -> Values:
    """Of two classes this is Matthews' coefficient, too."""
    centred = [values - values.mean(axis=1, keepdims=True) for values in (labels, predictions)]
    one, two = (values / np.abs(values).max(axis=1, keepdims=True).clip(min=TINY) for values in centred)
    products = (one * two).sum(axis=1)
    norms = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    vary = [np.ptp(values, axis=1) > ROUNDING * np.abs(values).max(axis=1) for values in (labels, predictions)]
    pearsons: Values = np.where(vary[0] & vary[1], products / norms.clip(min=TINY), 0.0)
    return pearsons


def _spearmans(labels: Resampled, predictions: Resampled) -> Values:
    """Of ranks, ties sharing their mean rank."""
    from scipy.stats import rankdata

    vary = np.ptp(predictions, axis=1) > ROUNDING * np.abs(predictions).max(axis=1)
    ranks = [rankdata(values, axis=1) for values in (labels, predictions)]
    return np.where(vary, _pearsons(ranks[0], ranks[1]), 0.0)


METRICS: dict[str, Callable[[Resampled, Resampled], Values]] = {
    "accuracy": _accuracies,
    "f1": _f1s,
    "pearson": _pearsons,
    "spearman": _spearmans,
    "matthews": _pearsons,
}
"""Of each row of labels (R, n) and predictions (R, n): a library, called for each resample, takes seconds."""
OF_GRADES, OF_TWO_CLASSES = {"pearson", "spearman"}, {"f1", "matthews"}


def value_of(metric: str, labels: Values, predictions: np.ndarray[Any, np.dtype[Any]]) -> float:
    """The metric of predictions (n,) or (n, 1) under labels (n,).

    ValueError where predictions are several columns, not finite, or labels do not vary where a metric needs them to, or
    are of more than two classes where it is of two.
    """
    return float(METRICS[metric](labels[None], _checked(metric, labels, predictions)[None])[0])


def score(metric: str, labels: Values, predictions: np.ndarray[Any, np.dtype[Any]], seed: int = 0) -> Score:
    """`value_of` with the interval that `seed` draws."""
    flat = _checked(metric, labels, predictions)
    draw, values = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // AT_ONCE):
        chosen = draw.integers(0, len(labels), (AT_ONCE, len(labels)))
        values.append(METRICS[metric](labels[chosen], flat[chosen]))
    return _score(value_of(metric, labels, flat), np.concatenate(values))


def cluster_bootstrap(values: np.ndarray[Any, np.dtype[Any]], groups: Values, seed: int = 0) -> Score:
    """The mean of values (n,) that belong to groups (n,), which are resampled whole: questions about one document are
    no independent evidence. Of values (n, K), the geometric mean of the means of K metrics."""
    parts = values.reshape(len(values), -1)                                     # (n, K)
    _, group = np.unique(groups, return_inverse=True)
    count = group.max() + 1
    sums = np.stack([np.bincount(group, weights=part, minlength=count) for part in parts.T], axis=1)        # (G, K)
    sizes = np.bincount(group, minlength=count)
    chosen = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)           # (R, G)
    means = np.concatenate([chosen @ sums / (chosen @ sizes)[:, None], parts.mean(axis=0, keepdims=True)])
    drawn = means.prod(axis=1) ** (1 / parts.shape[1])                          # (R + 1,)
    return _score(float(drawn[-1]), drawn[:-1])


def _score(value: float, resamples: Values) -> Score:
    low, high = np.quantile(resamples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Score(value, float(low), float(high), resamples)


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
    if metric in OF_TWO_CLASSES and not {*np.unique(labels)} <= {0, 1}:
        raise ValueError(f"{metric}: is of classes 0 and 1, but labels are {np.unique(labels)}; score by accuracy")
    return predictions.reshape(len(labels))


def _vary(labels: Values, predictions: Values) -> bool:
    """Beyond the rounding of equal sums."""
    return all(np.ptp(values) > ROUNDING * np.abs(values).max(initial=0.0) for values in (labels, predictions))

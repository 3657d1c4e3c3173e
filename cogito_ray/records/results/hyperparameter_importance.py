"""Which axes moved a goal: functional ANOVA over a forest (fANOVA, Hutter et al., ICML 2014), with its uncertainty.

A share is what an axis alone and with others explains of the variation between trials. With few trials the forest sees
patterns in noise, so the shares are drawn again from resampled trials (bootstrap) and come with the range they took.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from cogito_ray.records.ledger import Status
from cogito_ray.records.sweep_record import Record, Trial

LEAST_TRIALS, MOST_TRIALS = 8, 128
"""A fit takes seconds where they are hundreds, and its time grows faster than they do."""
RESAMPLES = 16
TREES = 32


@dataclass(frozen=True)
class Share:
    """How much of the differences between trials one axis explains: from 0 to 1."""

    path: str
    share: float
    """Of the explained variation; all shares add up to 1."""
    low: float
    high: float
    """Between these lay four in five of the resampled shares."""


@dataclass(frozen=True)
class Importances:
    """Of all axes, for one metric at one step."""

    shares: tuple[Share, ...]
    """Largest first; empty where they cannot be told."""
    trials: int
    step: int | None
    """Trials are compared after this many steps; those without a finite value there are left out."""
    caveat: str
    """Why there are none, or how far to trust them."""


def common_step(record: Record, metric: str) -> int | None:
    """The step at which most of the trials that no accident cut short reported a finite value, the last of several."""
    sound = [trial for trial in _whole(record) if trial.status in (Status.COMPLETED, Status.STOPPED)]
    counts = Counter(step for trial in sound for step, value in trial.curve(metric) if math.isfinite(value))
    return max(counts, key=lambda step: (counts[step], step), default=None)


def values_at(record: Record, metric: str, step: int) -> list[tuple[Trial, float]]:
    """The metric's finite value after `step` steps, of every trial that has one."""
    reached = [trial for trial in _whole(record) if step in trial.reports]
    measured = [(trial, trial.reports[step].metrics.get(metric, math.nan)) for trial in reached]
    return [(trial, value) for trial, value in measured if math.isfinite(value)]


def _whole(record: Record) -> list[Trial]:
    """Trials but copies, whose first steps were those of others, with other settings."""
    return [trial for trial in record.trials.values() if trial.branch is None]


def importances(record: Record, metric: str) -> Importances:
    """Shares of each axis in how far the metric moved, after the step that most trials reached."""
    step = common_step(record, metric)
    measured = [] if step is None else values_at(record, metric, step)
    if len(measured) < LEAST_TRIALS:
        few = f"{_trials(len(measured))}: too few to tell; {LEAST_TRIALS} are the least"
        return Importances((), len(measured), step, few)
    if len({value for _, value in measured}) < 2:
        return Importances((), len(measured), step, "all trials reached the same value: nothing to explain")
    known, reached = sum(trial.end is not None for trial, _ in measured), len(measured)
    measured = _some(measured)
    whole = _shares(record, measured, seed=0)
    draws = np.random.default_rng(0).integers(len(measured), size=(RESAMPLES, len(measured)))
    again = [_shares(record, [measured[index] for index in draw], seed=seed) for seed, draw in enumerate(draws)]
    shares = []
    for path, share in sorted(whole.items(), key=lambda item: -item[1]):
        low, high = np.quantile([drawn.get(path, 0.0) for drawn in again], [0.1, 0.9])
        shares.append(Share(path, share, min(float(low), share), max(float(high), share)))
    caveats = [f"{path} varies in some trials only: no share" for path in sorted(set(record.axes) - set(whole))]
    over = sum(trial.end is not None for trial in _whole(record))
    if known < over:
        caveats.append(f"{over - known} of {_trials(over)} without a finite value there left out")
    if reached > len(measured):
        caveats.append(f"{len(measured)} of them, drawn at random, were compared")
    if len(measured) < 10 * len(whole):
        caveats.append(f"{_trials(len(measured))} for {len(whole)} axes are few: read the ranges, not the bars")
    return Importances(tuple(shares), reached, step, "; ".join(caveats))


def _some(measured: list[tuple[Trial, float]]) -> list[tuple[Trial, float]]:
    """At most MOST_TRIALS of them, in their order."""
    chosen = np.random.default_rng(0).permutation(len(measured))[:MOST_TRIALS]
    return [measured[index] for index in sorted(chosen)]


def _trials(count: int) -> str:
    return f"{count} trial" if count == 1 else f"{count} trials"


def _shares(record: Record, measured: list[tuple[Trial, float]], *, seed: int) -> dict[str, float]:
    import optuna  # with scikit-learn, two seconds that a reader of a page without importances does not wait

    from cogito_ray.sweeps.space.optuna_distributions import distribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {path: distribution(domain) for path, domain in record.axes.items()}
    for trial, value in measured:
        varied = {path: distributions[path] for path in trial.sample}
        study.add_trial(optuna.create_trial(params=trial.sample, distributions=varied, value=value))
    if len({value for _, value in measured}) < 2:  # a resample may hold one trial many times
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {path: float(share) for path, share in found.items()}

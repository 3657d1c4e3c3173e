"""The median stopping rule (Vizier, 10.1145/3097983.3098043) as a pure policy, for one goal.

A trial goes on while its best value so far is no worse than the median of what others averaged over as many steps. One
that breaks a constraint is worse than all that do not; where the median breaks it, too, it is enough to be no worse in
the goal, or in how far the constraints are broken, for they need only hold at the end.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, median_low
from typing import Literal

from pydantic import PositiveInt

from cogito_ray.sweeps.early_stopping.policy import PlannedTrials, Policy, PolicySpec, Verdict, measured
from cogito_ray.sweeps.goals.goal_spec import Aim, Merit


class MedianSpec(PolicySpec):
    """For one goal: no rungs, but a comparison at every report."""

    kind: Literal["median"] = "median"
    first_step: PositiveInt
    """Steps after which a trial may be stopped for the first time."""
    least: PositiveInt = 4
    """Other trials that must have come as far before anyone is stopped."""

    def faults(self, trials: PlannedTrials) -> list[str]:
        shortest = min(run.training.steps for run in trials.runs)
        if self.first_step < shortest:
            return []
        return [
            f"early_stopping.first_step: {self.first_step} is not before the last step ({shortest}) of every trial; "
            f"make it less than {shortest}, or use kind: none"
        ]

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        return Median(self.first_step, self.least, aim)


@dataclass
class Median(Policy):
    """Every trial's curve. Fed the same reports in the same order it decides the same: so it resumes."""

    first_step: int
    least: int
    aim: Aim
    _curves: dict[str, dict[int, Merit]] = field(default_factory=dict)
    _means: dict[int, "_Means"] = field(default_factory=dict)
    """By step, of all trials that have come as far."""
    _verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps; each of its steps is decided once."""
        if (trial, step) not in self._verdicts:
            self._record(trial, step, self.aim.merit(metrics))
            self._verdicts[trial, step] = self._decide(trial, step, metrics)
        return self._verdicts[trial, step]

    def _record(self, trial: str, step: int, merit: Merit) -> None:
        curve = self._curves.setdefault(trial, {})
        before = max(curve, default=0)
        curve[step] = merit
        if step not in self._means:
            self._means[step] = _Means()
            for other, known in self._curves.items():
                self._means[step].set(other, known if max(known) >= step else {}, step)
        for at, means in self._means.items():
            if min(step, before + 1) <= at <= max(step, before):    # no other mean has changed
                means.set(trial, curve, at)

    def _decide(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        if step < self.first_step:
            return Verdict(keep=True)
        stop = Verdict(False, step, f"{measured(self.aim, metrics)} worse than the median at step {step}")
        own = _known(self._curves[trial], step)
        if not own:
            return stop
        others = self._means[step].without(trial)
        return Verdict(keep=True) if len(others) < self.least or _no_worse(own, others) else stop


class _Means:
    """Of the curves up to one step: (excess, cost) of each trial, in order."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, float]] = {}
        self._sorted = list[tuple[float, float]]()

    def set(self, trial: str, curve: Mapping[int, Merit], step: int) -> None:
        """Anew; none of a trial that measured nothing finite."""
        if (before := self._of.pop(trial, None)) is not None:
            self._sorted.remove(before)
        if known := _known(curve, step):
            mean = fmean(excess for excess, _ in known), fmean(cost for _, cost in known)
            self._of[trial] = mean
            insort(self._sorted, mean)

    def without(self, trial: str) -> list[tuple[float, float]]:
        """Those of the others."""
        own = self._of.get(trial)
        place = len(self._sorted) if own is None else bisect_left(self._sorted, own)
        return self._sorted[:place] + self._sorted[place + 1 :]


def _no_worse(own: list[tuple[float, float]], others: list[tuple[float, float]]) -> bool:
    """Is the best of its (excess, cost) no worse than the median of the others', which are sorted?"""
    median = others[(len(others) - 1) // 2]
    if min(own) <= median:
        return True
    excess, cost = (median_low(values) for values in zip(*others, strict=True))
    return median[0] > 0 and (min(e for e, _ in own) <= excess or min(c for _, c in own) <= cost)


def _known(curve: Mapping[int, Merit], step: int) -> list[tuple[float, float]]:
    """(excess, cost) of every finite report up to `step`."""
    return [(merit.excess, merit.costs[0]) for at, merit in curve.items() if at <= step and merit.finite]

"""Population based training (arXiv:1711.09846) as a pure policy: who is stopped, and who is copied in its place.

At every multiple of `every` steps, a trial among the worst quantile of those that have come as far is over. A copy of
one of the best quantile takes its place: it goes on from that one's checkpoint of the same step, with other settings
where those may change while training (`sweeps.explore`). Quantiles are those of Ray Tune's PopulationBasedTraining;
other than there, trials are compared, and copied, at equal steps. So no trial is ahead for being older, the population
may be larger than what runs at a time, and every line of descent takes as many steps as one trial: nothing is spared.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cogito_ray.sweeps.early_stopping.policy import Copy, PlannedTrials, Policy, PolicySpec, Verdict, measured
from cogito_ray.sweeps.goals.goal_spec import Aim, Merit
from cogito_ray.sweeps.goals.pareto_fronts import by_spread


class PopulationSpec(PolicySpec):
    """`budget.trials` is the size of the population; the copies, each in place of a stopped trial, are not counted."""

    kind: Literal["population"] = "population"
    many_goals: ClassVar[bool] = True
    every: PositiveInt
    """Steps between two comparisons, each of which needs a checkpoint: see `training.checkpoints.milestone_every`."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the trials that are stopped at each, and share of those that may be copied."""
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Probability with which a copy's setting is drawn anew, instead of near what it was."""

    def faults(self, trials: PlannedTrials) -> list[str]:
        return [*self._step_faults(trials), *self._trial_faults(trials)]

    def _step_faults(self, trials: PlannedTrials) -> Iterator[str]:
        place, steps = "early_stopping.every", sorted({run.training.steps for run in trials.runs})
        if self.every >= steps[0]:
            yield (
                f"{place}: {self.every} is not before the last step ({steps[0]}) of every trial; make it less, or use "
                "kind: none"
            )
        if len(steps) > 1:
            yield f"{place}: trials of {steps} steps are no population; fix training.steps under run"
        reports = sorted({run.training.report_every for run in trials.runs if self.every % run.training.report_every})
        if reports:
            yield f"{place}: {self.every} is no multiple of training.report_every {reports}; make it one"
        kept = {run.training.checkpoints.milestone_every for run in trials.runs}
        if any(not each or self.every % each for each in kept):
            yield (
                "run.training.checkpoints.milestone_every: trials are copied from checkpoints of every "
                f"{self.every}th step, which must stay; write milestone_every: {self.every}"
            )

    def _trial_faults(self, trials: PlannedTrials) -> Iterator[str]:
        from cogito_ray.sweeps.early_stopping.pbt_perturbation import movable  # with Optuna, which few ask for

        if not movable(trials.space):
            yield (
                "early_stopping.kind: copies could vary nothing, for no axis that is sampled may change while a trial "
                "trains; let training.optimizer.learning_rate vary, or others of training.optimizer, "
                "training.schedule, loss.weighting.weights or objective, or use asha"
            )
        if trials.count < 2:
            yield "budget.trials: a population of one compares with nobody; make it at least 2"
        if trials.seeds:
            yield "seeds: a copy has another trial's past, which other seeds do not repeat; leave it out"
        if trials.promoted:
            yield "promote: a copy has another trial's past, which a full run does not repeat; leave it out"

    def held(self, steps: int, *, trials: int, at_once: int) -> int:
        """The best quantile of every comparison that is not over: of one, if all train side by side and in step; of
        all, if some only start when others have ended."""
        comparisons = 1 if trials <= at_once else (steps - 1) // self.every
        return comparisons * math.ceil((trials + 1) * self.quantile)

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        return Population(self, steps, aim, seed)


@dataclass(frozen=True)
class _Recorded:
    merit: Merit
    said: str
    """The figures, in words."""
    copied: bool
    """May it be copied? Not who was stopped, for it left no checkpoint; nor who broke a constraint."""


@dataclass
class Population(Policy):
    """Who has come how far, and how well. Fed the same reports in the same order it decides the same: so it resumes."""

    spec: PopulationSpec
    steps: int
    aim: Aim
    seed: int
    _copies: list[Copy] = field(default_factory=list)
    _recorded: dict[int, dict[str, _Recorded]] = field(default_factory=dict)
    _verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)

    @property
    def copies(self) -> Sequence[Copy]:
        """One per trial that was stopped where others may be copied."""
        return self._copies

    @property
    def sources(self) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) of who may, with the next comparison at that step, be among those to be copied."""
        return {
            (name, step)
            for step, recorded in self._recorded.items()
            for name in _ordered(recorded)[: math.ceil((len(recorded) + 1) * self.spec.quantile)]
            if recorded[name].copied
        }

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps; it is judged once at each multiple of `every` before the last step."""
        if step % self.spec.every or step >= self.steps:
            return Verdict(keep=True)
        if (trial, step) not in self._verdicts:
            self._verdicts[trial, step] = self._decide(trial, step, metrics)
        return self._verdicts[trial, step]

    def _decide(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        merit, said, others = self.aim.merit(metrics), measured(self.aim, metrics), self._recorded.get(step, {})
        own = _Recorded(merit, said, copied=merit.feasible)
        ordered = _ordered({trial: own} | others)                  # among equals, who comes later is ahead
        share = min(math.ceil(len(ordered) * self.spec.quantile), len(ordered) // 2)
        better = ordered[: ordered.index(trial)] if merit.finite else ordered
        parents = self._parents(better, share, others)
        stops = not merit.finite or (bool(parents) and trial in ordered[len(ordered) - share :])
        self._recorded[step] = others | {trial: _Recorded(merit, said, copied=own.copied and not stops)}
        if not stops:
            return Verdict(True, step)
        cause = f"{said} among the worst {share or 1} of {len(others) + 1} at step {step}"
        if parents:
            self._copies.append(Copy(len(self._copies), step, parents, self.spec.resample, self.seed))
            cause += f": in its place, a copy of {parents[0]} ({others[parents[0]].said})"
        return Verdict(False, step, cause)

    def _parents(self, better: Sequence[str], share: int, others: Mapping[str, _Recorded]) -> tuple[str, ...]:
        """Who may be copied, in the order in which they are to be asked."""
        best = [name for name in better[: max(share, 1)] if others[name].copied]
        rest = [name for name in better[max(share, 1) :] if others[name].copied]
        drawn = np.random.default_rng((self.seed, len(self._copies), 0)).permutation(len(best))
        return tuple([best[index] for index in drawn] + rest)


def _ordered(recorded: Mapping[str, _Recorded]) -> list[str]:
    """Names of those that measured something finite, best first; the earlier of equals."""
    names = list(recorded)
    return [names[index] for index in by_spread([one.merit for one in recorded.values()], len(names))]

"""Asynchronous successive halving as pure policies, with one goal or several; losers of a rung are stopped or paused.

Rungs stand at first_rung * eta^k steps, below the last step. A trial that reaches a rung goes on if it is among the
best 1/eta of those recorded there so far, itself included; each goal after the first adds a place. With one goal this
is ASHA (arXiv:1810.05934); with several, trials are compared by front and then by spread (multi-objective ASHA,
arXiv:2106.12639). One that breaks a constraint comes after all that do not. A constraint need only hold at the end,
though, so those that break it are compared by how far they do as by one more goal, which adds a place while nobody at
the rung keeps all constraints.

pause: the others wait, and go on once enough worse ones have come that they are among the best 1/eta. stop: they are
over, and the first at a rung always passes, so that who came first may take the steps of who is better.
"""

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from cogito_ray.sweeps.early_stopping.policy import PlannedTrials, Policy, PolicySpec, Verdict, measured
from cogito_ray.sweeps.goals.goal_spec import Aim
from cogito_ray.sweeps.goals.pareto_fronts import SpreadOrder


class AshaSpec(PolicySpec):
    """For one goal."""

    kind: Literal["asha"] = "asha"
    first_rung: PositiveInt
    """Steps after which a trial may be stopped for the first time."""
    eta: int = Field(3, ge=2)
    """One in `eta` trials passes a rung; the next rung stands at `eta` times its steps."""
    mode: Literal["stop", "pause"] = "pause"
    """What becomes of the others. pause: they wait with a checkpoint, and go on once enough worse ones have come. stop:
    they are over, and no checkpoint is kept for them, but whoever comes first at a rung passes, however bad."""

    def rungs(self, steps: int) -> tuple[int, ...]:
        every = (self.first_rung * self.eta**k for k in count())
        return tuple(takewhile(lambda rung: rung < steps, every))

    def faults(self, trials: PlannedTrials) -> list[str]:
        shortest = min(run.training.steps for run in trials.runs)
        if self.first_rung < shortest:
            return []
        return [
            f"early_stopping.first_rung: {self.first_rung} is not before the last step ({shortest}) of every trial, "
            f"so that some are never compared; make it less than {shortest}, or use kind: none"
        ]

    @property
    def pauses(self) -> bool:
        """May who falls behind at a rung go on later?"""
        return self.mode == "pause"

    def held(self, steps: int, *, trials: int, at_once: int) -> int:
        """One of each trial that waits: all may that do not run."""
        return max(0, trials - at_once - 1) if self.pauses else 0

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        return self.halving(self.rungs(steps), aim)

    def halving(self, rungs: tuple[int, ...], aim: Aim) -> "Halving | Pausing":
        """One that compares at these rungs."""
        return (Pausing if self.pauses else Halving)(rungs, self.eta, aim)


class ParetoAshaSpec(AshaSpec):
    """For one goal or several."""

    kind: Literal["pareto_asha"] = "pareto_asha"  # type: ignore[assignment]  # another kind of the same settings
    many_goals: ClassVar[bool] = True


@dataclass
class Halving(Policy):
    """What was recorded at each rung. Fed the same reports in the same order it decides the same: so it resumes."""

    rungs: tuple[int, ...]
    eta: int
    aim: Aim
    _recorded: dict[int, SpreadOrder] = field(default_factory=lambda: defaultdict(SpreadOrder))
    _verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps. They count for the highest rung reached; each rung decides once."""
        rung = max((rung for rung in self.rungs if rung <= step), default=None)
        if rung is None:
            return Verdict(keep=True)
        if (trial, rung) not in self._verdicts:
            here = self._recorded[rung]
            here.add(trial, self.aim.merit(metrics))
            places = max(1, len(here) // self.eta) + extra_places(here, self.aim)
            passes = here.is_among(trial, places, newest_first=True)
            self._verdicts[trial, rung] = Verdict(passes, rung, "" if passes else lost(self, metrics, rung))
        return self._verdicts[trial, rung]


@dataclass
class Pausing(Policy):
    """Who stands at each rung, and who has left it. Its promotions follow from the reports of those promoted."""

    rungs: tuple[int, ...]
    eta: int
    aim: Aim
    _waiting: dict[str, Verdict] = field(default_factory=dict)
    _recorded: dict[int, SpreadOrder] = field(default_factory=lambda: defaultdict(SpreadOrder))

    @property
    def waiting(self) -> Mapping[str, Verdict]:
        return self._waiting

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps. They count for the highest rung reached, and once."""
        rung = max((rung for rung in self.rungs if rung <= step), default=None)
        if rung is None:
            return Verdict(keep=True)
        here = self._recorded[rung]
        if trial not in here:
            self.resumed(trial)
            here.add(trial, self.aim.merit(metrics))
            if not here.is_among(trial, self._places(here, idle=False)):
                self._waiting[trial] = Verdict(False, rung, lost(self, metrics, rung), waits=True)
                here.wait(trial, True)
        return self._waiting.get(trial, Verdict(True, rung))

    def promoted(self, among: Container[str], *, idle: bool) -> str | None:
        """Who of those that wait goes on now, the farthest first. When `idle`, somebody leaves every rung."""
        for rung in reversed(self.rungs):
            here = self._recorded[rung]
            if (found := here.first(self._places(here, idle=idle), among)) is not None:
                return found
        return None

    def resumed(self, trial: str) -> None:
        if (verdict := self._waiting.pop(trial, None)) is not None and verdict.rung is not None:
            self._recorded[verdict.rung].wait(trial, False)

    def _places(self, here: SpreadOrder, *, idle: bool) -> int:
        passing = max(len(here) // self.eta, int(idle))
        return passing + extra_places(here, self.aim) if passing else 0


def lost(policy: Halving | Pausing, metrics: Mapping[str, float], rung: int) -> str:
    """Why a trial does not go on."""
    return f"{measured(policy.aim, metrics)} not among the best 1/{policy.eta} at rung {rung}"


def extra_places(here: SpreadOrder, aim: Aim) -> int:
    """One for each goal but the first, so that the best of every goal goes on however few came; and one for who breaks
    the constraints least, while nobody keeps them."""
    if here.feasible.names:
        return len(aim.goals) - 1
    return len(aim.goals) if here.infeasible.names else 0

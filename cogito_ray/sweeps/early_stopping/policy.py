"""What every early-stopping policy is: it hears what trials measure, and says of each whether it goes on.

A policy is pure: fed the same reports in the same order it decides the same, so a resumed sweep replays its ledger.
"""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.random import Generator

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.goals.goal_spec import Aim

if TYPE_CHECKING:
    from cogito_ray.run_spec import RunSpec
    from cogito_ray.sweeps.space.search_space import Space


@dataclass(frozen=True)
class Verdict:
    """What a policy says of a trial that has reported."""

    keep: bool
    rung: int | None = None
    """The rung, in steps, at which this was decided; None where none was reached."""
    cause: str = ""
    """Why it does not go on."""
    waits: bool = False
    """It does not go on now, but may later."""


@dataclass(frozen=True)
class Copy:
    """What takes the place of a trial that was stopped."""

    number: int
    """Order of decision, from 0."""
    step: int
    """At which it branches off."""
    parents: tuple[str, ...]
    """Whom to copy, the first that neither died nor lacks a checkpoint there: of the best quantile in a drawn order,
    then all that were better than the stopped one, the best first."""
    resample: float
    seed: int

    def draw(self) -> Generator:
        """What its settings are drawn with, the same in every process."""
        return np.random.default_rng((self.seed, self.number, 1))


@dataclass(frozen=True)
class PlannedTrials:
    """The trials that a policy is to judge, before any of them starts."""

    space: "Space"
    runs: Sequence["RunSpec"]
    """Of the points that were tried as runs."""
    count: int
    """`budget.trials`."""
    seeds: int
    """Further runs of each finalist."""
    promoted: bool
    """Are full runs to be derived from the best?"""


class Policy(Protocol):
    """One that only ever stops trials needs to write `report` alone."""

    @property
    def waiting(self) -> Mapping[str, Verdict]:
        """Trials that do not go on now, but may later, and why."""
        return {}

    @property
    def copies(self) -> Sequence[Copy]:
        """What is to take the place of stopped trials, in the order in which that was decided."""
        return ()

    @property
    def sources(self) -> Collection[tuple[str, int]]:
        """Checkpoints (trial, step) from which copies may have to go on that are not decided yet, if others still come
        to that step."""
        return ()

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """May the trial go on, having measured this after `step` steps? A step told twice gets the same answer."""

    def promoted(self, among: Container[str], *, idle: bool) -> str | None:
        """Which of these trials, all of which wait, goes on now, if any. It waits until it has `resumed`, so that
        whoever asks again is told the same. `idle`: nothing runs, and nothing new can start."""
        return None

    def resumed(self, trial: str) -> None:
        """A trial that waited has started again."""
        return None


class PolicySpec(Spec):
    """Settings of a policy. One for a single goal, that compares at every report and keeps nothing for whom it stops,
    needs to write `policy` alone, besides its kind."""

    many_goals: ClassVar[bool] = False
    """Does it compare by several goals, too?"""

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Steps, ascending, at which trials of `steps` steps are compared; none where the kind names none."""
        return ()

    def faults(self, trials: PlannedTrials) -> list[str]:
        """What is wrong with this for such trials."""
        return []

    def held(self, steps: int, *, trials: int, at_once: int) -> int:
        """Checkpoints that must stay at a time, besides those of the trials under way and of the best one."""
        return 0

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        """A fresh policy for trials of `steps` steps."""
        raise NotImplementedError


def measured(aim: Aim, metrics: Mapping[str, float]) -> str:
    """The goals' metrics and what broke constraints, in words."""
    values = [f"{goal.metric} {metrics[goal.metric]:.4g}" for goal in aim.goals if goal.metric in metrics]
    return ", ".join([*(values or ["nothing measured"]), *aim.broken(metrics)])

"""Who is stopped early: the kinds of policies, and what all of them are.

A policy is pure: fed the same reports in the same order it decides the same, so a resumed sweep replays its ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.early_stopping.asha import AshaSpec, ParetoAshaSpec, Verdict
from cogito_ray.sweeps.early_stopping.hyperband import HyperbandSpec
from cogito_ray.sweeps.early_stopping.median_rule import MedianSpec
from cogito_ray.sweeps.early_stopping.population_based_training import Copy, PopulationSpec
from cogito_ray.sweeps.goals import Aim

if TYPE_CHECKING:
    from cogito_ray.run_spec import RunSpec
    from cogito_ray.sweeps.sweep_spec import SweepSpec


class Policy(Protocol):
    @property
    def waiting(self) -> Mapping[str, Verdict]:
        """Trials that do not go on now, but may later, and why."""

    @property
    def copies(self) -> Sequence[Copy]:
        """What is to take the place of stopped trials, in the order in which that was decided."""

    @property
    def sources(self) -> Collection[tuple[str, int]]:
        """Checkpoints (trial, step) from which copies may have to go on that are not decided yet, if others still come
        to that step."""

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """May the trial go on, having measured this after `step` steps? A step told twice gets the same answer."""

    def promoted(self, *, idle: bool) -> str | None:
        """A trial that waits and is to go on now, if any. `idle`: nothing runs, and nothing new can start."""

    def resumed(self, trial: str) -> None:
        """A trial that waited has started again, as was decided before the policy was fed its reports anew."""


class NoStoppingSpec(Spec):
    """Every trial runs to its last step."""

    kind: Literal["none"] = "none"
    many_goals: ClassVar[bool] = True

    def rungs(self, steps: int) -> tuple[int, ...]:
        return ()

    def faults(self, sweep: SweepSpec, runs: Sequence[RunSpec]) -> list[str]:
        return []

    def held(self, steps: int, *, trials: int, at_once: int) -> int:
        """Checkpoints that must stay at a time, besides those of the trials under way and of the best one."""
        return 0

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> NoStopping:
        return NoStopping()


class NoStopping:
    waiting: ClassVar[Mapping[str, Verdict]] = MappingProxyType({})
    copies: ClassVar[tuple[()]] = ()
    sources: ClassVar[tuple[()]] = ()

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        return Verdict(keep=True)

    def promoted(self, *, idle: bool) -> str | None:
        return None

    def resumed(self, trial: str) -> None:
        """Nobody waits."""


StoppingSpec = Annotated[
    NoStoppingSpec | AshaSpec | ParetoAshaSpec | HyperbandSpec | MedianSpec | PopulationSpec,
    Field(discriminator="kind")
]

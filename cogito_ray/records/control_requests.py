"""What may be asked of a sweep while it runs, and what of that is in force. Pure."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.budget_spec import BudgetSpec
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree

ON_REQUEST = "on request"
"""Why somebody paused or stopped a trial."""


class StopTrial(Spec):
    """It is over, with what it reached."""

    action: Literal["stop_trial"] = "stop_trial"
    trial: str


class PauseTrial(Spec):
    """It leaves a checkpoint and waits until it is resumed, while others go on."""

    action: Literal["pause_trial"] = "pause_trial"
    trial: str


class ResumeTrial(Spec):
    """It goes on from there."""

    action: Literal["resume_trial"] = "resume_trial"
    trial: str


class PauseSweep(Spec):
    """All trials leave a checkpoint, and none starts until the sweep is resumed."""

    action: Literal["pause_sweep"] = "pause_sweep"


class ResumeSweep(Spec):
    """They go on."""

    action: Literal["resume_sweep"] = "resume_sweep"


class AddPoint(Spec):
    """A further trial, besides those of the budget, at this point. What the point leaves out is drawn."""

    action: Literal["add_point"] = "add_point"
    point: Sample


class ChangeBudget(Spec):
    """Such as `+4h` (of `wall`), `cpu_hours=20` or `trials=+8`."""

    action: Literal["change_budget"] = "change_budget"
    changes: Annotated[tuple[str, ...], Field(min_length=1)]


class SetConcurrency(Spec):
    """Trials at a time, from now on."""

    action: Literal["set_concurrency"] = "set_concurrency"
    trials: PositiveInt


ControlRequest = Annotated[
    StopTrial | PauseTrial | ResumeTrial | PauseSweep | ResumeSweep | AddPoint | ChangeBudget | SetConcurrency,
    Field(discriminator="action"),
]


@dataclass
class SweepLimits:
    """How much a sweep may do: as its file says, and as was asked since. It holds until the file says otherwise."""

    budget: BudgetSpec | None = None
    concurrency: int | None = None
    """None = as many trials as there is room for."""
    is_paused: bool = False
    _file: Tree = field(default_factory=dict)

    def open(self, spec: Tree) -> None:
        """A driver starts, with these settings in its file."""
        file = {name: spec[name] for name in ("budget", "concurrency") if spec.get(name) is not None}
        if file != self._file:
            budget, at_once = file.get("budget"), file.get("concurrency")
            self._file, self.budget = file, None if budget is None else BudgetSpec.model_validate(budget)
            self.concurrency = at_once if isinstance(at_once, int) else None

    def apply(self, request: ControlRequest) -> None:
        """This was asked, and granted."""
        match request:
            case PauseSweep() | ResumeSweep():
                self.is_paused = isinstance(request, PauseSweep)
            case SetConcurrency():
                self.concurrency = request.trials
            case ChangeBudget() if self.budget is not None:
                self.budget = self.budget.changed(request.changes)
            case AddPoint() if self.budget is not None:
                self.budget = self.budget.changed(["trials=+1"])
            case _:
                pass

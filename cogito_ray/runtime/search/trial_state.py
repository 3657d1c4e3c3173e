"""A trial of the search, and where it stands."""

from dataclasses import dataclass, field
from enum import Enum, auto

from optuna.trial import Trial

from cogito_ray.records.ledger import TrialProposed
from cogito_ray.runtime.trial_recorder import Config
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import get

KEEP = Verdict(keep=True)


class Phase(Enum):
    DUE = auto()
    """To be handed out: proposed just now, or interrupted."""
    RUNNING = auto()
    WAITING = auto()
    """It has left at a rung, and may go on later."""
    OVER = auto()


@dataclass
class Handed:
    proposal: TrialProposed
    told: Trial
    """In the study."""
    phase: Phase = Phase.DUE
    failed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    """The last that were heard of."""
    reports: dict[int, list[float]] = field(default_factory=dict)
    """Step -> the goals' values, of every report where all are finite."""
    step: int = 0
    """Last one reported."""
    verdict: Verdict = KEEP
    """On its last report."""

    @property
    def name(self) -> str:
        return self.proposal.trial

    @property
    def sample(self) -> Sample:
        return self.proposal.sample

    @property
    def branch(self) -> tuple[str, int] | None:
        """The trial of which it is a copy, and the step at which it branches off."""
        run, step = get(self.proposal.spec, "branch.run"), get(self.proposal.spec, "branch.step")
        return (run, step) if isinstance(run, str) and isinstance(step, int) else None

    @property
    def config(self) -> Config:
        """As Tune is given it."""
        told = self.proposal
        return {"trial": told.trial, "number": told.number, "sample": told.sample, "run": told.spec}

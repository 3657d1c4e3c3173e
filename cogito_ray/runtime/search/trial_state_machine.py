"""A trial of the search, and where it stands: a state machine whose transitions are events of the ledger.

| from    | event                  | to      | what else happens                                                    |
|---------|------------------------|---------|----------------------------------------------------------------------|
| (none)  | TrialProposed          | DUE     |                                                                      |
| DUE     | TrialStarted           | RUNNING |                                                                      |
| WAITING | TrialStarted           | RUNNING | the policy is told that it has resumed                               |
| RUNNING | Reported               | RUNNING | the policy gives its verdict on the trial                            |
| RUNNING | TrialPaused            | WAITING | if the policy lets it wait: it has lost at a rung                    |
| RUNNING | TrialPaused            | DUE     | if not: the budget was spent                                         |
| RUNNING | TrialPaused            | HELD    | if it was asked to: somebody paused it                               |
| RUNNING | SweepOpened            | DUE     | a new driver: the last one was killed, or ended                      |
| RUNNING | SweepOpened            | HELD    | the same, of one that was asked to pause                             |
| DUE     | Controlled: pause      | HELD    | so is one that is WAITING; one that runs leaves at its next report   |
| HELD    | Controlled: resume     | DUE     | or WAITING, if the policy lets it wait                               |
| any     | TrialEnded             | OVER    | the study is told how it ended                                       |

A search that lives through these events and one that replays them from its ledger are in the same state. What Tune was
given, but has not started yet, is the driver's own affair, and forgotten with it; so is why a driver closes. What is
handed out next: who is DUE, first come first; then who of the WAITING the policy promotes; then copies that a
population asks for; then a new proposal, of a grid point that is not exhausted. With nothing of that left and nothing
under way, the policy is asked once more, and who it does not promote is stopped.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from optuna.trial import Trial

from cogito_ray.records.control_requests import ON_REQUEST
from cogito_ray.records.ledger import TrialProposed
from cogito_ray.runtime.trial_recorder import Config
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import get

KEEP = Verdict(keep=True)
STOP = Verdict(keep=False, cause=f"stopped {ON_REQUEST}")
PAUSE = Verdict(keep=False, cause=f"paused {ON_REQUEST}", waits=True)


class Phase(Enum):
    """See the table above."""

    DUE = auto()
    """To be handed out: proposed, or interrupted."""
    RUNNING = auto()
    WAITING = auto()
    """It has left at a rung, and may go on later."""
    HELD = auto()
    """It goes on when somebody resumes it."""
    OVER = auto()


@dataclass
class SearchTrial:
    """What a search knows of one trial."""

    proposal: TrialProposed
    study_trial: Trial
    """In the study."""
    phase: Phase = Phase.DUE
    failed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    """The last that were heard of."""
    reports: dict[int, list[float]] = field(default_factory=dict)
    """Step -> the goals' values, of every report where all are finite."""
    peak_gb: float = 0.0
    """Memory, as far as it has reported any."""
    step: int = 0
    """Last one reported."""
    verdict: Verdict = KEEP
    """On its last report."""
    requested: Verdict | None = None
    """STOP or PAUSE, where somebody asked for that."""

    @property
    def name(self) -> str:
        """Digest of its RunSpec."""
        return self.proposal.trial

    @property
    def sample(self) -> Sample:
        """Its point of the space."""
        return self.proposal.sample

    @property
    def branch(self) -> tuple[str, int] | None:
        """The trial of which it is a copy, and the step at which it branches off."""
        run, step = get(self.proposal.spec, "branch.run"), get(self.proposal.spec, "branch.step")
        return (run, step) if isinstance(run, str) and isinstance(step, int) else None

    @property
    def config(self) -> Config:
        """As Tune is given it."""
        proposed = self.proposal
        return {"trial": proposed.trial, "number": proposed.number, "sample": proposed.sample, "run": proposed.spec}

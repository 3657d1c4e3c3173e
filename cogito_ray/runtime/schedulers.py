"""Early stopping inside Tune: our pure policies, fed with what trials report and with what the ledger remembers."""

from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import metrics_of
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.sweeps.stopping import Policy


class NoStopping(FIFOScheduler):
    """Starts trials in order, and lets each run to its end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.causes: dict[str, str] = {}
        """Of no stop."""


class EarlyStopping(FIFOScheduler):
    """Starts trials in order; stops each one that the policy says is over, and asks those to leave that are to wait.

    Tune's own pausing is not used: what leaves frees its place, and the searcher hands it out again.
    """

    def __init__(self, policy: Policy, leave: Callable[[str], None]):
        """`leave` asks a trial, by its name, to end at its last report, with a checkpoint to go on from."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._policy, self._leave = policy, leave
        self.causes = {name: verdict.cause for name, verdict in policy.waiting.items()}
        """Why each trial that does not go on does not, by its name."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        name, step, metrics = trial.config["trial"], result["step"], metrics_of(result)
        if not metrics:  # it says that it died, or left
            return str(TrialScheduler.CONTINUE)
        verdict = self._policy.report(name, step, metrics)
        if verdict.keep or step >= trial.config["run"]["training"]["steps"]:
            self.causes.pop(name, None)
            return str(TrialScheduler.CONTINUE)
        self.causes[name] = verdict.cause
        if verdict.waits:
            self._leave(name)
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)


def replayed(sweep: SweepSpec, record: Record) -> Policy:
    """The sweep's policy, told all reports in the order they came, or a trial that had passed a rung might now fail."""
    policy = sweep.policy()
    for told in record.reports:
        policy.report(told.trial, told.step, told.metrics)
    return policy

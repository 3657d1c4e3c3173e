"""Early stopping inside Tune: our pure policies, fed with what trials report and with what the ledger remembers."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import metrics_of
from cogito_ray.sweeps.spec import SweepSpec


class EarlyStopping(FIFOScheduler):
    """Starts trials in order, and stops each one that the policy says does not go on."""

    def __init__(self, sweep: SweepSpec, record: Record):
        super().__init__()  # type: ignore[no-untyped-call]
        self._policy = sweep.policy()
        self.causes: dict[str, str] = {}
        """Why each trial that was stopped was, by its name."""
        for told in record.reports:  # in the order they came, or a trial that had passed a rung might now fail it
            self._policy.report(told.trial, told.step, told.metrics)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        name, step = trial.config["trial"], result["step"]
        verdict = self._policy.report(name, step, metrics_of(result))
        if verdict.keep or step >= trial.config["run"]["training"]["steps"]:
            return str(TrialScheduler.CONTINUE)
        self.causes[name] = verdict.cause
        return str(TrialScheduler.STOP)

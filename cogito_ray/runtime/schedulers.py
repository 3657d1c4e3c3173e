"""Early stopping inside Tune: our pure policies, fed with what trials report and with what the ledger remembers."""

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import metrics_of
from cogito_ray.sweeps.spec import SweepSpec


class EarlyStopping(FIFOScheduler):
    """Starts trials in order, and stops each one whose rung the policy says it does not survive."""

    def __init__(self, sweep: SweepSpec, record: Record):
        super().__init__()  # type: ignore[no-untyped-call]
        self._goal, self._policy = sweep.goal.metric, sweep.policy()  # Tune reads an attribute called _metric
        self.causes: dict[str, str] = {}
        """Why each trial that was stopped was, by its name."""
        for told in record.reports:  # in the order they came, or a trial that had passed a rung might now fail it
            self._policy.report(told.trial, told.step, told.metrics.get(self._goal, math.nan))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        name, step, value = trial.config["trial"], result["step"], metrics_of(result).get(self._goal, math.nan)
        verdict = self._policy.report(name, step, value)
        if verdict.keep or step >= trial.config["run"]["training"]["steps"]:
            return str(TrialScheduler.CONTINUE)
        self.causes[name] = f"{self._goal} {value:.4g} not among the best 1/{self._policy.eta} at rung {verdict.rung}"
        return str(TrialScheduler.STOP)

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
        for trial in record.trials.values():
            for step, value in trial.curve(self._goal):
                self._policy.report(trial.id, step, value)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        value = metrics_of(result).get(self._goal, math.nan)
        verdict = self._policy.report(trial.config["trial"], result["step"], value)
        return str(TrialScheduler.CONTINUE if verdict.keep else TrialScheduler.STOP)

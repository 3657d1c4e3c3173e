"""Writes what Tune tells of a sweep's trials into its ledger, as it happens."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from cogito_ray.records.ledger import Ledger, Reported, TrialEnded, TrialLeft, TrialStarted
from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import Left, metrics_of, outcome
from cogito_ray.runtime.worker import TRIALS, stalls


class Scribe(Callback):
    """`stops` says, by the time a stopped trial ends, why it was stopped; `why_left`, why trials had to leave."""

    def __init__(self, ledger: Ledger, record: Record, stops: Mapping[str, str], why_left: Callable[[], str]):
        self._ledger, self._stops, self._why_left = ledger, stops, why_left
        self._before = {name: trial.seconds for name, trial in (record.trials | record.replicates).items()}
        self._began: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        config = trial.config
        self._pause(config["trial"])  # one that is tried again, because its process died
        self._began[config["trial"]] = time.monotonic()
        self._ledger.append(
            TrialStarted(
                at=time.time(),
                trial=config["trial"],
                number=config["number"],
                sample=config["sample"],
                spec=config["run"],
                replicates=config.get("replicates"),
            )
        )

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        name = trial.config["trial"]
        if metrics := metrics_of(result):
            seconds = self._seconds(name)
            self._ledger.append(
                Reported(
                    trial=name,
                    step=result["step"],
                    seconds=seconds,
                    metrics=metrics,
                    rows=result["rows"],
                    notes=result["notes"],
                )
            )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial, error=False)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial, error=True)

    def _end(self, trial: Trial, *, error: bool) -> None:
        steps = trial.config["run"]["training"]["steps"]
        ended = outcome(trial.last_result, steps=steps, error=error)
        name, now = trial.config["trial"], time.time()
        self._pause(name)
        if isinstance(ended, Left):
            cause = self._why_left() or self._stops.get(name, "")
            self._ledger.append(TrialLeft(at=now, trial=name, step=ended.step, cause=cause))
        else:
            stalled = stalls(self._ledger.path.parent / TRIALS / name) if error else []
            cause = "; ".join(stalled) or ended.cause or self._stops.get(name, "")
            self._ledger.append(TrialEnded(at=now, trial=name, status=ended.status, step=ended.step, cause=cause))

    def _seconds(self, name: str) -> float:
        """How long a trial has run by now, interruptions left out."""
        now = time.monotonic()
        return self._before.get(name, 0.0) + now - self._began.get(name, now)

    def _pause(self, name: str) -> None:
        self._before[name] = self._seconds(name)
        self._began.pop(name, None)

"""Writes what becomes of trials into a sweep's ledger, before anybody acts on it: how a trial ended is read from Tune's
last result for it, alike for the searcher and for the ledger."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogito_ray.records.ledger import Ended, Event, Reported, Status, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.control_files import stalls
from cogito_ray.sweeps.budget_spec import cost_metrics
from cogito_ray.text.data_spec import DataSpec, corpus_key


@dataclass(frozen=True)
class Paused:
    """It left a checkpoint to go on from, because it was asked to."""

    step: int
    """Last step reported."""


@dataclass(frozen=True)
class Outcome:
    """It is over."""

    status: Ended
    cause: str
    """Why it failed; empty otherwise."""
    step: int
    """Last step reported."""


def progress(
    step: int, metrics: Mapping[str, float], *, rows: str | None = None, notes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a trial tells Tune at each report. Pairs, because Tune flattens mappings here and not there."""
    return {"step": step, "metrics": tuple(metrics.items()), "rows": rows, "notes": notes}


def metrics_of(result: Mapping[str, Any] | None) -> dict[str, float]:
    """The metrics of a report as they were given to `progress`."""
    return dict((result or {}).get("metrics", ()))


def death(step: int, cause: str) -> dict[str, Any]:
    """What a trial tells Tune when a guard ends it."""
    return {"step": step, "metrics": (), "died": cause}


def paused(step: int) -> dict[str, Any]:
    """What a trial tells Tune when it was asked to pause, and did."""
    return {"step": step, "metrics": (), "paused": True}


def outcome(result: Mapping[str, Any] | None, *, steps: int, error: bool) -> Outcome | Paused:
    """Of a trial of `steps` steps that Tune holds to be over."""
    last = result or {}
    step = int(last.get("step", 0))
    if "died" in last:
        return Outcome(Status.FAILED, str(last["died"]), step)
    if "paused" in last:
        return Paused(step)
    if error:
        return Outcome(Status.FAILED, "its process died or raised; the error is in this trial's folder", step)
    if step < steps:
        return Outcome(Status.STOPPED, "", step)
    return Outcome(Status.COMPLETED, "", step)


Config = dict[str, Any]
"""What a trial is handed out with: `trial` (its name), `number`, `sample`, `run`, and what it `replicates`, with which
`changes`."""


class TrialRecorder:
    """Returns each event once it is on disk."""

    def __init__(self, append: Callable[[Event], None], trials: Path, record: Record | None = None):
        """`trials`: the folder of one folder a trial. `record`: of what was done so far, its opening included; None if
        nothing, then what trials read is not said."""
        self.append, self._trials = append, trials
        known = record.runs if record else {}
        self._data = record.data if record else {}
        self._before = {name: trial.seconds for name, trial in known.items()}
        self._began: dict[str, float] = {}
        self._reached = {name: trial.step for name, trial in known.items()}
        """The last step that each trial has reported, ..."""
        self._told: dict[str, int] = {}
        """... and that since it started last."""

    def started(self, config: Config) -> TrialStarted:
        """Tune has started it, or starts it again."""
        name = config["trial"]
        self._pause(name)  # one that is tried again, because its process died
        self._told.pop(name, None)
        self._began[name] = time.monotonic()
        event = TrialStarted(
            at=time.time(),
            trial=name,
            number=config["number"],
            sample=config["sample"],
            spec=config["run"],
            replicates=config.get("replicates"),
            changes=config.get("changes"),
            data=self._data[corpus_key(DataSpec.model_validate(config["run"]["data"]))] if self._data else None,
        )
        self.append(event)
        return event

    def lost(self, config: Config, cause: str) -> TrialPaused:
        """Its process is gone, and it waits to be started again."""
        self._pause(name := config["trial"])
        event = TrialPaused(at=time.time(), trial=name, step=self._reached.get(name, 0), cause=cause)
        self.append(event)
        return event

    def reported(self, config: Config, result: Mapping[str, Any]) -> Reported | None:
        """None where it reports nothing: it says that it died or left, or Tune tells its last report once more."""
        name, metrics = config["trial"], metrics_of(result)
        if not metrics or self._told.get(name) == result["step"]:
            return None
        seconds = self._seconds(name)
        event = Reported(
            trial=name,
            step=result["step"],
            seconds=seconds,
            metrics=metrics | cost_metrics(config["run"], seconds),
            rows=result["rows"],
            notes=result["notes"],
        )
        self.append(event)
        self._told[name] = self._reached[name] = event.step
        return event

    def ended(
        self, config: Config, result: Mapping[str, Any] | None, *, error: bool, stopped: str, paused: str
    ) -> TrialEnded | TrialPaused:
        """Why it was stopped, if it was, and why it had to leave, if it had."""
        name, now = config["trial"], time.time()
        last = {"step": self._reached.get(name, 0)} | dict(result or {})
        over = outcome(last, steps=config["run"]["training"]["steps"], error=error)
        self._pause(name)
        event: TrialEnded | TrialPaused
        if isinstance(over, Paused):
            event = TrialPaused(at=now, trial=name, step=over.step, cause=paused)
        else:
            stalled = stalls(self._trials / name) if error else []
            why = "; ".join(stalled) or over.cause or stopped
            event = TrialEnded(at=now, trial=name, status=over.status, step=over.step, cause=why)
        self.append(event)
        return event

    def _seconds(self, name: str) -> float:
        """How long a trial has run by now, interruptions left out."""
        now = time.monotonic()
        return self._before.get(name, 0.0) + now - self._began.get(name, now)

    def _pause(self, name: str) -> None:
        self._before[name] = self._seconds(name)
        self._began.pop(name, None)

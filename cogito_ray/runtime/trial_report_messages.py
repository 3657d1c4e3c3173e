"""How a trial ended, read from Tune's last result for it: one reading for the searcher and for the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cogito_ray.records.ledger import Ended, Status


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

"""How far a sweep or run is: who runs, waits and is to come, what was spent, and how long it will take. Pure.

What a sweep has left is the work of its forecast (what early stopping lets trials do, arXiv:1810.05934 among others)
less what was done, corrected as it goes: at the rate seen so far, and without the steps that failed trials do not need.
"""

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from pydantic import TypeAdapter

from cogito_ray.plugins import load
from cogito_ray.records.ledger import Status
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.budget_spec import HOUR_S, Reserved, Spent
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec
from cogito_ray.sweeps.statistics.early_stopping_work import further_runs, share_left

SIMULATED = 200
"""Trials of which early stopping is asked what it leaves of their steps: of more, the share is the same."""
TOLD = ("early_stopping", "goals", "constraints", "plugins")
"""Settings of a sweep that say what it leaves."""
RECENT = 10
"""Reports over which the speed of a single run is measured."""


@dataclass(frozen=True)
class Progress:
    """Of a sweep, or of a run on its own."""

    elapsed_s: float
    """While a driver ran, over all starts."""
    left_s: float | None
    """Until it is over, or a budget ends it; None while nothing tells."""
    trials: dict[str, int]
    """How many are `running`, `waiting` (at a rung, or to be taken up again), `queued` (to come) and `over`."""
    budget: dict[str, tuple[float, float]]
    """Of each limit that is set, what is used and what is granted: `trials`, and hours."""


def progress(record: Record, now: float | None = None) -> Progress:
    """`now`: seconds since 1970, while a driver is at work; None = as far as is recorded. Costs grow with trials."""
    budget, used = record.limits.budget, spent(record, now)
    states = Counter(_state(record, trial) for trial in record.runs.values())
    trials = {name: states[name] for name in ("running", "waiting", "queued", "over")}
    trials["queued"] += _to_come(record)
    limits = budget.hours(used) if budget else {}
    left = _left_s(record) if record.axes else _left_of_run_s(record)
    known = [0.0] if record.is_complete else []
    if left is not None and not record.closing and not record.limits.is_paused:
        cut = [used.wall_s * (granted / gone - 1) for gone, granted in limits.values() if gone > 0]
        known = [max(0.0, seconds) for seconds in (left, *cut)]    # a budget may be spent before
    started = {"trials": (float(len(record.trials)), float(budget.trials))} if budget else {}
    return Progress(used.wall_s, min(known, default=None), trials, started | limits)


def _state(record: Record, trial: Trial) -> str:
    if trial.end:
        return "over"
    return "running" if record.is_running(trial) else "waiting" if trial.paused else "queued"


def _expected(record: Record) -> int:
    """Trials that the search will have tried: no more than there are points."""
    budget, listed = record.limits.budget, [domain.values() for domain in record.axes.values()]
    points = prod(len(values) for values in listed if values is not None)
    most = budget.trials if budget else len(record.trials)
    return most if None in listed else min(most, points)


def _to_come(record: Record) -> int:
    """Trials that were not started yet."""
    over = record.is_complete or record.replicates or record.variants or any(not e.point for e in record.exhausted)
    return 0 if over or not record.axes else max(0, _expected(record) - len(record.trials))


def _left_s(record: Record) -> float | None:
    """Of a sweep: steps that are left, at the rate of all steps so far."""
    runs, expected = [*record.trials.values(), *record.replicates.values()], _expected(record)
    done = sum(trial.step - (trial.branch[1] if trial.branch else 0) for trial in runs)
    steps = max((trial.steps or 0 for trial in runs), default=0)
    working_s = record.wall - (runs[0].started - record.openings[0].at if runs else 0.0)
    if not done or not steps or working_s <= 0:
        return None
    share, rungs = _forecast(json.dumps({name: record.opened.spec.get(name) for name in TOLD}), steps, expected)
    idle = sum(share * steps - trial.step for trial in runs if trial.status is Status.FAILED)
    seeds = int(str(record.opened.spec.get("seeds", 0)))
    whole = share * max(expected, len(record.trials)) + further_runs(expected, goals=len(record.goals), seeds=seeds)
    alone = [_alone_s(trial, rungs) for trial in record.runs.values() if record.is_running(trial)]
    return max((whole * steps - max(idle, 0.0) - done) * working_s / done, *alone, 0.0) or None


def _alone_s(trial: Trial, rungs: tuple[int, ...]) -> float:
    """Until a trial that runs is at its next rung, or its end, however little others have left to do."""
    due = next((rung for rung in rungs if rung > trial.step), trial.steps or trial.step)
    return (due - trial.step) * trial.seconds / trial.step if trial.step else 0.0


@lru_cache(maxsize=8)
def _forecast(settings: str, steps: int, trials: int) -> tuple[float, tuple[int, ...]]:
    """The share of all steps that early stopping leaves, and its rungs: a simulation, so it is remembered."""
    told = json.loads(settings)
    load(told["plugins"])
    policy: StoppingSpec = TypeAdapter(StoppingSpec).validate_python(told["early_stopping"] or {"kind": "none"})
    aim = Aim.of(tuple(map(GoalSpec.model_validate, told["goals"])), told["constraints"] or {})
    return share_left(policy, aim, steps, trials=min(trials, SIMULATED)), policy.rungs(steps)


def _left_of_run_s(record: Record) -> float | None:
    """Of a run on its own: steps that are left, at the rate of its last reports."""
    run = next(iter(record.trials.values()), None)
    if run is None or run.steps is None or not run.reports:
        return None
    recent = [run.reports[step] for step in sorted(run.reports)[-RECENT:]]
    first, last = recent[0], recent[-1]
    steps, seconds = last.step - first.step, last.seconds - first.seconds
    if steps <= 0 or seconds <= 0:
        steps, seconds = last.step, last.seconds
    return (run.steps - last.step) * seconds / steps if steps else None


def spent(record: Record, now: float | None = None) -> Spent:
    """By every trial, as long as it ran, and by the drivers, over all starts. `now`: seconds since 1970, where a driver
    and its trials are at work; None = as far as is recorded."""
    held = [(_seconds(record, trial, now) / HOUR_S, Reserved.by(trial.spec)) for trial in record.runs.values()]
    return Spent(
        gpu_hours=sum(hours * reserved.gpus for hours, reserved in held),
        cpu_hours=sum(hours * reserved.cpus for hours, reserved in held),
        wall_s=record.wall if now is None else record.wall + now - record.spans[-1][1],
    )


def _seconds(record: Record, trial: Trial, now: float | None) -> float:
    return trial.seconds if now is None or not record.is_running(trial) else trial.earlier + now - trial.began

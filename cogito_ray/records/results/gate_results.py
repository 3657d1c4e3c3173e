"""What follows from a sweep's result: gates judged on its best trials, and how far its rungs could be trusted."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter

from cogito_ray.gate_spec import GateSpec
from cogito_ray.plugins import load
from cogito_ray.records.ledger import GateJudged, Status
from cogito_ray.records.results.evaluation_scores import best_of_each, scored
from cogito_ray.records.results.trial_ranking import further_runs, rank
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.sweeps.space.dotted_paths import get
from cogito_ray.sweeps.statistics.rank_agreement import Certificate, certify

_GATES: TypeAdapter[tuple[GateSpec, ...]] = TypeAdapter(tuple[GateSpec, ...])
LOOKS = 3
"""Where nothing is stopped early, this many early looks are certified."""


@dataclass(frozen=True)
class Look:
    """One goal's certificate at one step."""

    goal: str
    step: int
    found: Certificate


def stopping(record: Record) -> StoppingSpec:
    """How the sweep stopped trials early. Imports its plugins, for it may be a kind of theirs."""
    load(record.opened.spec.get("plugins"))
    policy: TypeAdapter[StoppingSpec] = TypeAdapter(StoppingSpec)
    return policy.validate_python(record.opened.spec.get("early_stopping", {"kind": "none"}))


def best_metrics(record: Record) -> dict[str, dict[str, float]]:
    """Of each best trial, or of a run: its metrics, or their means over further runs, and its labelled scores."""
    further, scores = further_runs(record, record.aim), scored(record.evaluations)
    return {
        row.trial: further[row.trial].means(record.trials[row.trial])
        | best_of_each(score for score in scores if score.trial == row.trial)
        for row in rank(record).best
    }


def judge(record: Record) -> list[GateJudged]:
    """The verdict of each gate of the sweep and of its promotion, or of the run. See `verdicts_on`."""
    told = [get(record.opened.spec, path) for path in ("gates", "run.gates", "promote.gates")]
    return verdicts_on(record, [gate for part in told for gate in _GATES.validate_python(part or ())])


def verdicts_on(record: Record, gates: Iterable[GateSpec]) -> list[GateJudged]:
    """A gate holds if it holds for every trial of the winner or front; with neither, for none. Of a trial that was run
    again, means are judged, not the run that was chosen for being good."""
    best = best_metrics(record)
    verdicts = []
    for gate in gates:
        seen = {trial: {name: known.get(name, math.nan) for name in gate.metrics} for trial, known in best.items()}
        holds = bool(best) and gate.holds(seen.values())
        verdicts.append(GateJudged(condition=gate.condition, then=gate.then, holds=holds, seen=seen))
    return verdicts


def looks(record: Record) -> list[Look]:
    """Certificates of every goal at every rung, or at a few reports spread over a sweep without rungs."""
    whole = {name: trial for name, trial in record.trials.items() if trial.branch is None}  # a copy has no first steps
    completed = {name: trial for name, trial in whole.items() if trial.status is Status.COMPLETED}
    steps = max((trial.steps or trial.step for trial in completed.values()), default=0)
    rungs = stopping(record).rungs(steps) or tuple(steps * k // (LOOKS + 1) for k in range(1, LOOKS + 1))
    found = []
    for goal in record.goals:
        final = {name: goal.cost(trial.known) for name, trial in completed.items()}
        curves = {name: trial.curve(goal.metric) for name, trial in completed.items()}
        for rung in rungs:
            early = {name: _at(curve, rung, goal) for name, curve in curves.items()}
            found.append(Look(goal.metric, rung, certify(early, final)))
    return found


def _at(curve: list[tuple[int, float]], rung: int, goal: GoalSpec) -> float:
    """The first value at or after a rung, as a cost: what a policy would have seen there."""
    return next((goal.cost({goal.metric: value}) for step, value in curve if step >= rung), math.nan)

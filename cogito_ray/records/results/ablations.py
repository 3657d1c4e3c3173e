"""What a winner's settings are worth: which runs with settings taken back are due, and what they say."""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from pydantic import JsonValue

from cogito_ray.records.ledger import IDLE, SettingAblated, Status
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.follow_ups.derived_runs import other_seeds
from cogito_ray.sweeps.follow_ups.follow_up_specs import SimplifySpec
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.sweeps.space.domains import written
from cogito_ray.sweeps.space.dotted_paths import Tree, default_at, get, kinds_at
from cogito_ray.sweeps.space.search_space import write
from cogito_ray.sweeps.statistics.seed_intervals import paired
from cogito_ray.sweeps.sweep_spec import SweepSpec

NEEDED, UNTOLD, FAILED = "needed", "cannot be told: kept", "runs failed: kept"


@dataclass(frozen=True)
class Ablation:
    """Of one winner."""

    spec: SimplifySpec
    goal: GoalSpec
    trial: Trial
    settings: tuple[Tree, ...]
    """What each axis is taken back to, by dotted path, where the winner has something else."""

    def runs(self, changes: Tree) -> list[RunSpec]:
        """The winner with these changes, under each seed. ValueError where that is no run."""
        tree = copy.deepcopy(self.trial.spec)
        for path, value in changes.items():
            write(tree, path, value)
        run = RunSpec.model_validate(tree)
        own = RunSpec.model_validate(self.trial.spec).seed    # the run that was chosen is left out: it may be lucky
        return [run.model_copy(update={"seed": seed}) for seed in other_seeds(own, self.spec.seeds)]

    def due(self, record: Record) -> list[Tree]:
        """What is to be run: nothing changed and each setting alone; once those are judged, what is not needed
        together."""
        known = self._known(record)
        alone = [one for one in self.settings if tuple(one) not in known]
        if alone:
            return [{}, *alone]
        idle = [one.changes for one in known.values() if one.verdict == IDLE and len(known) <= len(self.settings)]
        return [{}, {path: value for one in idle for path, value in one.items()}] if len(idle) > 1 else []

    def judged(self, record: Record) -> Iterator[SettingAblated]:
        """What the runs of `due` say; of what was judged already, nothing."""
        changed = self.due(record)[1:]
        own, costs = self._costs({}, record) if changed else None, [self._costs(changes, record) for changes in changed]
        sound = [found for found in costs if found is not None and own is not None]
        apart = iter(paired(own, sound) if own is not None and sound else ())
        value = abs(fmean(own)) if own is not None else math.nan
        for changes, found in zip(changed, costs, strict=True):
            told = next(apart) if found is not None and own is not None else None
            cost, low, high = (told.mean / value, told.low / value, told.high / value) if told else (None, None, None)
            yield SettingAblated(
                at=time.time(),
                trial=self.trial.id,
                changes=changes,
                was={path: get(self.trial.spec, path) for path in changes},
                goal=self.goal.metric,
                cost=cost,
                low=low,
                high=high,
                seeds=self.spec.seeds,
                verdict=self._verdict(low, high),
            )

    def _verdict(self, low: float | None, high: float | None) -> str:
        if low is None or high is None:
            return FAILED
        if high <= self.spec.tolerance:
            return IDLE
        return NEEDED if low > 0 else UNTOLD

    def _known(self, record: Record) -> dict[tuple[str, ...], SettingAblated]:
        return {tuple(one.changes): one for one in record.ablations if one.trial == self.trial.id}

    def _costs(self, changes: Tree, record: Record) -> list[float] | None:
        """Under each seed; None where one did not end in order."""
        found = [record.known(run.digest()) for run in self.runs(changes)]
        ended = [run.known for run in found if run is not None and run.status is Status.COMPLETED]
        costs = [self.goal.cost(metrics) for metrics in ended]
        return costs if len(costs) == len(found) and all(map(math.isfinite, costs)) else None


def ablation_of(sweep: SweepSpec, record: Record) -> Ablation | None:
    """Of the sweep's winner, the best one where several cannot be told apart; None where none is asked for."""
    best = next((row for row in rank(record).rows if row.rank == 1), None)
    if sweep.simplify is None or best is None:
        return None
    trial = record.trials[best.trial]
    settings = [_taken_back(sweep, trial, axis) for axis in sweep.search_space.varying(trial.sample)]
    found = Ablation(sweep.simplify, sweep.goals[0], trial, ())
    return replace(found, settings=tuple(one for one in settings if _is_run(found, one)))


def ablated(sweep: SweepSpec, record: Record) -> Iterator[SettingAblated]:
    """What can be said by now, and was not said before."""
    ablation = ablation_of(sweep, record)
    yield from ablation.judged(record) if ablation else ()


def _taken_back(sweep: SweepSpec, trial: Trial, axis: str) -> Tree:
    """What the base run has at the places that an axis sets, or the default, where the trial has something else."""
    found: dict[str, JsonValue] = {}
    for path in written(axis, sweep.search_space.axes[axis]):
        value = get(sweep.run, path)
        value = default_at(RunSpec, path) if value is None else value
        if (value is not None or type(None) in kinds_at(RunSpec, path)) and value != get(trial.spec, path):
            found[path] = value
    return found


def _is_run(ablation: Ablation, changes: Mapping[str, JsonValue]) -> bool:
    try:
        return bool(changes) and bool(ablation.runs(dict(changes)))
    except ValueError:
        return False

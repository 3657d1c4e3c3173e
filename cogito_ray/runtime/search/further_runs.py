"""What a sweep runs once its search is over: finalists under other seeds, winners at other sizes or more simply set."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from cogito_ray.records.control_requests import ControlRequest
from cogito_ray.records.ledger import Controlled, TrialEnded
from cogito_ray.records.results.ablations import ablation_of
from cogito_ray.records.results.scaling_forecasts import ladders
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.search.searcher import FINISHED
from cogito_ray.runtime.search.trial_state_machine import PAUSE
from cogito_ray.runtime.trial_recorder import Config, TrialRecorder
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.follow_ups.derived_runs import other_seeds
from cogito_ray.sweeps.statistics.seed_intervals import finalists
from cogito_ray.sweeps.sweep_spec import SweepSpec


def seed_replicates(sweep: SweepSpec, record: Record) -> list[Config]:
    """Runs of finalists under other seeds that are left, each as Tune's configuration of a trial."""
    ranking = rank(Record(openings=record.openings, trials=record.trials))  # by the runs that the search made
    ranked = [row.trial for row in ranking.rows if row.rank is not None]
    front = [row.trial for row in ranking.best] if len(sweep.goals) > 1 else []
    requested = []
    for name in finalists(ranked, front):
        first = record.trials[name]
        run = RunSpec.model_validate(first.spec)
        for seed in other_seeds(run.seed, sweep.seeds):
            again = run.model_copy(update={"seed": seed})
            if _is_left(again, record):
                requested.append(_config(again, first))
    return requested


def ladder_runs(sweep: SweepSpec, record: Record) -> list[Config]:
    """Rungs that are left of the ladders of the trials that `promote` takes."""
    return [
        _config(run, record.trials[name]) | {"changes": rung}
        for name, rungs in ladders(sweep, record).items()
        for rung, run in rungs
        if _is_left(run, record)
    ]


def ablation_runs(sweep: SweepSpec, record: Record) -> list[Config]:
    """What is left of the winner with settings taken back, and of the winner itself, under the same seeds."""
    if (ablation := ablation_of(sweep, record)) is None:
        return []
    return [
        _config(run, ablation.trial) | ({"changes": changes} if changes else {})
        for changes in ablation.due(record)
        for run in ablation.runs(changes)
        if _is_left(run, record)
    ]


def _is_left(run: RunSpec, record: Record) -> bool:
    known = record.known(run.digest())
    return known is None or known.end is None


def _config(run: RunSpec, of: Trial) -> Config:
    tree = run.model_dump(mode="json")
    numbered = {"trial": run.digest(), "number": of.number, "sample": of.sample, "run": tree}
    return numbered | {"replicates": of.id}


class FurtherRuns:
    """Hands out what is listed, in its order, and writes down what becomes of it."""

    def __init__(self, configs: Iterable[Config], recorder: TrialRecorder):
        self._left, self._recorder = deque(configs), recorder
        self._under_way: set[str] = set()
        self._closed: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the ledger is the state."""
        return {}

    @property
    def exhausted(self) -> bool:
        """Is nothing listed left, and nothing under way?"""
        return not self._left and not self._under_way

    @property
    def is_busy(self) -> bool:
        """Is one under way?"""
        return bool(self._under_way)

    @property
    def on_hold(self) -> bool:
        """Nobody holds one back alone."""
        return False

    @property
    def left(self) -> int:
        """Runs under way or listed still."""
        return len(self._left) + len(self._under_way)

    def consider(self, request: ControlRequest) -> str:
        """Nothing of single runs can be changed any more."""
        raise ValueError("the search is over, and further runs of its best trials are under way; pause the whole sweep")

    def controlled(self, event: Controlled) -> None:
        """What was asked of the whole sweep is others' affair."""

    def sources(self, record: Record) -> set[tuple[str, int]]:
        """Nothing is copied."""
        return set()

    def close(self, cause: str) -> None:
        """Hand out nothing more, though something may be left."""
        self._closed = cause

    def suggest(self) -> Config | str | None:
        """The next one; None while one under way may come back because its process died, FINISHED when none will."""
        if self._closed is not None or self.exhausted:
            return FINISHED
        if not self._left:
            return None
        config = self._left.popleft()
        self._under_way.add(config["trial"])
        return config

    def started(self, config: Config) -> None:
        """Tune has started one."""
        self._recorder.started(config)

    def report(self, config: Config, result: Mapping[str, Any]) -> Verdict:
        """Each runs to its end."""
        self._recorder.reported(config, result)
        return Verdict(keep=True)

    def lost(self, config: Config, cause: str) -> None:
        """The process of one is gone: it comes next."""
        self._recorder.lost(config, cause)
        self._under_way.discard(config["trial"])
        self._left.appendleft(config)

    def ended(self, config: Config, result: Mapping[str, Any] | None, *, error: bool = False) -> None:
        """One runs no longer: it is over, or was paused, because the budget was spent or somebody asked for it."""
        why = self._closed or PAUSE.cause
        event = self._recorder.ended(config, result, error=error, stopped="", paused=why)
        self._under_way.discard(config["trial"])
        if not isinstance(event, TrialEnded):
            self._left.appendleft(config)

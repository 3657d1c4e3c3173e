"""What Ray Tune calls, in its own order: the scheduler hears of every report and end first, then the searcher, then the
callbacks. So the scheduler is who tells the stage of a sweep, whatever else is done about it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cogito_ray.records.control_requests import ControlRequest, SweepLimits
from cogito_ray.records.ledger import Controlled
from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.trial_recorder import Config
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.statistics.memory_forecast import OUT_OF_MEMORY


class Stage(Protocol):
    """What runs trials under Tune: a search, or the further runs of its finalists."""

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to do? What was handed out and is not over yet, is left."""

    @property
    def is_busy(self) -> bool:
        """Is a trial under way, or handed out?"""

    @property
    def on_hold(self) -> bool:
        """Is a trial kept back until somebody resumes it?"""

    def consider(self, request: ControlRequest) -> str:
        """What will come of it. ValueError where nothing can. Of the whole sweep, others are asked."""

    def controlled(self, event: Controlled) -> None:
        """This was granted, and is on record."""

    def sources(self, record: Record) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which further trials are to go on, or may have to."""

    def close(self, cause: str) -> None:
        """Hand out nothing more, though something may be left."""

    def suggest(self) -> Config | str | None:
        """The next trial, None if that cannot be told now, FINISHED if there is none."""

    def started(self, config: Config) -> None:
        """Tune has started a trial that was handed out."""

    def report(self, config: Config, result: Mapping[str, Any]) -> Verdict:
        """May the trial go on?"""

    def ended(self, config: Config, result: Mapping[str, Any] | None, *, error: bool = False) -> None:
        """A trial runs no longer; `result` is the last that it reported."""


class SilentReporter(ProgressReporter):
    """The record is what is shown. In a notebook, Tune's own reporter clears the cell, with nothing to put into it."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Is not called."""
        raise AssertionError("it never should")


class StageSearcher(Searcher):
    """Hands out what the stage says, within the limits; what it is told, the stage has heard before."""

    def __init__(self, stage: Stage, limits: SweepLimits, at_once: int):
        """`at_once`: trials at a time, where the limits name no number."""
        super().__init__()
        self._stage, self._limits, self._at_once, self._live = stage, limits, at_once, set[str]()
        self.paused = False
        """Did it end Tune's loop because nothing may start until somebody resumes something?"""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it, and the ledger is the state."""
        return {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """It keeps to a number of its own, which may change."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray forgot FINISHED
        """Under Tune's own id, which nothing depends on."""
        if self._limits.is_paused:
            self.paused = True
            return Searcher.FINISHED
        if len(self._live) >= (self._limits.concurrency or self._at_once):
            return None
        found = self._stage.suggest()
        if isinstance(found, dict):
            self._live.add(trial_id)
        self.paused = found == Searcher.FINISHED and self._stage.on_hold
        return found

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The stage has heard of it."""
        self._live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class StageScheduler(FIFOScheduler):
    """Starts trials in order; stops each one that is over, and asks those to leave that are to wait.

    Tune's own pausing is not used: what leaves frees its place, and the stage hands it out again.
    """

    def __init__(
        self, stage: Stage, pause: Callable[[str], None], rung: Callable[[str, int], None] = lambda trial, steps: None
    ):
        """`pause` asks a trial, by its name, to end at its last report, with a checkpoint to go on from. `rung` is told
        which one a trial has come to, in steps."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._stage, self._pause, self._rung = stage, pause, rung

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Goes on, unless the stage says that it is over."""
        verdict = self._stage.report(trial.config, result)
        if verdict.rung is not None:
            self._rung(trial.config["trial"], verdict.rung)
        if verdict.waits:
            self._pause(trial.config["trial"])
        return str(TrialScheduler.CONTINUE if verdict.keep or verdict.waits else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Before the searcher and the callbacks hear of it."""
        self._stage.ended(trial.config, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing: a scheduler hears this of trials, too, whose process died and that Tune is about to start again."""


class StageCallback(Callback):
    """Tells the stage which of those handed out have started, and which Tune has given up."""

    def __init__(self, stage: Stage):
        self._stage = stage

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Also of one that starts again because its process died."""
        self._stage.started(trial.config)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Once Tune has used up its retries."""
        self._stage.ended(trial.config, dict(trial.last_result or {}) | _memory_fault(trial), error=True)


def _memory_fault(trial: Trial) -> dict[str, str]:
    """Says so of a trial that Ray killed, or that raised, because memory ran out; empty for others."""
    file = Path(trial.error_file) if trial.storage and trial.error_file else None
    if file is None or not file.is_file() or "OutOfMemoryError" not in file.read_text(errors="replace"):
        return {}
    return {"died": f"{OUT_OF_MEMORY}: its process was killed, or raised; the error is in this trial's folder"}

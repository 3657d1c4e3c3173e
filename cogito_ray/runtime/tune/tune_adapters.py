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
from cogito_ray.runtime.train.torch_trainer import LEAVING
from cogito_ray.runtime.trial_recorder import Config, death
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.statistics.memory_forecast import OUT_OF_MEMORY, lacks_memory

RETRIES = 2
"""Times that a trial whose process died is taken up again without having come further."""
FAULTLESS = {
    LEAVING: LEAVING,
    "its node has died": "its machine is gone",
    "WorkerGroupStartupTimeoutError": "there was no room for its workers",
}
"""What Ray says where it is no fault of a trial, and what that means."""
KILLED = "its process was killed, or raised; the error is in this trial's folder"


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

    @property
    def left(self) -> int:
        """Trials under way or still to be handed out, as far as can be told."""

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

    def lost(self, config: Config, cause: str) -> None:
        """The process of a trial is gone: it is to be handed out again, before new ones."""

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

    def __init__(self, stage: Stage, limits: SweepLimits, fits: Callable[[int | None], int]):
        """`fits`: how many trials there is room for at a time, of the number in the limits."""
        super().__init__()
        self._stage, self._limits, self._fits, self._live = stage, limits, fits, set[str]()
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
        if len(self._live) >= self._fits(self._limits.concurrency):
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
    """Tells the stage which of those handed out have started, and which have lost their process. Not Tune starts such a
    trial again, but the stage, where there is room by then."""

    def __init__(self, stage: Stage, limits: SweepLimits, request: Callable[[int], None] = lambda trials: None):
        """`request`: asks an autoscaler for room for so many trials at a time, again and again."""
        self._stage, self._limits, self._request = stage, limits, request
        self._failed: dict[str, tuple[int, int]] = {}
        """By name: the step that a trial had come to when its process died last, and how often it died there."""

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Also of one that starts again because its process died."""
        self._stage.started(trial.config)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial goes on from its newest checkpoint, unless it lacked memory, or dies again and again at a step."""
        file = Path(trial.error_file) if trial.storage and trial.error_file else None
        fault = file.read_text(errors="replace") if file is not None and file.is_file() else ""
        result = dict(trial.last_result or {})
        memory = death(int(result.get("step", 0)), f"{OUT_OF_MEMORY}: {KILLED}") if lacks_memory(fault) else {}
        cause = next((means for said, means in FAULTLESS.items() if said in fault), "")
        if memory or not (cause or self._has_retries(trial, result)):
            self._stage.ended(trial.config, result | memory, error=True)
        else:
            self._stage.lost(trial.config, cause or "its process died")

    def _has_retries(self, trial: Trial, result: Mapping[str, Any]) -> bool:
        step, (before, times) = int(result.get("step", 0)), self._failed.get(trial.config["trial"], (-1, 0))
        times = 1 if step > before else times + 1
        self._failed[trial.config["trial"]] = max(step, before), times
        return times <= RETRIES

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's own loop."""
        self._request(min(self._stage.left, self._limits.concurrency or self._stage.left))

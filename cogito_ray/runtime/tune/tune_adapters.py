"""What Ray Tune calls, in its own order: the scheduler hears of every report and end first, then the searcher, then the
callbacks. So the scheduler is who tells the stage of a sweep, whatever else is done about it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.trial_recorder import Config
from cogito_ray.sweeps.early_stopping.policy import Verdict


class Stage(Protocol):
    """What runs trials under Tune: a search, or the further runs of its finalists."""

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to do? What was handed out and is not over yet, is left."""

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
    """Hands out what the stage says; what it is told, the stage has heard before."""

    def __init__(self, stage: Stage):
        super().__init__()
        self._stage = stage

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray forgot FINISHED
        """Under Tune's own id, which nothing depends on."""
        return self._stage.suggest()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The stage has heard of it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class StageScheduler(FIFOScheduler):
    """Starts trials in order; stops each one that is over, and asks those to leave that are to wait.

    Tune's own pausing is not used: what leaves frees its place, and the stage hands it out again.
    """

    def __init__(self, stage: Stage, pause: Callable[[str], None]):
        """`pause` asks a trial, by its name, to end at its last report, with a checkpoint to go on from."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._stage, self._pause = stage, pause

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Goes on, unless the stage says that it is over."""
        verdict = self._stage.report(trial.config, result)
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
        self._stage.ended(trial.config, trial.last_result, error=True)

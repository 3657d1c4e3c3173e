"""Optuna behind Ray Tune, told the truth: stopped trials are PRUNED with all they reported, dead ones FAIL.

Ray's own OptunaSearch tells stopped trials as COMPLETE with their low-rung value, and leaves those that report NaN
RUNNING for ever. This one also survives the driver: the study lives in a journal beside the ledger, and trials that
were under way when the driver died are handed out again, as they were.
"""

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import Outcome, metrics_of, outcome
from cogito_ray.sweeps.domains import Sample
from cogito_ray.sweeps.spec import SweepSpec

STATES = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
REPEATS = 50
"""Times a sampler may propose a run that was had already before the space counts as exhausted."""


class OptunaSearcher(Searcher):
    """Hands out the trials of one sweep and tells the study how each went."""

    def __init__(self, sweep: SweepSpec, journal: Path, record: Record):
        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._goal, self._cells = sweep, sweep.goal, sweep.cells()
        self._study = optuna.create_study(
            study_name=sweep.digest(),
            storage=JournalStorage(JournalFileBackend(str(journal))),
            sampler=_sampler(sweep),
            direction="minimize" if self._goal.mode == "min" else "maximize",
            load_if_exists=True,
        )
        self._open: dict[str, Trial] = {}
        self._reported: dict[str, int] = {}
        self._again = deque(self._reconcile(record))
        self._dry = False

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to hand out: is the budget, or the space, used up?"""
        return not self._again and (self._dry or len(self._handed_out()) >= self._sweep.budget.trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Ray forgot FINISHED
        """The next trial: one the last driver left unfinished, else a new one; FINISHED when the budget is used up."""
        trial = self._again.popleft() if self._again else self._new()
        if trial is None:
            self._dry = True
            return str(Searcher.FINISHED)
        self._open[trial_id] = trial
        sample = self._sample(trial)
        run = self._sweep.trial(sample)
        return {"trial": run.digest(), "number": trial.number, "sample": sample, "run": run.model_dump(mode="json")}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        value, step = metrics_of(result).get(self._goal.metric, math.nan), result["step"]
        if math.isfinite(value) and self._reported.get(trial_id, -1) < step:
            self._open[trial_id].report(value, step)
            self._reported[trial_id] = step

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if result is not None:
            self.on_trial_result(trial_id, result)  # the report at which a trial is stopped comes here only
        trial = self._open.pop(trial_id)
        steps = self._sweep.trial(self._sample(trial)).training.steps
        ended = outcome(result, steps=steps, error=error)
        self._tell(trial, ended, metrics_of(result).get(self._goal.metric, math.nan))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal and the ledger are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal and the ledger are the state."""

    def _sample(self, trial: Trial) -> Sample:
        """What the sampler drew, and the crossed axes' values, which go round with the trial's number."""
        return trial.params | self._cells[trial.number % len(self._cells)]

    def _new(self) -> Trial | None:
        """A run not had yet; None when the budget or the space is used up."""
        for _ in range(REPEATS):
            if len(self._handed_out()) >= self._sweep.budget.trials:
                return None
            trial = self._study.ask(self._sweep.distributions())
            digest = self._sweep.trial(self._sample(trial)).digest()
            if digest not in {t.user_attrs.get("trial") for t in self._handed_out()}:
                trial.set_user_attr("trial", digest)
                return trial
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _handed_out(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that were given to Tune, in any state (proposals that repeated an earlier run were not)."""
        return [t for t in self._study.get_trials(deepcopy=False) if "trial" in t.user_attrs]

    def _tell(self, trial: Trial, ended: Outcome, value: float) -> None:
        state = STATES[ended.status] if math.isfinite(value) else TrialState.FAIL
        self._study.tell(trial, value if state is TrialState.COMPLETE else None, state)

    def _reconcile(self, record: Record) -> list[Trial]:
        """After a killed driver: tell what the ledger knows the end of; return the trials it does not."""
        left = []
        for frozen in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            trial = Trial(self._study, frozen._trial_id)
            known = record.trials.get(frozen.user_attrs.get("trial", ""))
            if "trial" not in frozen.user_attrs:
                self._study.tell(trial, state=TrialState.FAIL)
            elif known is None or known.status == "unfinished":
                left.append(trial)
            else:
                ended = Outcome(known.status, known.cause, known.step)
                value = known.last(self._goal.metric)
                self._tell(trial, ended, math.nan if value is None else value)
        return left


def _sampler(sweep: SweepSpec) -> optuna.samplers.BaseSampler:
    """The crossed axes come from the sweep's cells, so under `grid` nothing is left to sample."""
    seed, few = sweep.search.seed, min(10, max(4, sweep.budget.trials // 4))
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=few
        ),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "grid": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    return samplers[sweep.search.sampler]()

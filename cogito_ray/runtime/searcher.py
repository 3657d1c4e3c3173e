"""Optuna behind Ray Tune, told the truth: stopped trials are PRUNED with all they reported, dead ones FAIL.

Ray's own OptunaSearch tells stopped trials as COMPLETE with their low-rung value, leaves those that report NaN RUNNING
for ever, and passes no constraints. This one also survives the driver: with a storage on disk, trials that were under
way when the driver died are handed out again, as they were.
"""

import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from cogito_ray.records.ledger import Status
from cogito_ray.records.record import Record
from cogito_ray.records.record import Trial as Recorded
from cogito_ray.records.standing import step_passed
from cogito_ray.run import BranchSpec, RunSpec
from cogito_ray.runtime.copier import Copier, sample_of
from cogito_ray.runtime.outcome import Left, Outcome, metrics_of, outcome
from cogito_ray.runtime.warm_start import earlier_trials
from cogito_ray.spec import digest
from cogito_ray.sweeps.asha import Verdict
from cogito_ray.sweeps.domains import Sample
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.sweeps.stopping import Policy

STATES = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.STOPPED: TrialState.PRUNED,
    Status.FAILED: TrialState.FAIL,
}
PROPOSALS, DRAWS = 5, 200
"""Times in a row that the sampler, and then a random draw, may repeat a run before the space counts as exhausted."""
ALIVE = "alive"
"""The constraint that a trial breaks by dying."""


class OptunaSearcher(Searcher):
    """Hands out a sweep's trials, those that waited and copies before new ones, and tells the study how each went."""

    def __init__(
        self,
        sweep: SweepSpec,
        storage: optuna.storages.BaseStorage,
        record: Record,
        *,
        policy: Policy,
        over: Callable[[str, Verdict], None],
        written: Callable[[str, int], bool] = lambda trial, step: True,
    ):
        """`policy`: the one that reports go to. `over` is told of each trial that waited in vain, before the study.
        `written`: has the trial a checkpoint of this step?"""
        super().__init__()
        self._policy, self._waited_in_vain = policy, over
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._aim, self._cells = sweep, sweep.aim, sweep.cells()
        self._study = optuna.create_study(
            study_name=sweep.identity(),
            storage=storage,
            directions=["minimize" if goal.minimised else "maximize" for goal in sweep.goals],
            load_if_exists=True,
        )
        known = len(self._study.trials)
        self._seeds = np.random.SeedSequence((sweep.search.seed, known)).generate_state(2)  # a resumed one draws anew
        self._study.sampler = sampler(sweep, int(self._seeds[0]))
        if not known:
            self._begin()
        self._open: dict[str, Trial] = {}
        self._reports: dict[str, dict[int, list[float]]] = {}
        """Of each trial that is not over, by its name."""
        self._runs: dict[str, RunSpec] = {}
        self._waiting: dict[str, Trial] = {}
        self._again = deque(self._reconcile(record))
        self._copier = Copier(sweep, policy, written)
        self._dry = self._over = False

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to hand out: is the budget, or the space, used up, and every copy made?"""
        told = self._handed_out()
        had = self._dry or len(_members(told)) >= self._sweep.budget.trials
        return had and not self._again and not self._waiting and not self._copier.due(told)

    def sources(self, record: Record) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which copies are to go on, or may have to once others come to that step."""
        due = self._copier.sources(self._handed_out(), record.trials)
        passed = min([step_passed(record, self._sweep.budget.trials), *(step for _, step in due)])
        return due | {(name, step) for name, step in self._policy.sources if step > passed}

    def end(self) -> None:
        """Hand out nothing more, though something may be left."""
        self._over = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray forgot FINISHED
        """The next trial: one the last driver left unfinished, else one that waited long enough, else a copy of
        another, else a new one.

        None while only those under way can tell whether there will be another; FINISHED when there is none.
        """
        if self._over:
            return str(Searcher.FINISHED)
        trial = self._next()
        if trial is None and self._open:
            return None
        if trial is None:
            self._give_up()
            return str(Searcher.FINISHED)
        place, sample, run = trial.user_attrs["place"], sample_of(trial), self._run_of(trial)
        self._open[trial_id] = trial
        self._reports.setdefault(trial.user_attrs["trial"], {})
        return {"trial": run.digest(), "number": place, "sample": sample, "run": run.model_dump(mode="json")}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        metrics, step = metrics_of(result), result["step"]
        reports, goals = self._reports[self._open[trial_id].user_attrs["trial"]], self._aim.goals
        if self._aim.merit(metrics).finite and step > max(reports, default=-1):
            reports[step] = [metrics[goal.metric] for goal in goals]
            if len(goals) == 1:  # Optuna has no intermediate values for several goals; those are told at the end
                self._open[trial_id].report(reports[step][0], step)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if result is not None:
            self.on_trial_result(trial_id, result)  # the report at which a trial is stopped comes here only
        trial = self._open.pop(trial_id)
        name = trial.user_attrs["trial"]
        ended = outcome(result, steps=self._run_of(trial).training.steps, error=error)
        if not isinstance(ended, Left):
            self._tell(trial, ended, metrics_of(result), self._reports.pop(name))
        elif name in self._policy.waiting:  # it stays RUNNING in the study
            self._waiting[name] = trial
        else:
            self._again.append(trial)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's storage and the ledger are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's storage and the ledger are the state."""

    def _begin(self) -> None:
        """What a fresh study is told: trials of earlier sweeps, and the points to start with."""
        for trial in earlier_trials(self._sweep):
            self._study.add_trial(trial)
        for point in self._sweep.search.start_with:
            self._study.enqueue_trial(point)

    def _run_of(self, trial: Trial) -> RunSpec:
        run, branch = self._run(sample_of(trial)), trial.user_attrs.get("branch")
        return run if branch is None else run.model_copy(update={"branch": BranchSpec.model_validate(branch)})

    def _run(self, sample: Sample) -> RunSpec:
        """Made once: validating a run takes milliseconds, and a sampler repeats itself."""
        key = digest(sample)
        if key not in self._runs:
            self._runs[key] = self._sweep.trial(sample)
        return self._runs[key]

    def _next(self) -> Trial | None:
        trial = self._again.popleft() if self._again else self._promoted(idle=False) or self._copy() or self._new()
        if trial is not None:
            return trial
        self._dry = True
        return None if self._open else self._promoted(idle=True)

    def _promoted(self, *, idle: bool) -> Trial | None:
        """One that has left and is to go on. Who is about to leave comes back by itself when it has."""
        while name := self._policy.promoted(idle=idle):
            if name in self._waiting:
                return self._waiting.pop(name)
        return None

    def _give_up(self) -> None:
        """Nobody is left to be compared with: who waits still, has waited in vain."""
        for name, trial in self._waiting.items():
            verdict = self._policy.waiting[name]
            self._waited_in_vain(name, verdict)
            reports = self._reports.pop(name)
            last = dict(zip((goal.metric for goal in self._aim.goals), reports[max(reports)], strict=True))
            self._tell(trial, Outcome(Status.STOPPED, verdict.cause, max(reports)), last, reports)
        self._waiting.clear()

    def _copy(self) -> Trial | None:
        """A copy that takes the place of a stopped trial: in the study at once, as a trial that runs."""
        if (made := self._copier.next(self._handed_out())) is None:
            return None
        self._study.add_trial(made)
        told = {trial.user_attrs["trial"]: trial for trial in self._handed_out()}
        return Trial(self._study, told[made.user_attrs["trial"]]._trial_id)

    def _new(self) -> Trial | None:
        """A run not had yet; None when the budget or the space is used up."""
        told = self._handed_out()
        had, members = {trial.user_attrs["trial"] for trial in told}, len(_members(told))
        if self._dry or members >= self._sweep.budget.trials:
            return None
        crossed = self._cells[members % len(self._cells)]  # these go round with the trial's place in the sweep
        trial = self._first_unlike(had, crossed, PROPOSALS)
        if trial is None and self._sweep.distributions():
            usual, self._study.sampler = self._study.sampler, RandomSampler(seed=int(self._seeds[1]) + len(had))
            trial = self._first_unlike(had, crossed, DRAWS)
            self._study.sampler = usual
        return trial

    def _first_unlike(self, had: set[str], crossed: Sample, asks: int) -> Trial | None:
        for _ in range(asks):
            trial = self._drawn(crossed)
            sample = trial.params | crossed
            name = "" if self._sweep.leaves_out(sample) else self._run(sample).digest()
            if name and name not in had:
                trial.set_user_attr("place", len(had))
                trial.set_user_attr("crossed", crossed)
                trial.set_user_attr("trial", name)
                return trial
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _drawn(self, crossed: Sample) -> Trial:
        """A fresh one, with a value for every axis that varies there; what others depend on comes first."""
        drawn, space = self._sweep.distributions(), self._sweep.space
        trial = self._study.ask({path: domain for path, domain in drawn.items() if not space[path].when})
        for path in self._sweep.order():
            if path in drawn and path not in trial.params and space[path].applies(trial.params | crossed):
                suggest(trial, path, drawn[path])
        return trial

    def _handed_out(self) -> list[FrozenTrial]:
        """Trials given to Tune, in any state; not so proposals that repeated a run, nor trials of earlier sweeps."""
        return [t for t in self._study.get_trials(deepcopy=False) if "trial" in t.user_attrs]

    def _tell(
        self, trial: Trial, ended: Outcome, metrics: Mapping[str, float], reports: Mapping[int, list[float]]
    ) -> None:
        state = STATES[ended.status] if self._aim.merit(metrics).finite else TrialState.FAIL
        if len(self._aim.goals) > 1:
            trial.set_user_attr("reports", {str(step): values for step, values in reports.items()})
        if state is TrialState.FAIL:
            trial.set_user_attr("cause", ended.cause or "what it reported is not finite")
            trial.set_constraint(ALIVE, 1.0)
        if state is TrialState.COMPLETE:  # a constraint broken half-way may hold at the end
            for metric, excess in self._aim.excesses(metrics).items():
                trial.set_constraint(metric, excess)
        values = [metrics[goal.metric] for goal in self._aim.goals] if state is TrialState.COMPLETE else None
        self._study.tell(trial, values, state)

    def _reconcile(self, record: Record) -> list[Trial]:
        """After a killed driver: tell what the ledger knows the end of; return the trials that were under way."""
        left = []
        for frozen in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            trial = Trial(self._study, frozen._trial_id)
            name = frozen.user_attrs.get("trial", "")
            known = record.trials.get(name)
            reports = self._told(known) if known else {}
            if "trial" not in frozen.user_attrs:
                self._study.tell(trial, state=TrialState.FAIL)
            elif known is not None and known.end is not None:
                self._tell(trial, Outcome(known.end.status, known.cause, known.step), known.latest(), reports)
            else:
                self._reports[name] = reports
                if known is not None and known.left and name in self._policy.waiting:
                    self._waiting[name] = trial
                else:
                    left.append(trial)
        return left

    def _told(self, known: Recorded) -> dict[int, list[float]]:
        """Step -> the goals' values, of every report that has them all."""
        goals = [goal.metric for goal in self._aim.goals]
        told = ((step, report.metrics) for step, report in sorted(known.reports.items()))
        return {step: [at[goal] for goal in goals] for step, at in told if set(goals) <= set(at)}


def _members(told: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that are no copies: what `budget.trials` counts."""
    return [trial for trial in told if "copy" not in trial.user_attrs]


def suggest(trial: Trial, path: str, drawn: BaseDistribution) -> None:
    """Let the sampler draw one more value for the trial."""
    match drawn:
        case FloatDistribution():
            trial.suggest_float(path, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
        case IntDistribution():
            trial.suggest_int(path, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
        case CategoricalDistribution():
            trial.suggest_categorical(path, drawn.choices)


def sampler(sweep: SweepSpec, seed: int) -> BaseSampler:
    """The crossed axes come from the sweep's cells, so under `grid` nothing is left to sample."""
    trials = sweep.budget.trials
    few, grouped = min(10, max(4, trials // 4)), any(domain.when for domain in sweep.space.values())
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=grouped, constant_liar=True, n_startup_trials=few
        ),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=few),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, trials // 5))),
        "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: RandomSampler(seed=seed),
    }
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):  # of group
        return samplers[sweep.search.sampler]()

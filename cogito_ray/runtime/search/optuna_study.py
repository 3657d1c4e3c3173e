"""Optuna's study of a sweep, in memory: it draws samples, and is told the truth about what became of them.

Stopped trials are PRUNED with all they reported, dead ones FAIL; Ray's own OptunaSearch tells stopped ones as COMPLETE
with their low-rung value, leaves those that report NaN RUNNING for ever, and passes no constraints.

The study is built anew from the ledger at every start. A draw depends on the seed and on what the study holds, and on
nothing else: each is made by a fresh sampler, and what samplers note for themselves in the study is made again.
"""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from cogito_ray.records.ledger import SampleRejected, Status, TrialEnded, TrialProposed
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.statistics.memory_forecast import OUT_OF_MEMORY
from cogito_ray.sweeps.sweep_spec import SweepSpec

STATES = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.STOPPED: TrialState.PRUNED,
    Status.FAILED: TrialState.FAIL,
}
ALIVE = "alive"
"""The constraint that a trial breaks by dying."""
SHARED = ":relative_params:"
"""In the name of what samplers note for samplers in other processes, while a trial runs."""


class Study:
    """Time of a draw grows with its trials: TPE 10 ms for ten, 100 ms for 5,000."""

    def __init__(self, sweep: SweepSpec):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = sweep.search_space
        self._sweep, self._aim, self._drawn = sweep, sweep.aim, space.distributions()
        self._conditional = [path for path in space.ordered if path in self._drawn and space.axes[path].when]
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            study_name=sweep.identity(), storage=self._storage, directions=directions(sweep), sampler=RandomSampler(0)
        )
        self._waiting: set[int] = set()
        """Numbers of trials that have left at a rung, and may go on."""
        self._times: dict[int, tuple[float, float | None]] = {}
        """When the trial of this number was proposed, and when it ended."""
        self._noting = sweep.search.sampler.abilities.takes_notes
        self._again = sampler(sweep, 0) if self._noting else self._study.sampler

    @property
    def trials(self) -> list[FrozenTrial]:
        """All it holds, in order; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def shown(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        """As it stands now, for others to read: with the times of the ledger, and without what samplers note. Who waits
        runs, until it is told how it ended."""
        now = copy.copy(self._storage.get_trial(trial._trial_id))
        if now.number in self._waiting:
            now.state = TrialState.RUNNING
        began, ended = self._times.get(now.number, (None, None))
        if began is not None:
            now.datetime_start = datetime.fromtimestamp(began)
        if ended is not None:
            now.datetime_complete = datetime.fromtimestamp(ended)
        constraints = now.constraints
        now.system_attrs = {}
        for name, excess in constraints.items():
            now.set_constraint(name, excess)
        return now

    def seeds(self, count: int) -> list[int]:
        """Of the next draw."""
        held = len(self._study.get_trials(deepcopy=False))
        return [int(seed) for seed in np.random.SeedSequence((self._sweep.search.seed, held)).generate_state(count)]

    def learn(self, trials: Iterable[FrozenTrial]) -> None:
        """Trials of earlier sweeps."""
        for trial in trials:
            self._study.add_trial(trial)

    def draw(self, crossed: Sample, given: Sample) -> Trial:
        """A further trial with these values of the crossed axes, a value for every other axis that varies there, as the
        sampler has it, and these instead where they are given."""
        return self._ask(self._study, crossed, given, sampler(self._sweep, self.seeds(1)[0]))

    def draw_again(self, crossed: Sample, sample: Sample) -> Trial:
        """What was drawn before the last start."""
        return self._ask(self._study, crossed, sample, self._again)

    def at_random(self, crossed: Sample) -> Iterator[Sample]:
        """Samples with these values of the crossed axes that leave no trace in the study, without end."""
        aside = optuna.create_study(sampler=RandomSampler(self.seeds(2)[1]))
        while True:
            yield self._ask(aside, crossed, {}, aside.sampler).params | crossed

    def name(self, trial: Trial, proposal: TrialProposed, crossed: Sample) -> None:
        """Say which run it is."""
        attributes = {"place": proposal.number, "crossed": crossed, "trial": proposal.trial}
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        self._times[trial.number] = (proposal.at, None)

    def add(self, proposal: TrialProposed) -> Trial:
        """A trial whose sample nobody draws: a copy of another."""
        distributions = {path: self._drawn[path] for path in self._drawn if path in proposal.sample}
        attributes = {"copy": proposal.copy_number, "branch": proposal.spec["branch"]}
        params = {path: proposal.sample[path] for path in distributions}
        frozen = optuna.create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attributes
        )
        self._study.add_trial(frozen)
        return Trial(self._study, self.trials[-1]._trial_id)

    def reject(self, trial: Trial, rejected: SampleRejected) -> None:
        """It is no run, or one that there is already."""
        trial.set_user_attr("cause", rejected.cause)
        self._times[trial.number] = (rejected.at, rejected.at)
        if (state := failed(rejected.cause)) is TrialState.PRUNED:
            trial.set_constraint(ALIVE, 1.0)
        self._study.tell(trial, state=state)

    def report(self, trial: Trial, step: int, values: list[float]) -> None:
        """A running trial's goals after `step` steps."""
        if len(values) == 1:  # Optuna has no intermediate values for several goals; those are told at the end
            trial.report(values[0], step)

    def waits(self, trial: Trial) -> None:
        """It has left at a rung, and counts as stopped until it goes on: samplers learn from what stopped trials have
        measured, but nothing good from those that run, and as many as wait they would draw at random until most are
        over."""
        self._waiting.add(trial.number)
        self._storage.get_trial(trial._trial_id).state = TrialState.PRUNED

    def goes_on(self, trial: Trial) -> None:
        """It was started, or taken up again, or is about to end."""
        if trial.number in self._waiting:
            self._waiting.discard(trial.number)
            self._storage.get_trial(trial._trial_id).state = TrialState.RUNNING

    def tell(
        self, trial: Trial, over: TrialEnded, metrics: Mapping[str, float], reports: Mapping[int, list[float]]
    ) -> None:
        """What became of a trial that last measured these metrics."""
        self._times[trial.number] = (self._times[trial.number][0], over.at)
        self.goes_on(trial)
        state = STATES[over.status] if self._aim.merit(metrics).finite else TrialState.FAIL
        if len(self._aim.goals) > 1:
            trial.set_user_attr("reports", {str(step): values for step, values in reports.items()})
        if state is TrialState.FAIL:
            trial.set_user_attr("cause", over.cause or "what it reported is not finite")
            trial.set_constraint(ALIVE, 1.0)
            state = failed(over.cause)
        if state is TrialState.COMPLETE:  # a constraint broken half-way may hold at the end
            for metric, excess in self._aim.excesses(metrics).items():
                trial.set_constraint(metric, excess)
        values = [metrics[goal.metric] for goal in self._aim.goals] if state is TrialState.COMPLETE else None
        self._study.tell(trial, values, state)

    def _ask(self, study: optuna.Study, crossed: Sample, given: Sample, drawing: BaseSampler) -> Trial:
        """What others depend on comes first."""
        usual, study.sampler = study.sampler, drawing
        if given:
            study.enqueue_trial({path: value for path, value in given.items() if path in self._drawn})
        trial = study.ask({path: drawn for path, drawn in self._drawn.items() if path not in self._conditional})
        for path in self._conditional:
            if self._sweep.space[path].applies(trial.params | crossed):
                suggest(trial, path, self._drawn[path])
        if study is self._study:
            self._settle(trial)
        study.sampler = usual
        return trial

    def _settle(self, trial: Trial) -> None:
        """Let the study hold the same whether the sampler drew every value, or some were given."""
        if self._noting:
            trial.relative_params  # noqa: B018  # samplers take their notes when asked for it
        for key in list(self._storage.get_trial(trial._trial_id).system_attrs):
            if SHARED in key:
                self._storage.set_trial_system_attr(trial._trial_id, key, "")


def failed(cause: str) -> TrialState:
    """What cannot fit is no accident: samplers that know constraints keep away from it, as from nothing that failed."""
    return TrialState.PRUNED if cause.startswith(OUT_OF_MEMORY) else TrialState.FAIL


def directions(sweep: SweepSpec) -> list[StudyDirection]:
    """Of the goals."""
    return [StudyDirection.MINIMIZE if goal.minimised else StudyDirection.MAXIMIZE for goal in sweep.goals]


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
    """A fresh one. The crossed axes come from the sweep's grid points, so under `grid` nothing is left to sample."""
    conditional = any(domain.when for domain in sweep.space.values())
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):  # of TPE's group
        return sweep.search.sampler.build(seed, trials=sweep.budget.trials, conditional=conditional)

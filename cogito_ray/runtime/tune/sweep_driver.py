"""A sweep from its spec to its ledger: prepare the text, search, stop early, record. Runs again where it was left."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ray import tune
from ray.tune import TuneConfig, Tuner

from cogito_ray.object_storage.storage_mirror import url_of
from cogito_ray.records.control_requests import SweepLimits
from cogito_ray.records.ledger import CHECKPOINTS, COMPLETE, INTERRUPTED, TRIALS, Event, Ledger
from cogito_ray.records.results.ablations import ablated
from cogito_ray.records.results.gate_results import judge
from cogito_ray.records.results.scaling_forecasts import forecasts, past_misses
from cogito_ray.records.sweep_progress import spent
from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.cluster import cluster, dashboard_link, kinds_of_gpus, left_behind
from cogito_ray.runtime.control_channel import ControlChannel
from cogito_ray.runtime.control_files import PAUSED, PREEMPT, lower_flag, raise_flag
from cogito_ray.runtime.elastic_room import ElasticRoom
from cogito_ray.runtime.experiment_folder import ExperimentFolder, closing, refuse_few_rows, refuse_missing_text
from cogito_ray.runtime.metrics_export import MetricsExporter
from cogito_ray.runtime.preflight_checks import refuse_missing_inputs, refuse_shared_files
from cogito_ray.runtime.search.further_runs import FurtherRuns, ablation_runs, ladder_runs, seed_replicates
from cogito_ray.runtime.search.optuna_storage_copy import StudyCopy
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.train.initial_weights_fit_check import refuse_damaged_weights, refuse_misfits
from cogito_ray.runtime.trial_recorder import Config, TrialRecorder
from cogito_ray.runtime.tune.budget_callback import BudgetCallback
from cogito_ray.runtime.tune.control_callback import ControlCallback
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner, most_within_quota
from cogito_ray.runtime.tune.notification import Notifier
from cogito_ray.runtime.tune.trainable import resources, trial
from cogito_ray.runtime.tune.tune_adapters import SilentReporter, Stage, StageCallback, StageScheduler, StageSearcher
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.sweep_validation import judged_by
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.preparation_plan import Listener
from cogito_ray.training.checkpoints.checkpoint_store import folder_of, is_written

Listed = Callable[[SweepSpec, Record], list[Config]]
Concluded = Callable[[SweepSpec, Record, Path], Iterable[Event]]
TUNE = "tune"
"""Folder of Tune's own files, which nobody needs once the sweep is complete."""
FOLLOW_UPS: tuple[tuple[Listed, Concluded], ...] = (
    (seed_replicates, lambda sweep, record, storage: ()),
    # sealed before anybody may start a full run
    (ladder_runs, lambda sweep, record, storage: forecasts(sweep, record, partial(past_misses, storage))),
    (ablation_runs, lambda sweep, record, storage: ablated(sweep, record)),     # each setting alone ...
    (ablation_runs, lambda sweep, record, storage: ablated(sweep, record)),     # ... then those not needed together
)
"""What runs once the search is over, and what is written down of it, and of the storage's other ledgers, then."""
MOST_PENDING = 1000
"""Trials that Tune may hold ready; how many it is given, StageSearcher says."""


def run_sweep(
    sweep: SweepSpec, storage: Path, listener: Listener = lambda _: None, *, experiment: ExperimentFolder | None = None
) -> Record:
    """Run what is left of the sweep. Its ledger, in `<storage>/<name>/`, tells at any time what has happened.

    The listener hears how far the preparation of the text is. `experiment`: the sweep's, where it was read already.
    """
    experiment = experiment or ExperimentFolder.of_sweep(sweep, storage)
    before = experiment.recorded()
    if before is not None and experiment.is_finished(before):
        return before
    refuse_missing_inputs(sweep, experiment.folder.parent)
    runs = [sweep.trial(corner) for corner in sweep.search_space.corners()]
    refuse_missing_text(sweep.search_space.corpora(), runs)
    refuse_shared_files(experiment.folder, runs, sweep.budget)
    if before is None:
        refuse_damaged_weights(runs)
    with experiment.driving():
        record = _driven(sweep, experiment, listener)
    shutil.rmtree(experiment.folder / TUNE, ignore_errors=True)
    return record


def _driven(sweep: SweepSpec, experiment: ExperimentFolder, listener: Listener) -> Record:
    """As its only driver. What was done so far is read again: another driver may just have ended."""
    storage, before = experiment.folder.parent, experiment.recorded()
    if before is not None and experiment.is_finished(before):
        return before
    runs = [sweep.trial(corner) for corner in sweep.search_space.corners()]
    limits = deepcopy(before.limits) if before else SweepLimits()
    limits.open(experiment.spec)
    budget = limits.budget or sweep.budget
    with Ledger(experiment.ledger) as ledger:
        if before is not None and (exhausted := budget.exhausted(spent(before))):
            ledger.append(experiment.opening(before.data))
            ledger.append(closing(_cause(before, exhausted, over=False)))
            return experiment.now
        asked = any(run.sizes[-1] > 1 for run in runs) or None
        with (
            cluster(dashboard=asked, log=experiment.folder) as dashboard,
            ElasticRoom(runs, requested=limits.concurrency) as room,
        ):
            corpora = experiment.prepare(sweep.search_space.corpora(), storage, listener)
            refuse_few_rows(runs, corpora, judged_by(sweep.aim, sweep.judged_gates))
            if before is None or not before.trials:
                refuse_misfits(runs, corpora)
            room.most = most_within_quota(sweep, runs, corpora, at_once=room.fits(limits.concurrency))
            data = {key: corpus.digests for key, corpus in corpora.items()}
            ledger.append(experiment.opening(data, corpora, gpus=kinds_of_gpus()))
            notifier = Notifier(sweep.notify, experiment.folder, ledger.append)
            if dashboard:
                ledger.append(dashboard_link(dashboard))
            with MetricsExporter(sweep.name, experiment.folder, experiment.now) as metrics:
                cause = _Stages(sweep, experiment, ledger, room, data, limits, notifier, metrics).run()
            for verdict in judge(experiment.now):
                ledger.append(verdict)
                if verdict.holds:
                    notifier.tell("gate", f"{verdict.condition}, so {verdict.then}")
            ledger.append(closing(cause))
            notifier.tell("end", cause)
            notifier.settle()
            if held := left_behind():
                raise RuntimeError(
                    f"{experiment.folder}: the sweep is over and recorded, but still holds {', '.join(held)}, which "
                    "Ray frees when this process ends; give the same command again for table and report"
                )
    return experiment.now


@dataclass(frozen=True)
class _Stages:
    """The search, and after it FOLLOW_UPS; all watched, and all written down."""

    sweep: SweepSpec
    experiment: ExperimentFolder
    ledger: Ledger
    room: ElasticRoom
    data: Mapping[str, DataDigests]
    """What trials read, by `corpus_key`."""
    limits: SweepLimits
    notifier: Notifier
    metrics: MetricsExporter

    def run(self) -> str:
        """Do what is left of both; say why that is over."""
        record = self.experiment.now
        search = Search(self.sweep, self._recorder(record), list(record.events), written=self._has_written)
        search.follow(StudyCopy(self.sweep, self.experiment.folder, search.trials).update)
        cause = self._tune(record, search)
        for listed, concluded in FOLLOW_UPS:
            if cause == COMPLETE:
                record = self.experiment.now
                cause = self._tune(record, FurtherRuns(listed(self.sweep, record), self._recorder(record)))
            if cause == COMPLETE:
                for event in concluded(self.sweep, self.experiment.now, self.experiment.folder.parent):
                    self.ledger.append(event)
        return (search.shortfall or cause) if cause == COMPLETE else cause

    def _recorder(self, record: Record) -> TrialRecorder:
        return TrialRecorder(self._append, self.experiment.folder / TRIALS, record)

    def _append(self, event: Event) -> None:
        self.ledger.append(event)
        self.metrics.tell(event)

    def _has_written(self, trial: str, step: int) -> bool:
        return is_written(folder_of(self.experiment.folder / TRIALS / trial / CHECKPOINTS, step))

    def _pause(self, trial: str) -> None:
        raise_flag(self.experiment.folder / TRIALS / trial / PAUSED)

    def _tune(self, record: Record, stage: Stage) -> str:
        preempt = self.experiment.folder / TRIALS / PREEMPT
        lower_flag(preempt)
        budget, shared = self.limits.budget or self.sweep.budget, self.experiment.record
        pruner = CheckpointPruner(self.ledger, shared, preempt.parent, budget.disk_bytes, stage.sources)
        watch = BudgetCallback(budget, record, preempt, stage.close, pruner, self.metrics.spending)
        control, held = self._control(record, stage, watch), False
        with suppress(KeyboardInterrupt):    # while all wait; Tune has a way of its own
            while not stage.exhausted:
                control.wait(held=held)
                if watch.exhausted:
                    break
                searcher = StageSearcher(stage, self.limits, self.room.fits)
                config = TuneConfig(
                    search_alg=searcher,
                    scheduler=StageScheduler(stage, self._pause, self.metrics.rung),
                    num_samples=-1,  # until the stage says that it is over
                    max_concurrent_trials=MOST_PENDING,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: f"{self.sweep.name}-{trial.config['number']}",
                    trial_dirname_creator=lambda trial: f"{trial.config['trial']}-{trial.trial_id}",  # once a start
                )
                told = StageCallback(stage, self.limits, self.room.request)
                callbacks = [told, watch, control, self.notifier]    # the ledger first: pruning reads it
                with _interrupts_given_back():
                    _tuner(self.experiment, self.data, config, callbacks).fit()
                self.room.request(0)
                if not searcher.paused or stage.is_busy:
                    break
                held = stage.on_hold
        return _cause(self.experiment.now, watch.exhausted, over=stage.exhausted)

    def _control(self, record: Record, stage: Stage, watch: BudgetCallback) -> ControlCallback:
        return ControlCallback(
            ControlChannel(self.experiment.folder),
            self.ledger.append,
            stage,
            self.limits,
            watch,
            self.experiment.folder / TRIALS / PREEMPT,
            answered={event.id for event in record.controls},
            refuse_many=self.room.refuse_more,
        )


@contextmanager
def _interrupts_given_back() -> Iterator[None]:
    """Tune takes SIGINT over and keeps it, so that the next Ctrl-C of this process would do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _tuner(
    experiment: ExperimentFolder, data: Mapping[str, DataDigests], config: TuneConfig, callbacks: list[tune.Callback]
) -> Tuner:
    """Tune, told by us what to try, what to stop and whom to tell."""
    storage = experiment.folder.parent
    body = partial(
        trial, storage=storage, url=url_of(storage), data=dict(data), trials=experiment.folder / TRIALS
    )
    body.__name__ = experiment.folder.name  # type: ignore[attr-defined]  # what Ray's dashboard calls its actors
    return Tuner(
        tune.with_resources(body, resources),
        tune_config=config,
        run_config=tune.RunConfig(
            name=f"{time.time():.3f}",
            storage_path=str(experiment.folder / TUNE),
            failure_config=tune.FailureConfig(max_failures=0),    # StageCallback sees to who goes on
            callbacks=callbacks,
            progress_reporter=SilentReporter(),
            verbose=0,
        ),
    )


def _cause(record: Record, exhausted: str, *, over: bool) -> str:
    """Why Tune has returned: nothing is left to do, the budget is exhausted, or somebody interrupted it."""
    trials = record.runs.values()
    unfinished = sum(trial.end is None for trial in trials)
    if over and not unfinished:
        return COMPLETE
    if exhausted:
        more = "write a larger budget into the file, under the same name"
        return f"{exhausted}, with {unfinished} trials under way: {more}"
    return f"{INTERRUPTED} with {unfinished} trials under way"

"""One run on its own, under Ray Train, recorded like a sweep of one trial."""

import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.v2.api.exceptions import TrainingFailedError

from cogito_ray.object_storage.storage_mirror import url_of
from cogito_ray.records.ledger import (
    COMPLETE,
    INTERRUPTED,
    Ledger,
    Reported,
    Status,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.results.gate_results import judge
from cogito_ray.records.sweep_record import Record
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster, dashboard_link, kinds_of_gpus
from cogito_ray.runtime.control_files import stalls
from cogito_ray.runtime.elastic_room import ElasticRoom
from cogito_ray.runtime.evaluation.checkpoint_evaluation import Panel
from cogito_ray.runtime.evaluation.evaluation_during_training import ConcurrentEvaluation, evaluate_rest, panel_of
from cogito_ray.runtime.experiment_folder import (
    Corpora,
    ExperimentFolder,
    closing,
    refuse_few_rows,
    refuse_missing_text,
)
from cogito_ray.runtime.metrics_export import MetricsExporter
from cogito_ray.runtime.preflight_checks import refuse_missing_inputs, refuse_shared_files
from cogito_ray.runtime.train.initial_weights_fit_check import refuse_damaged_weights, refuse_misfits
from cogito_ray.runtime.train.torch_trainer import trainer
from cogito_ray.runtime.train.train_worker import Job
from cogito_ray.runtime.trial_recorder import metrics_of
from cogito_ray.sweeps.sweep_validation import asked_by_gates
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import Listener


def pretrain(
    run: RunSpec,
    name: str,
    storage: Path,
    listener: Listener = lambda _: None,
    *,
    data: DataDigests | None = None,
    experiment: ExperimentFolder | None = None,
) -> Record:
    """Train `run` to its end in `<storage>/<name>/`, from its newest checkpoint if it was interrupted.

    Its checkpoints are asked labelled questions meanwhile, the last one in any case. A complete run is asked nothing
    more.
    The listener hears how far the preparation of the text is. `data`: what it must be, where that is settled.
    `experiment`: the run's, where it was read already.
    """
    storage = storage.absolute()
    experiment = experiment or ExperimentFolder.of_run(run, name, storage)
    before = experiment.recorded()
    if before is not None and before.is_complete:
        return before
    refuse_missing_inputs(run)
    refuse_missing_text([run.data], [run])
    panel = panel_of(run)
    refuse_shared_files(experiment.folder, [run])
    if before is None:
        refuse_damaged_weights([run])
    with (
        experiment.driving(),
        cluster(dashboard=True, log=experiment.folder) as dashboard,
        ElasticRoom([run], requested=1, in_sweep=False),
    ):
        bound = {corpus_key(run.data): data} if data else {}
        corpora = partial(experiment.prepare, [run.data], storage, listener, bound=bound)
        return _trained(run, storage, experiment, panel, corpora, dashboard)


def _trained(
    run: RunSpec,
    storage: Path,
    experiment: ExperimentFolder,
    panel: Panel | None,
    prepared: Callable[[], Corpora],
    dashboard: str,
) -> Record:
    """As its only driver. What was done so far is read again: another driver may just have ended."""
    before = experiment.recorded()
    if before is not None and before.is_complete:
        return before
    trial, done = run.digest(), before.trials[run.digest()].seconds if before and before.trials else 0.0
    corpora = prepared()
    refuse_few_rows([run], corpora, asked_by_gates(run))
    if before is None:
        refuse_misfits([run], corpora)
    [(key, corpus)] = corpora.items()
    job = Job(run, storage, corpus.digests, experiment.folder, url=url_of(storage))
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening({key: job.data}, corpora, gpus=kinds_of_gpus()))
        if dashboard:
            ledger.append(dashboard_link(dashboard))
        spec = run.model_dump(mode="json")
        started = TrialStarted(at=time.time(), trial=trial, number=0, sample={}, spec=spec, data=job.data)
        ledger.append(started)
    evaluation = ConcurrentEvaluation(run, experiment.ledger, panel) if panel else None
    try:
        failure = _fit(job, experiment, _LedgerCallback(job, experiment.ledger, done, evaluation, started))
    except SystemExit:  # how Train ends its driver on SIGINT, once its workers are gone
        return _closed(experiment, INTERRUPTED)
    _end(experiment, run, failure)
    if failure:
        return experiment.now
    if panel:
        evaluate_rest(run, experiment.ledger, panel)
    with Ledger(experiment.ledger) as ledger:
        for verdict in judge(experiment.now):
            ledger.append(verdict)
    return _closed(experiment, COMPLETE)


def _closed(experiment: ExperimentFolder, cause: str) -> Record:
    with Ledger(experiment.ledger) as ledger:
        ledger.append(closing(cause))
    return experiment.now


def _fit(job: Job, experiment: ExperimentFolder, teller: "_LedgerCallback") -> str:
    """Train to the end, over again as long as every attempt comes further; why it was given up, or nothing.

    Train itself starts lost workers again, but only so often: machines fail more often than that in a long run.
    """
    failure, reached = "", -1
    while (step := experiment.now.trials[job.run.digest()].step) > reached:
        reached = step
        try:
            trainer(job, callbacks=[teller]).fit()
            return ""
        except TrainingFailedError as failed:
            failure = "; ".join(stalls(experiment.folder)) or str(failed)
        except RayActorError as failed:
            failure = f"Ray Train's controller died: {failed}"
    return failure


def _end(experiment: ExperimentFolder, run: RunSpec, failure: str) -> None:
    trial = experiment.now.trials[run.digest()]
    if trial.end is None:
        status = Status.COMPLETED if trial.step == run.training.steps and not failure else Status.FAILED
        with Ledger(experiment.ledger) as ledger:
            ledger.append(TrialEnded(at=time.time(), trial=trial.id, status=status, step=trial.step, cause=failure))


class _LedgerCallback(UserCallback):
    """Writes the first worker's reports, and what its checkpoints answer, into the ledger. Lives in Train's controller
    process."""

    def __init__(
        self,
        job: Job,
        ledger: Path,
        seconds: float,
        evaluation: ConcurrentEvaluation | None,
        started: TrialStarted,
    ):
        self._path, self._trial, self._steps = ledger, job.run.digest(), job.run.training.steps
        self._job, self._evaluation, self._started = job, evaluation, started
        self._began = time.time() - seconds

    @cached_property
    def _metrics(self) -> MetricsExporter:
        """Of the process that this is in when it is first told anything."""
        exporter = MetricsExporter(self._job.experiment, self._job.folder)
        exporter.tell(self._started)
        return exporter

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        first, event = metrics[0], self._event(metrics[0])
        with Ledger(self._path) as ledger:
            ledger.append(event)
            self._metrics.tell(event)
            if self._evaluation is not None:
                over = "died" in first or first["step"] == self._steps
                for answer in self._evaluation.look(over=over):
                    ledger.append(answer)

    def _event(self, result: dict[str, Any]) -> TrialEnded | Reported:
        step = result["step"]
        if "died" in result:
            cause = result["died"]
            return TrialEnded(at=time.time(), trial=self._trial, status=Status.FAILED, step=step, cause=cause)
        return Reported(
            trial=self._trial,
            step=step,
            seconds=time.time() - self._began,
            metrics=metrics_of(result),
            rows=result["rows"],
            notes=result["notes"],
        )

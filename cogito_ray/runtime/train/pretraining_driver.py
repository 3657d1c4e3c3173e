"""One run on its own, under Ray Train, recorded like a sweep of one trial."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.v2.api.exceptions import TrainingFailedError

from cogito_ray.records.ledger import COMPLETE, INTERRUPTED, Ledger, Reported, Status, TrialEnded, TrialStarted
from cogito_ray.records.sweep_record import Record
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster, concurrency
from cogito_ray.runtime.evaluation.batch_evaluation import Panel
from cogito_ray.runtime.evaluation.concurrent_evaluation import Beside, ask_rest, panel_of
from cogito_ray.runtime.experiment_folder import Corpora, Home, closing, refuse_few_rows, refuse_missing
from cogito_ray.runtime.preflight_checks import refuse_absent
from cogito_ray.runtime.run_files import stalls
from cogito_ray.runtime.train.initial_weights_check import refuse_misfits, refuse_torn
from cogito_ray.runtime.train.torch_trainer import trainer
from cogito_ray.runtime.train.train_worker import Job
from cogito_ray.runtime.trial_outcome import metrics_of
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation import Listener


def pretrain(
    run: RunSpec,
    name: str,
    storage: Path,
    listener: Listener = lambda _: None,
    *,
    data: DataDigests | None = None,
    home: Home | None = None,
) -> Record:
    """Train `run` to its end in `<storage>/<name>/`, from its newest checkpoint if it was interrupted.

    Its checkpoints are asked labelled questions beside, the last one in any case. A complete run is asked nothing more.
    The listener hears how far the preparation of the text is. `data`: what it must be, where that is settled.
    `home`: the run's, where somebody reads it already.
    """
    storage = storage.absolute()
    home = home or Home.of_run(run, name, storage)
    before = home.recorded()
    if before is not None and before.is_complete:
        return before
    refuse_absent(run)
    refuse_missing([run.data], [run])
    panel = panel_of(run)
    if before is None:
        refuse_torn([run])
    with home.driving(), cluster(dashboard=True):
        bound = {corpus_key(run.data): data} if data else {}
        corpora = partial(home.prepare, [run.data], storage, listener, bound=bound)
        return _trained(run, storage, home, panel, corpora)


def _trained(run: RunSpec, storage: Path, home: Home, panel: Panel | None, prepared: Callable[[], Corpora]) -> Record:
    """As its only driver. What was done so far is read again: another driver may just have ended."""
    before = home.recorded()
    if before is not None and before.is_complete:
        return before
    trial, done = run.digest(), before.trials[run.digest()].seconds if before and before.trials else 0.0
    concurrency([run], asked=1, in_sweep=False)
    corpora = prepared()
    refuse_few_rows([run], corpora)
    if before is None:
        refuse_misfits([run], corpora)
    [(key, corpus)] = corpora.items()
    job = Job(run, storage, corpus.digests, home.folder)
    with Ledger(home.ledger) as ledger:
        ledger.append(home.opening({key: job.data}))
        spec = run.model_dump(mode="json")
        ledger.append(TrialStarted(at=time.time(), trial=trial, number=0, sample={}, spec=spec, data=job.data))
    beside = Beside(run, home.ledger, panel) if panel else None
    try:
        failure = _fit(job, home, _Teller(run, home.ledger, done, beside))
    except SystemExit:  # how Train ends its driver on SIGINT, once its workers are gone
        return _closed(home, INTERRUPTED)
    _end(home, run, failure)
    if panel and not failure:
        ask_rest(run, home.ledger, panel)
    return home.now if failure else _closed(home, COMPLETE)


def _closed(home: Home, cause: str) -> Record:
    with Ledger(home.ledger) as ledger:
        ledger.append(closing(cause))
    return home.now


def _fit(job: Job, home: Home, teller: "_Teller") -> str:
    """Train to the end, over again as long as every attempt comes further; why it was given up, or nothing.

    Train itself starts lost workers again, but only so often: machines fail more often than that in a long run.
    """
    failure, reached = "", -1
    while (step := home.now.trials[job.run.digest()].step) > reached:
        reached = step
        try:
            trainer(job, callbacks=[teller]).fit()
            return ""
        except TrainingFailedError as failed:
            failure = "; ".join(stalls(home.folder)) or str(failed)
        except RayActorError as failed:
            failure = f"Ray Train's controller died: {failed}"
    return failure


def _end(home: Home, run: RunSpec, failure: str) -> None:
    trial = home.now.trials[run.digest()]
    if trial.end is None:
        status = Status.COMPLETED if trial.step == run.training.steps and not failure else Status.FAILED
        with Ledger(home.ledger) as ledger:
            ledger.append(TrialEnded(at=time.time(), trial=trial.id, status=status, step=trial.step, cause=failure))


class _Teller(UserCallback):
    """Writes the first worker's reports, and what its checkpoints answer, into the ledger. Lives in Train's controller
    process."""

    def __init__(self, run: RunSpec, ledger: Path, seconds: float, beside: Beside | None):
        self._path, self._trial, self._steps, self._beside = ledger, run.digest(), run.training.steps, beside
        self._began = time.time() - seconds

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        first = metrics[0]
        with Ledger(self._path) as ledger:
            ledger.append(self._event(first))
            if self._beside is not None:
                over = "died" in first or first["step"] == self._steps
                for event in self._beside.look(over=over):
                    ledger.append(event)

    def _event(self, told: dict[str, Any]) -> TrialEnded | Reported:
        step = told["step"]
        if "died" in told:
            cause = told["died"]
            return TrialEnded(at=time.time(), trial=self._trial, status=Status.FAILED, step=step, cause=cause)
        return Reported(
            trial=self._trial,
            step=step,
            seconds=time.time() - self._began,
            metrics=metrics_of(told),
            rows=told["rows"],
            notes=told["notes"],
        )

"""A sweep from its spec to its ledger: prepare the text, search, stop early, record. Runs again where it was left."""

import shutil
import time
from functools import partial
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune import TuneConfig, Tuner

from cogito_ray.records.ledger import COMPLETE, Ledger
from cogito_ray.records.record import Record, read
from cogito_ray.records.verdicts import judge
from cogito_ray.runtime.cluster import cluster, concurrency, left_behind
from cogito_ray.runtime.home import Home, closing, refuse_missing
from cogito_ray.runtime.origin import refuse_misfits
from cogito_ray.runtime.prepare import prepare
from cogito_ray.runtime.schedulers import EarlyStopping
from cogito_ray.runtime.scribe import Scribe
from cogito_ray.runtime.searcher import OptunaSearcher
from cogito_ray.runtime.trial import resources, trial
from cogito_ray.runtime.worker import TRIALS
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.text.prepare import Listener

JOURNAL = "study.journal"
"""Optuna's file in a sweep's folder; `optuna-dashboard` opens it."""
TUNE = "tune"
"""Folder of Tune's own files, which nobody needs once the sweep is complete."""
RETRIES = 2
"""Times a trial whose process died is taken up again, from its newest checkpoint."""


def home_of(sweep: SweepSpec, storage: Path) -> Home:
    """Where the sweep lives, and what it is."""
    return Home(storage / sweep.name, sweep.model_dump(mode="json"))


def run_sweep(sweep: SweepSpec, storage: Path, listener: Listener = lambda _: None) -> Record:
    """Run what is left of the sweep. Its ledger, in `<storage>/<name>/`, tells at any time what has happened.

    The listener hears how far the preparation of the text is.
    """
    storage = storage.absolute()
    home = home_of(sweep, storage)
    before = home.recorded()
    if before is not None and before.is_complete:
        return before
    refuse_missing(sweep.corpora())
    runs = [sweep.trial(corner) for corner in sweep.corners()]
    with Ledger(home.ledger) as ledger, cluster(dashboard=any(run.workers > 1 for run in runs)):
        at_once = concurrency(runs, asked=sweep.concurrency)
        ledger.append(home.opening())
        for data in sweep.corpora():
            prepare(data, storage, listener)
        if before is None or not before.trials:
            refuse_misfits(runs, storage)
        record = read(ledger.path)
        journal = JournalStorage(JournalFileBackend(str(home.folder / JOURNAL)))
        searcher = OptunaSearcher(sweep, journal, record)
        _tuner(sweep, home, searcher, record, ledger, at_once=at_once).fit()
        result = read(ledger.path)
        for verdict in judge(result):
            ledger.append(verdict)
        ledger.append(closing(_cause(result, searcher)))
        if held := left_behind():
            raise RuntimeError(f"the sweep is over, but Ray still holds {', '.join(held)}; `ray stop` frees it")
    shutil.rmtree(home.folder / TUNE, ignore_errors=True)
    return read(home.ledger)


def _tuner(
    sweep: SweepSpec, home: Home, searcher: OptunaSearcher, record: Record, ledger: Ledger, *, at_once: int
) -> Tuner:
    """Tune, told by us what to try, what to stop and whom to tell."""
    scheduler = EarlyStopping(sweep, record)
    body = partial(trial, storage=home.folder.parent, trials=home.folder / TRIALS)
    return Tuner(
        tune.with_resources(body, resources),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=sweep.budget.trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
        ),
        run_config=tune.RunConfig(
            name=f"{time.time():.0f}",
            storage_path=str(home.folder / TUNE),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[Scribe(ledger, record, scheduler.causes)],
            verbose=0,
        ),
    )


def _cause(record: Record, searcher: OptunaSearcher) -> str:
    """Why Tune has returned: nothing is left to do, or somebody interrupted it."""
    unfinished = sum(trial.status == "unfinished" for trial in record.trials.values())
    return f"interrupted with {unfinished} trials under way" if unfinished or not searcher.exhausted else COMPLETE

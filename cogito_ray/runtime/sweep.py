"""A sweep from its spec to its ledger: prepare the text, search, stop early, record. Runs again where it was left."""

import shutil
import socket
import time
from functools import partial
from pathlib import Path

from ray import tune
from ray.tune import TuneConfig, Tuner

from cogito_ray.records.ledger import NAME, Ledger, SweepClosed, SweepOpened
from cogito_ray.records.provenance import collect
from cogito_ray.records.record import Record, read
from cogito_ray.runtime.cluster import cluster, concurrency, left_behind
from cogito_ray.runtime.prepare import prepare
from cogito_ray.runtime.schedulers import EarlyStopping
from cogito_ray.runtime.scribe import Scribe
from cogito_ray.runtime.searcher import OptunaSearcher
from cogito_ray.runtime.trial import resources, trial
from cogito_ray.sweeps.files import diff
from cogito_ray.sweeps.spec import SweepSpec

COMPLETE = "complete"
"""Cause of the last SweepClosed of a sweep that needs nothing more."""
TUNE = "tune"
"""Folder of Tune's own files, which nobody needs once the sweep is complete."""
RETRIES = 2
"""Times a trial whose process died is taken up again, from its newest checkpoint."""


class OtherSweep(ValueError):
    """A sweep of this name, but with other settings, is already in the storage."""


def folder_of(sweep: SweepSpec, storage: Path) -> Path:
    return storage / sweep.name


def recorded(sweep: SweepSpec, storage: Path) -> Record | None:
    """What this sweep has done so far; None if it never started. Raises OtherSweep if the name is another sweep's."""
    ledger = folder_of(sweep, storage) / NAME
    if not ledger.exists() or not ledger.stat().st_size:
        return None
    record = read(ledger)
    if changes := diff(record.opened.spec, sweep.model_dump(mode="json")):
        raise OtherSweep(
            "\n".join(
                [
                    f"{ledger.parent} holds a sweep '{sweep.name}' with other settings:",
                    *(f"  {line}" for line in changes),
                    "give this one another name, or delete that folder",
                ]
            )
        )
    return record


def is_complete(record: Record) -> bool:
    return record.closing is not None and record.closing.cause == COMPLETE


def run_sweep(sweep: SweepSpec, storage: Path) -> Record:
    """Run what is left of the sweep. Its ledger, in `<storage>/<name>/`, tells at any time what has happened."""
    storage = storage.absolute()
    before = recorded(sweep, storage)
    if before is not None and is_complete(before):
        return before
    runs = [sweep.trial(corner) for corner in sweep.corners()]
    folder = folder_of(sweep, storage)
    with Ledger(folder / NAME) as ledger, cluster(dashboard=any(run.workers > 1 for run in runs)):
        at_once = concurrency(runs, asked=sweep.concurrency)
        ledger.append(_opening(sweep))
        for data in sweep.corpora():
            prepare(data, storage)
        searcher = OptunaSearcher(sweep, folder / "study.journal", read(ledger.path))
        _tuner(sweep, searcher, ledger, storage=storage, at_once=at_once).fit()
        ledger.append(SweepClosed(at=time.time(), cause=_closing(read(ledger.path), searcher)))
        if held := left_behind():
            raise RuntimeError(f"the sweep is over, but Ray still holds {', '.join(held)}; `ray stop` frees it")
    shutil.rmtree(folder / TUNE, ignore_errors=True)
    return read(ledger.path)


def _tuner(sweep: SweepSpec, searcher: OptunaSearcher, ledger: Ledger, *, storage: Path, at_once: int) -> Tuner:
    """Tune, told by us what to try, what to stop and whom to tell."""
    record, folder = read(ledger.path), folder_of(sweep, storage)
    return Tuner(
        tune.with_resources(partial(trial, storage=storage, trials=folder / "trials"), resources),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=EarlyStopping(sweep, record),
            num_samples=sweep.budget.trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
        ),
        run_config=tune.RunConfig(
            name=f"{time.time():.0f}",
            storage_path=str(folder / TUNE),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[Scribe(ledger, record)],
            verbose=0,
        ),
    )


def _opening(sweep: SweepSpec) -> SweepOpened:
    return SweepOpened(
        at=time.time(),
        spec=sweep.model_dump(mode="json"),
        sweep=sweep.digest(),
        provenance=collect(host=socket.gethostname()),
    )


def _closing(record: Record, searcher: OptunaSearcher) -> str:
    """Why Tune has returned: nothing is left to do, or somebody interrupted it."""
    unfinished = sum(trial.status == "unfinished" for trial in record.trials.values())
    return f"interrupted with {unfinished} trials under way" if unfinished or not searcher.exhausted else COMPLETE

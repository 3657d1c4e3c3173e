"""Where Optuna keeps the study of a sweep: a journal in the sweep's folder, or a database."""

import os
import re
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from cogito_ray.records.record import Record
from cogito_ray.sweeps.spec import SweepSpec

JOURNAL = "study.journal"
"""Optuna's file in a sweep's folder; `optuna-dashboard` opens it."""


def storage_of(sweep: SweepSpec, folder: Path, record: Record) -> BaseStorage:
    """Raises ValueError where the database cannot be used. One driver writes a study: the ledger sees to it."""
    if sweep.search.storage is None:
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    try:
        storage = RDBStorage(_with_secrets(sweep.search.storage))
    except ImportError as missing:
        why = missing.__cause__ or missing  # Optuna's own error does not name the module
        raise ValueError(f"search.storage: this database needs a driver that is not installed: {why}") from None
    _refuse_strangers(storage, sweep, record)
    return storage


def _with_secrets(url: str) -> str:
    wanted = re.findall(r"\$\{(\w+)\}", url)
    if unset := sorted({name for name in wanted if name not in os.environ}):
        raise ValueError(f"search.storage: {', '.join(unset)} is not set in the environment; export it")
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], url)


def _refuse_strangers(storage: BaseStorage, sweep: SweepSpec, record: Record) -> None:
    """A database, unlike a journal, may hold what the same sweep did in another folder."""
    name = sweep.identity()
    if name not in optuna.get_all_study_names(storage):
        return
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    ended = {trial.user_attrs["trial"] for trial in trials if trial.state.is_finished() and "trial" in trial.user_attrs}
    if not ended <= set(record.trials):
        raise ValueError(
            f"search.storage: its study {name} has trials that this folder's ledger does not know; give the sweep "
            f"another name, or delete that study with `optuna delete-study --study-name {name}`"
        )

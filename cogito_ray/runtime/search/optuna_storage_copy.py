"""A copy of a sweep's study for `optuna-dashboard`: a journal in the sweep's folder, or a database.

Nothing is read back from it but what it lacks. It is brought up to date when a driver starts, and written after the
ledger, as far as it can be written: without it a sweep goes on.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from cogito_ray.atomic_files import atomic_write, open_to_append
from cogito_ray.runtime.search.optuna_study import directions
from cogito_ray.sweeps.sweep_spec import SweepSpec

log = logging.getLogger(__name__)
JOURNAL = "study.journal"
"""Optuna's file in a sweep's folder."""
UNWRITABLE = (OSError, SQLAlchemyError, OptunaError)
"""What a full disk, or a database that is away, raise."""


class StudyCopy:
    """Written after the ledger; what cannot be written is warned of, and made up for at the next start."""

    def __init__(self, sweep: SweepSpec, folder: Path, trials: Sequence[FrozenTrial]):
        """`folder`: the sweep's. `trials`: all that its study holds by now. Raises ValueError where `search.storage`
        asks for what this machine lacks, or is taken."""
        self._url, self._sweep, self._is_broken = sweep.search.storage, sweep, False
        self._sent: dict[int, set[int]] = {}
        """Number of each trial -> steps of the reports that the copy has."""
        self._finished: set[int] = set()
        try:
            self._fill(_database(sweep, trials) if self._url else Journal(folder / JOURNAL), trials)
        except UNWRITABLE as fault:
            self._give_up(fault)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: it knows a password, and Tune pickles into its folder whatever it is given."""
        return {}

    def update(self, trial: FrozenTrial) -> None:
        """A trial is new, has reported, or has ended."""
        if self._is_broken:
            return
        try:
            self._write(trial)
        except UNWRITABLE as fault:
            self._give_up(fault)

    def _fill(self, there: "BaseStorage | Journal", trials: Sequence[FrozenTrial]) -> None:
        storage = JournalStorage(there) if isinstance(there, Journal) else there
        self._study = optuna.create_study(
            study_name=self._sweep.identity(), storage=storage, directions=directions(self._sweep), load_if_exists=True
        )
        for known in self._study.get_trials(deepcopy=False):
            self._sent[known.number] = set(known.intermediate_values)
            self._finished |= {known.number} if known.state.is_finished() else set()
        for trial in trials:
            self._write(trial)
        if isinstance(there, Journal):
            there.publish()

    def _write(self, trial: FrozenTrial) -> None:
        if trial.number not in self._sent:
            self._study.add_trial(trial)
        elif trial.number not in self._finished:
            self._bring_up_to_date(trial)
        self._sent[trial.number] = set(trial.intermediate_values)
        self._finished |= {trial.number} if trial.state.is_finished() else set()

    def _bring_up_to_date(self, trial: FrozenTrial) -> None:
        storage, study = self._study._storage, self._study._study_id
        theirs = Trial(self._study, storage.get_trial_id_from_study_id_trial_number(study, trial.number))
        for step in sorted(trial.intermediate_values.keys() - self._sent[trial.number]):
            theirs.report(trial.intermediate_values[step], step)
        if trial.state.is_finished():
            for key, value in trial.user_attrs.items():
                theirs.set_user_attr(key, value)
            for name, excess in trial.constraints.items():
                theirs.set_constraint(name, excess)
            self._study.tell(theirs, trial.values if trial.state is TrialState.COMPLETE else None, trial.state)

    def _give_up(self, fault: Exception) -> None:
        self._is_broken = True
        where = f"in {self._url}" if self._url else JOURNAL
        said = _hidden(str(fault), self._url or "")
        log.warning("the copy of the study %s is not written until the next start: %s", where, said)


class Journal(BaseJournalBackend):
    """Optuna's journal with one writer: made anew and whole by `publish`, and appended to from then on.

    Optuna's own waits half a minute for the lock of a writer that was killed, and fails for ever on a torn line.
    """

    def __init__(self, path: Path):
        self._path, self._lines = path, list[bytes]()
        self._file: int | None = None
        self._unread: list[dict[str, Any]] = []
        self._first = 0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """What this process wrote and Optuna has not read back yet."""
        self._unread = self._unread[log_number_from - self._first :]
        self._first = log_number_from
        return iter(list(self._unread))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Kept in memory until `publish`, then written at once."""
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        self._unread += [json.loads(line) for line in lines]
        if self._file is None:
            self._lines += lines
        else:
            os.write(self._file, b"".join(lines))

    def publish(self) -> None:
        """Replace the file by what was written so far."""
        with atomic_write(self._path) as draft:
            draft.writelines(self._lines)
        self._file = open_to_append(self._path)
        self._lines.clear()


def _database(sweep: SweepSpec, trials: Sequence[FrozenTrial]) -> BaseStorage:
    """With this sweep's study as far as it holds what is held here, and else without it."""
    try:
        storage = RDBStorage(_with_secrets(sweep.search.storage or ""))
    except ImportError as missing:
        why = missing.__cause__ or missing  # Optuna's own error does not name the module
        raise ValueError(f"search.storage: this database needs a driver that is not installed: {why}") from None
    name = sweep.identity()
    if name in optuna.get_all_study_names(storage):
        theirs = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
        _refuse_strangers(name, theirs, trials)
        if not _is_beginning(theirs, trials):
            optuna.delete_study(study_name=name, storage=storage)
    return storage


def _is_beginning(theirs: Sequence[FrozenTrial], ours: Sequence[FrozenTrial]) -> bool:
    pairs = zip(theirs, ours, strict=False)
    return len(theirs) <= len(ours) and all(
        their.params == our.params
        and their.user_attrs.get("trial") == our.user_attrs.get("trial")
        and (their.state == our.state or not their.state.is_finished())
        for their, our in pairs
    )


def _refuse_strangers(name: str, theirs: Sequence[FrozenTrial], ours: Sequence[FrozenTrial]) -> None:
    """A database, unlike a journal, may hold what the same sweep did in another folder."""
    ended = {trial.user_attrs.get("trial") for trial in theirs if trial.state.is_finished()}
    if not ended <= {None} | {trial.user_attrs.get("trial") for trial in ours}:
        raise ValueError(
            f"search.storage: its study {name} has trials that this folder's ledger does not know; give the sweep "
            f"another name, or delete that study with `optuna delete-study --study-name {name}`"
        )


def _secrets(url: str) -> list[str]:
    """Names of variables of the environment that stand in it."""
    return re.findall(r"\$\{(\w+)\}", url)


def _with_secrets(url: str) -> str:
    if unset := sorted({name for name in _secrets(url) if name not in os.environ}):
        raise ValueError(f"search.storage: {', '.join(unset)} is not set in the environment; export it")
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], url)


def _hidden(text: str, url: str) -> str:
    for name in _secrets(url):
        if os.environ.get(name):
            text = text.replace(os.environ[name], f"${{{name}}}")
    return text

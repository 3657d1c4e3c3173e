"""Keeps a sweep's checkpoints within `budget.disk`: looks whenever a trial has ended, and says what it deleted."""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import groupby
from math import ceil
from pathlib import Path

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.records.ledger import CHECKPOINTS, CheckpointsPruned, Ledger, Status
from cogito_ray.records.results.disk_quota_priority import retention_priorities
from cogito_ray.records.sweep_record import Record, SharedRecord
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import Corpora
from cogito_ray.sweeps.disk_quota import Stored, least, pruned
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.training.checkpoints.checkpoint_store import bytes_of, folder_of, remove

LOST = frozenset({Status.FAILED, Status.STOPPED})
"""Whose checkpoints go first."""


class CheckpointPruner:
    """Lists all checkpoints once, then those of trials that may have changed; ranks trials while there are too many."""

    def __init__(
        self,
        ledger: Ledger,
        record: SharedRecord,
        trials: Path,
        quota: float | None,
        sources: Callable[[Record], Collection[tuple[str, int]]] = lambda record: (),
    ):
        """`record`: what the ledger tells. `trials`: of one folder a trial. `quota`: bytes; None = no limit. `sources`:
        see `quota.pruned`."""
        self._ledger, self._record = ledger, record
        self.quota, self._trials, self._sources = quota, trials, sources
        self._stored: dict[str, list[Stored]] | None = None
        """By trial; None until it looks for the first time."""
        self.bytes = 0
        """Of all checkpoints when it looked last, after pruning."""

    def look(self, changed: Iterable[str] = ()) -> None:
        """Delete what is over the quota and not needed. `changed`: trials that may have written checkpoints since it
        looked last."""
        if self.quota is None:
            return
        if self._stored is None:
            self._stored, changed = {}, [folder.parent.name for folder in self._trials.glob(f"*/{CHECKPOINTS}")]
        for name in changed:
            self._list(name, self._stored)
        if self.bytes > self.quota:
            self._prune(self._stored, self.quota)

    def _list(self, name: str, stored: dict[str, list[Stored]]) -> None:
        found = []
        for folder in sorted((self._trials / name / CHECKPOINTS).glob("step-*")):
            size = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
            found.append(Stored(name, int(folder.name.removeprefix("step-")), size))
        self.bytes += sum(one.size for one in found) - sum(one.size for one in stored.pop(name, []))
        if found:
            stored[name] = found

    def _prune(self, stored: dict[str, list[Stored]], quota: float) -> None:
        with self._record.now() as record:
            known = {name: trial for name in stored if (trial := record.known(name)) is not None}
            named = self._branches(record, known)
            lost = {name: trial for name, trial in known.items() if trial.status in LOST}
            for among in (lost, known):    # the others are ranked where those that lost are not enough
                if self.bytes > quota:
                    ones = [one for name in among for one in stored.get(name, [])]
                    rest = self.bytes - sum(one.size for one in ones)
                    priorities = retention_priorities(record, among.values())
                    self._delete(pruned(ones, priorities, quota - rest, sources=named), stored)

    def _delete(self, ones: Iterable[Stored], stored: dict[str, list[Stored]]) -> None:
        for trial, group in groupby(ones, key=lambda one: one.trial):
            going = list(group)
            steps, size = tuple(one.step for one in going), sum(one.size for one in going)
            self._ledger.append(CheckpointsPruned(at=time.time(), trial=trial, steps=steps, bytes=size))
            for one in going:
                with suppress(OSError):  # its run may be faster
                    remove(folder_of(self._trials / trial / CHECKPOINTS, one.step))
            self._list(trial, stored)

    def _branches(self, record: Record, own: Collection[str]) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which copies go on, made or not, while they have none of their `own`."""
        branches = {trial.branch for name, trial in record.copies.items() if trial.branch and name not in own}
        return branches.union(self._sources(record))


def most_within_quota(sweep: SweepSpec, runs: Iterable[RunSpec], corpora: Corpora, *, at_once: int) -> int | None:
    """How many trials at once `budget.disk` can hold, None = any number. ValueError where fewer than `at_once`.

    `runs`: the corners of the sweep. `corpora`: what they read.
    """
    if (quota := sweep.budget.disk_bytes) is None:
        return None
    runs = list(runs)
    unlike = {(run.model.digest(), run.data.digest()): run for run in runs}
    largest = max(_checkpoint_bytes(run, corpora[corpus_key(run.data)]) for run in unlike.values())
    trials, steps = sweep.budget.trials, max(run.training.steps for run in runs)

    def needed(count: int) -> float:
        held = sweep.early_stopping.held(steps, trials=trials, at_once=count)
        return least(largest, at_once=count, trials=trials, held=held)

    if needed(at_once) > quota:
        held = sweep.early_stopping.held(steps, trials=trials, at_once=at_once)
        others = f", and {held} for trials that wait or are to be copied," if held else ""
        raise ValueError(
            f"budget.disk: {sweep.budget.disk} is too little: a checkpoint takes up to {largest:,} bytes, and one of "
            f"each of {at_once} trials at once and of the best one{others} {needed(at_once):,}; write "
            f"{ceil(needed(at_once) / 1e6)}MB or more, or lower {'budget.trials' if held else 'concurrency'}"
        )
    return next(count for count in range(max(trials, at_once), 0, -1) if needed(count) <= quota)


def _checkpoint_bytes(run: RunSpec, corpus: Corpus) -> int:
    moments = 2 if run.training.optimizer.ema is None else 3
    return bytes_of(TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss), moments)

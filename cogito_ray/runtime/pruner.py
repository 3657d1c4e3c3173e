"""Keeps a sweep's checkpoints within `budget.disk`: looks whenever a trial has ended, and says what it deleted."""

import shutil
import time
from itertools import groupby
from pathlib import Path

from cogito_ray.records.ledger import CheckpointsPruned, Ledger
from cogito_ray.records.record import read
from cogito_ray.records.standing import standings
from cogito_ray.sweeps.quota import Stored, pruned


class Pruner:
    def __init__(self, ledger: Ledger, trials: Path, quota: float | None):
        """`trials`: folder of one folder a trial. `quota`: bytes; None = no limit."""
        self._ledger, self._trials, self._quota = ledger, trials, quota
        self.bytes = 0
        """Of all checkpoints when it looked last, after pruning."""

    def look(self) -> None:
        """Delete what is over the quota and not needed."""
        if self._quota is None:
            return
        known = standings(read(self._ledger.path))
        stored = [one for one in self._stored() if one.trial in known]
        gone = pruned(stored, known, self._quota)
        self.bytes = sum(one.size for one in stored) - sum(one.size for one in gone)
        for trial, group in groupby(gone, key=lambda one: one.trial):
            ones = list(group)
            steps, size = tuple(one.step for one in ones), sum(one.size for one in ones)
            self._ledger.append(CheckpointsPruned(at=time.time(), trial=trial, steps=steps, bytes=size))
            for one in ones:
                shutil.rmtree(_folder(self._trials, one.trial, one.step), ignore_errors=True)  # its run may be faster

    def _stored(self) -> list[Stored]:
        found = []
        for folder in sorted(self._trials.glob("*/checkpoints/step-*")):
            size = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
            found.append(Stored(folder.parents[1].name, int(folder.name.removeprefix("step-")), size))
        return found


def _folder(trials: Path, trial: str, step: int) -> Path:
    return trials / trial / "checkpoints" / f"step-{step:08d}"

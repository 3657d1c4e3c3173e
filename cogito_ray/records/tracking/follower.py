"""Sends a ledger to a tracker, event by event, also while it grows: in a process beside the driver, whose trouble costs
training nothing.

What was sent is noted beside the ledger, so that publishing again sends only what is new.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import cast

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.base_spec import TrackerName
from cogito_ray.records.ledger import (
    NAME,
    Evaluated,
    Event,
    Ledger,
    LedgerFault,
    Linked,
    Noted,
    Promoted,
    Reported,
    TrialEnded,
    TrialStarted,
    events,
)
from cogito_ray.records.sweep_record import Record, SharedRecord, read
from cogito_ray.records.tracking.trackers import TRACKERS, TrackedRun

SENT = "published.json"
"""How many events each tracker was sent, in the experiment's folder."""
POLL_S = 5.0
PATIENCE_S = 30.0
"""For a tracker that sends nothing more, once the driver has ended."""
SAVED_EVERY = 50
"""Events after which what was sent is noted."""
PROJECT = "cogito-ray"


class Follower:
    """Of one experiment and one tracker. ValueError for what is no project's name, NoTracker (one, too) where the
    tracker takes nothing."""

    def __init__(self, folder: Path, kind: TrackerName, project: str = PROJECT):
        self._folder, self._kind = folder, kind
        self._key = f"{kind}/{project}"
        self._note, self._record = folder / SENT, SharedRecord(folder / NAME)
        self._tracker = TRACKERS[kind](folder, project)

    def send(self) -> Record:
        """What the ledger holds and the tracker has not; the record that was read."""
        with self._record.now() as record:
            if not record.openings:
                raise record.unopened()
            done = self._sent().get(self._key, 0)
            for number, event in enumerate(record.events[done:], start=done + 1):
                self._tell(record, event)
                if number % SAVED_EVERY == 0 or number == len(record.events):
                    atomic_write_text(self._note, json.dumps(self._sent() | {self._key: number}, indent=1))
            return record

    def close(self) -> None:
        """Send what is on its way."""
        self._tracker.close()

    def _sent(self) -> dict[str, int]:
        return dict(json.loads(self._note.read_text())) if self._note.exists() else {}

    def _tell(self, record: Record, event: Event) -> None:
        match event:
            case TrialStarted():
                self._link(record, event.trial, _run(record, event.trial))
            case Reported():
                self._tracker.log(_run(record, event.trial), event.step, event.metrics)
            case Evaluated():
                asked = f"{event.task}/{event.protocol}"
                scores = {f"{asked}/{one.vectors}/{one.metric}": one.value for one in event.scores}
                self._tracker.score(_run(record, event.trial), event.step, scores)
            case TrialEnded():
                self._tracker.end(_run(record, event.trial), event.status, event.cause)
            case Promoted() if event.complete:
                self._promoted(record, event)

    def _promoted(self, record: Record, event: Promoted) -> None:
        """A full run's own ledger has what it reported."""
        group, number = _name(record), record.trials[event.trial].number
        for told in events(Path(event.folder) / NAME):
            match told:
                case TrialStarted():
                    run = TrackedRun(event.run, f"{group}-{number}-full", group, ("promoted",), {}, told.spec)
                    self._link(record, event.run, run)
                case Reported():
                    self._tracker.log(run, told.step, told.metrics)
                case TrialEnded():
                    self._tracker.end(run, told.status, told.cause)

    def _link(self, record: Record, trial: str, run: TrackedRun) -> None:
        url = self._tracker.url(run)
        if record.links.get((self._kind, trial)) != url:
            with Ledger(self._folder / NAME) as ledger:
                ledger.append(Linked(at=time.time(), where=self._kind, url=url, trial=trial))


def _name(record: Record) -> str:
    return str(record.opened.spec.get("name", Path(record.path).parent.name))


def _run(record: Record, trial: str) -> TrackedRun:
    found = record.known(trial)
    assert found is not None, trial     # the record refuses events of trials that never started
    group, number = _name(record), found.number
    if found.replicates is None:
        return TrackedRun(found.id, f"{group}-{number}", group, (), found.sample, found.spec)
    tag = "replicate" if found.changes is None else "variant"
    return TrackedRun(found.id, f"{group}-{number}-{found.id[:6]}", group, (tag,), found.sample, found.spec)


def publish(folder: Path, kind: TrackerName = "wandb", project: str = PROJECT, *, follow: bool = False) -> Record:
    """Send what the ledger in `folder` holds and the tracker has not; the record that was read. `follow`: until it is
    closed."""
    follower = Follower(folder, kind, project)
    try:
        record = follower.send()
        while follow and not record.closing:
            time.sleep(POLL_S)
            record = follower.send()
    finally:
        follower.close()
    return record


@contextmanager
def tracked(folder: Path, kinds: Sequence[TrackerName]) -> Iterator[None]:
    """Each tracker is sent what the ledger in `folder` comes to hold, by a process of its own. One that fails, or hangs
    once the block is over, costs a note in the ledger."""
    processes = {kind: _started(folder, kind) for kind in kinds}
    try:
        yield
    finally:
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for kind, process in processes.items():
            if why := _fault(folder, kind, process):
                _note(folder, f"{kind} was not told all ({why}); cogito-ray publish {folder} --to {kind} goes on")


def _started(folder: Path, kind: TrackerName) -> "subprocess.Popen[bytes]":
    """In a session of its own, which Ctrl-C does not reach. It ends once nobody can write to it any more."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(folder.absolute()), kind]
    with _log(folder, kind).open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)


def _log(folder: Path, kind: TrackerName) -> Path:
    return folder / f"{kind}.log"


def _fault(folder: Path, kind: TrackerName, process: "subprocess.Popen[bytes]") -> str:
    """Waits as long as it sends something. Why it failed, or was ended; empty where it did not."""
    sent, seen = folder / SENT, -1
    while (moved := sent.stat().st_mtime_ns if sent.exists() else 0) != seen:
        seen = moved
        with suppress(subprocess.TimeoutExpired):
            if process.wait(PATIENCE_S) == 0:
                return ""
            said = [line for line in _log(folder, kind).read_text(errors="replace").splitlines() if line.strip()]
            return said[-1] if said else "its process died"
    process.kill()
    process.wait()
    return f"nothing moved for {PATIENCE_S:g} s"


def _note(folder: Path, note: str) -> None:
    """With the first trial; where there is none, there was nothing to tell."""
    trials = read(folder / NAME).trials.values() if (folder / NAME).exists() else ()
    for trial in islice(trials, 1):
        with Ledger(folder / NAME) as ledger:
            ledger.append(Noted(trial=trial.id, step=trial.step, note=note))


def _follow(folder: Path, kind: TrackerName) -> None:
    """Until the process that started this closes its end, or is gone."""
    project = os.environ.get({"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}.get(kind, ""), PROJECT)
    follower, over = None, False
    while not over:
        over = bool(select.select([sys.stdin], [], [], POLL_S)[0])
        if (folder / NAME).exists():
            follower = follower or Follower(folder, kind, project)
            with suppress(LedgerFault):     # until its first line is written
                follower.send()
    if follower is not None:
        follower.close()


if __name__ == "__main__":
    _follow(Path(sys.argv[1]), cast(TrackerName, sys.argv[2]))

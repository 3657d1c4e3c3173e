"""What `import cogito_ray as cr` gives to watch and to steer sweeps that run, from any process that sees their storage.

What is asked is answered by the sweep's driver within a report, and stands in its ledger with the answer.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cogito_ray.base_spec import did_you_mean
from cogito_ray.object_storage.driver_lease import refresh, refresh_all
from cogito_ray.object_storage.storage_mirror import local
from cogito_ray.records.control_requests import (
    AddPoint,
    ChangeBudget,
    ControlRequest,
    PauseSweep,
    PauseTrial,
    ResumeSweep,
    ResumeTrial,
    SetConcurrency,
    StopTrial,
)
from cogito_ray.records.ledger import NAME, Controlled
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_progress import Progress, progress
from cogito_ray.records.sweep_record import Record, SharedRecord, read
from cogito_ray.runtime.control_channel import ControlChannel, driver_of
from cogito_ray.sweeps.space.domains import Scalar

RUNS = "runs"
PATIENCE_S, LOOKS_EVERY_S = 60.0, 0.2
"""For a driver's answer."""


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep or run is."""

    path: Path
    """Its folder."""
    driver: str
    """Who works at it; empty while nobody does."""
    progress: Progress
    record: Record
    """All that its ledger tells."""

    @property
    def state(self) -> str:
        """In a few words."""
        if self.driver:
            return "paused on request" if self.record.limits.is_paused else "running"
        return self.record.closing.cause if self.record.closing else "its driver was killed"

    def figures(self) -> dict[str, object]:
        """For scripts."""
        rows = [asdict(row) for row in rank(self.record).rows]
        told = {"folder": str(self.path), "state": self.state, "driver": self.driver, **asdict(self.progress)}
        controls = [event.model_dump(mode="json") for event in self.record.controls]
        return told | {"rows": rows, "controls": controls}


def status(run: str | Path | None = None, *, storage: str | Path = RUNS) -> list[SweepStatus]:
    """How far a sweep or run is, or all below a storage, those that run first.

        cr.status("runs/quickstart")[0].progress.left_s

    `run`: its folder, or its name in the storage. FileNotFoundError where there is none.
    """
    folders = _known(local(storage)) if run is None else [_folder(run, local(storage))]
    found = [status_of(folder, read(folder / NAME)) for folder in folders]
    return sorted(found, key=lambda one: not one.driver)


def stop(trial: str | int, *, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """End a trial with what it has reached; to the sampler it is a stopped one, not a bad one. What comes of it.

    `trial`: its number, or how its name begins. `run`: the sweep's folder, or its name in the storage; None: the only
    one that runs there. ValueError where it is refused: no such trial, no driver, no sweep that runs.
    """
    return _ask(run, storage, lambda record: StopTrial(trial=_trial(record, trial)))


def pause(trial: str | int | None = None, *, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """Let a trial, or a whole sweep, leave checkpoints and wait, also over restarts. See `stop`."""
    return _ask(
        run, storage, lambda record: PauseSweep() if trial is None else PauseTrial(trial=_trial(record, trial))
    )


def resume(trial: str | int | None = None, *, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """Let a trial, or a whole sweep, that was paused go on. See `stop`."""
    return _ask(
        run, storage, lambda record: ResumeSweep() if trial is None else ResumeTrial(trial=_trial(record, trial))
    )


def add(point: Mapping[str, Scalar], *, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """Try a point of the space next, besides the budget's trials; axes that it leaves out are drawn. See `stop`."""
    return _ask(run, storage, lambda _: AddPoint(point=dict(point)))


def budget(*changes: str, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """Change what a sweep may spend: `+4h` (of wall), `cpu_hours=20`, `trials=+8`. Holds until its file names another
    budget. See `stop`."""
    return _ask(run, storage, lambda _: ChangeBudget(changes=changes))


def concurrency(trials: int, *, run: str | Path | None = None, storage: str | Path = RUNS) -> str:
    """Change how many trials run at a time. Holds until the sweep's file names another number. See `stop`."""
    return _ask(run, storage, lambda _: SetConcurrency(trials=trials))


def status_of(folder: Path, record: Record) -> SweepStatus:
    """The same of a record that was read already."""
    driver = driver_of(folder)
    return SweepStatus(folder, driver, progress(record, time.time() if driver and not record.closing else None), record)


def _known(storage: Path) -> list[Path]:
    refresh_all(storage)
    return sorted(file.parent for file in storage.glob(f"*/{NAME}"))


def _folder(run: str | Path, storage: Path) -> Path:
    places = local(run), storage / run
    for folder in places:
        refresh(folder / NAME)
    found = next((folder for folder in places if (folder / NAME).exists()), None)
    if found is None:
        names = [folder.name for folder in _known(storage)]
        meant = did_you_mean(difflib.get_close_matches(Path(run).name, names), names or ["a folder of a sweep or run"])
        raise FileNotFoundError(f"{run}: no folder of a sweep or run, nor the name of one in {storage}; {meant}")
    return found


def _running(storage: Path) -> Path:
    """The only sweep that has a driver."""
    found = [folder for folder in _known(storage) if driver_of(folder)]
    if len(found) != 1:
        named = ", ".join(folder.name for folder in found)
        raise ValueError(f"{len(found)} sweeps run in {storage}{f': {named}' if found else ''}; name one, with --run")
    return found[0]


def _trial(record: Record, named: str | int) -> str:
    """The name of the trial that is meant. ValueError where none is, or several are."""
    numbers = {str(trial.number): name for name, trial in record.trials.items()}
    found = [numbers[str(named)]] if str(named) in numbers else []
    found = found or [name for name in record.trials if name.startswith(str(named))]
    if len(found) != 1:
        near = found or difflib.get_close_matches(str(named), record.trials)
        known = [f"0 to {len(numbers) - 1}"] if numbers else ["one that has started"]
        why = "several begin so" if found else "no such trial"
        raise ValueError(f"trial {named}: {why}; {did_you_mean(near, known)}")
    return found[0]


def _ask(run: str | Path | None, storage: str | Path, made: Callable[[Record], ControlRequest]) -> str:
    folder = _running(local(storage)) if run is None else _folder(run, local(storage))
    shared = SharedRecord(folder / NAME)
    with shared.now() as record:
        _refuse_unheard(folder, record)
        channel, request = ControlChannel(folder), made(record)
    asked = channel.send(request)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline and driver_of(folder):
            with shared.now() as record:
                answer = next((event for event in reversed(record.controls) if event.id == asked.id), None)
            if answer is not None:
                return _told(folder, answer)
            time.sleep(LOOKS_EVERY_S)
    finally:
        channel.remove(asked)
    busy = f"did not answer within {PATIENCE_S:g} s: it may be preparing text, or training full runs"
    raise ValueError(f"{folder}: its driver {busy if driver_of(folder) else 'ended'}; nothing was done")


def _told(folder: Path, answer: Controlled) -> str:
    if not answer.accepted:
        raise ValueError(f"{folder}: refused: {answer.outcome}")
    return answer.outcome


def _refuse_unheard(folder: Path, record: Record) -> None:
    """ValueError where nobody would answer."""
    if not record.axes:
        raise ValueError(f"{folder}: is a single run; Ctrl-C ends it with a checkpoint, its command goes on from there")
    if driver_of(folder):
        return
    if record.closing:
        raise ValueError(f"{folder}: has ended ({record.closing.cause}); change its file, and give its command")
    raise ValueError(f"{folder}: no driver is alive, so nobody would answer; give the sweep's command again first")

"""What a sweep or run needs of the machine that starts it, looked for in moments: no Ray, no network, no text."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cogito_ray.records.ledger import NAME, WarmStarted, events
from cogito_ray.run import RunSpec
from cogito_ray.sweeps.paths import overlap
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.training.start_from import StartFromSpec


class Absent(ValueError):
    """`faults`: each as `dotted place: what is missing; way out`."""

    def __init__(self, faults: Iterable[str]):
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


def refuse_absent(spec: SweepSpec | RunSpec, storage: Path | None = None) -> None:
    """Raises Absent with all that is not there: folders, variables, a database's driver.

    `storage`: where a sweep may have begun; what its ledger holds by now is needed no more.
    """
    if faults := [*(_of_sweep(spec, storage) if isinstance(spec, SweepSpec) else _of_run(spec))]:
        raise Absent(faults)


def _of_run(run: RunSpec) -> Iterator[str]:
    if run.branch is not None:
        yield "branch: a copy of a trial is trained in its sweep alone; leave it out, to start at step 0"
    yield from _of_start(run.start_from)


def _of_sweep(sweep: SweepSpec, storage: Path | None) -> Iterator[str]:
    yield from sweep.search.lacking()
    learnt = storage is not None and bool(sweep.search.warm_start) and _has_learnt(storage / sweep.name / NAME)
    for index, folder in enumerate(() if learnt else sweep.search.warm_start):
        if not (Path(folder) / NAME).is_file():
            yield f"search.warm_start.{index}: {folder} holds no {NAME}; name the folder of an earlier sweep"
    if any(overlap(path, "start_from") for path in (*sweep.run, *sweep.space)):
        for start in {sweep.trial(corner).start_from for corner in sweep.corners()}:
            yield from _of_start(start)


def _has_learnt(ledger: Path) -> bool:
    """Does it hold what the sampler knew of earlier sweeps?"""
    return ledger.is_file() and any(isinstance(event, WarmStarted) for event in events(ledger))


def _of_start(start: StartFromSpec | None) -> Iterator[str]:
    if start is None:
        return
    try:
        there = start.file.is_file()
    except ValueError:
        there = False
    if not there:
        yield f"start_from.folder: {start.folder} holds no weights; name a checkpoint, a folder step-..."

"""What a sweep or run needs of the machine that starts it, looked for in moments: no Ray, no network, no text."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from cogito_ray.base_spec import brief
from cogito_ray.object_storage.driver_lease import refresh
from cogito_ray.object_storage.storage_mirror import url_of
from cogito_ray.records.ledger import NAME, WarmStarted, events
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import BudgetSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.training.checkpoints.initial_weights import StartFromSpec

LONGEST = 300
"""Characters of a folder that are shown whole."""


class MissingInputs(ValueError):
    """`faults`: each as `dotted place: what is missing; way out`."""

    def __init__(self, faults: Iterable[str]):
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


def refuse_missing_inputs(spec: SweepSpec | RunSpec, storage: Path | None = None) -> None:
    """Raises MissingInputs with all that is not there: folders, variables, a database's driver.

    `storage`: where a sweep may have begun; what its ledger holds by now is needed no more.
    """
    if faults := [*(_of_sweep(spec, storage) if isinstance(spec, SweepSpec) else _of_run(spec))]:
        raise MissingInputs(faults)


def refuse_shared_files(folder: Path, runs: Iterable[RunSpec], budget: BudgetSpec | None = None) -> None:
    """Raises MissingInputs with what these runs need a folder for that all machines see, where `folder` mirrors an
    object store."""
    if (url := url_of(folder)) is None:
        return
    without = f"the storage {url} is no folder that all machines see"
    faults = [f"budget.disk: {without}; let training.checkpoints.keep say what stays"] if budget and budget.disk else []
    for run in runs:
        if run.data.keep == "text":
            faults.append(f"data.keep: {without}, so text cannot be read again from there; keep tokens")
        if run.evaluation.labelled is not None:
            faults.append(f"evaluation.labelled: {without}; leave it out, and ask with cogito-ray evaluate {url}/...")
        if run.training.checkpoints.upload is not None:
            faults.append(f"training.checkpoints.upload: {without}, so checkpoints go to it already; leave it out")
    if faults:
        raise MissingInputs(faults)


def _of_run(run: RunSpec) -> Iterator[str]:
    if run.branch is not None:
        yield "branch: a copy of a trial is trained in its sweep alone; leave it out, to start at step 0"
    yield from _of_start(run.start_from)


def _of_sweep(sweep: SweepSpec, storage: Path | None) -> Iterator[str]:
    yield from sweep.search.lacking()
    learnt = storage is not None and bool(sweep.search.warm_start) and _has_learnt(storage / sweep.name / NAME)
    for index, folder in enumerate(() if learnt else sweep.search.warm_start):
        if not _is_file(partial(Path, folder, NAME)):
            yield f"search.warm_start.{index}: {_short(folder)} holds no {NAME}; name the folder of an earlier sweep"
    space = sweep.search_space
    if "start_from" in sweep.run or any(space.sets(axis, "start_from") for axis in space.axes):
        for start in {space.trial(corner).start_from for corner in space.corners()}:
            yield from _of_start(start)


def _has_learnt(ledger: Path) -> bool:
    """Does it hold what the sampler knew of earlier sweeps?"""
    refresh(ledger)
    return ledger.is_file() and any(isinstance(event, WarmStarted) for event in events(ledger))


def _of_start(start: StartFromSpec | None) -> Iterator[str]:
    if start is None:
        return
    if not _is_file(lambda: start.file):
        yield f"start_from.folder: {_short(start.folder)} holds no weights; name a checkpoint, a folder step-..."


def _short(folder: str) -> str:
    return folder if len(folder) < LONGEST else brief(folder)


def _is_file(named: Callable[[], Path]) -> bool:
    """Also where the name is too long for a file, or nobody may look there."""
    try:
        return named().is_file()
    except (OSError, ValueError):
        return False

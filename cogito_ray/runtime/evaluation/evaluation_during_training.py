"""Labelled questions to the checkpoints of a run while it trains, in tasks beside its workers; training never waits.

Not by Ray Train's own `report(validation=...)`: it wants checkpoints that Train stores, asks each of them in turn until
none is left, and queues its task whatever room there is, which then comes before a lost worker that is to start again.
"""

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import ray
from ray._private.state import available_resources_per_node

from cogito_ray.evaluation.checkpoint_loader import Checkpoint, named_data
from cogito_ray.evaluation.protocols.retrieval_and_choice import AnyQuestion, questions_of
from cogito_ray.records.ledger import CHECKPOINTS, Evaluated, Ledger, Noted
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.evaluation.checkpoint_evaluation import (
    Panel,
    Unit,
    answers_in,
    answers_to,
    faults_of_data,
    misfits,
    result,
    shape,
    start,
)
from cogito_ray.runtime.trial_capacity import SPARE_CPUS, NoRoom, Shape
from cogito_ray.training.checkpoints.checkpoint_store import State
from cogito_ray.training.checkpoints.manifest import MANIFEST, OPTIMIZER, STATE, WEIGHTS, BadCheckpoint, verify

PLACE = "evaluation.labelled"
HELD = ".evaluated-"
"""Begins the names of folders that hold what is being asked of a checkpoint."""
UNANSWERED = "not answered: "


def panel_of(run: RunSpec) -> Panel | None:
    """What the run's checkpoints are asked, if anything. ValueError with all that would stop it."""
    labelled = run.evaluation.labelled
    if labelled is None:
        return None
    questions, data = questions_of(labelled), Path(labelled.data) if labelled.data else None
    faults = list(_faults(run, questions, data))
    if labelled.limit and labelled.kinds == ["zero-shot"]:
        faults.append(f"{PLACE}.limit: zero-shot trains nothing; leave it out")
    if faults:
        raise ValueError("\n".join(faults))
    return Panel.of(questions, data)


def _faults(run: RunSpec, questions: Sequence[AnyQuestion], data: Path | None) -> Iterator[str]:
    if not questions:
        yield f"{PLACE}.protocols: none of them suits these tasks; add probe"
    found = misfits(questions, decodes=run.model.decoder is not None, iterates=run.model.encoder.tied)
    yield from (f"{PLACE}.protocols: {fault}" for fault in found)
    yield from (f"{PLACE}.data: {fault}" for fault in faults_of_data(questions, data))


class EvaluationQueue:
    """Which question to a run's checkpoints is put next: all those to one, then to the newest; others are passed over.

    What is being asked is held by hard links until its questions are settled, for it may be deleted meanwhile. The
    optimizer is not among them. All that is known of earlier starts is what stands in files and in the run's ledger.
    """

    def __init__(self, run: RunSpec, ledger: Path, panel: Panel):
        self._run, self._ledger, self._panel = run, ledger, panel
        self._checkpoints = ledger.parent / CHECKPOINTS
        self._waiting, self._put = deque[Unit](), set[str]()

    @cached_property
    def _settled(self) -> set[str]:
        """Read when it is first needed: a copy of this in another process starts from what the ledger says then."""
        return set(answers_in([self._ledger]))

    def due(self) -> Unit | None:
        """The question to put now. None: first those that were put must be settled, or a checkpoint must come."""
        if not self._waiting and not self._put:
            self._waiting.extend(next(filter(None, map(self._take, self._folders())), []))
        if not self._waiting:
            return None
        unit = self._waiting.popleft()
        self._put.add(unit.key)
        return unit

    def settle(self, unit: Unit) -> None:
        """Its task has ended: with or without an answer, it is not put again."""
        self._settled.add(unit.key)
        self._put.discard(unit.key)
        if not self._waiting and not self._put:
            self.release()

    def rest(self) -> list[Unit]:
        """What is left when training has ended: of a checkpoint that is being asked, and of the last."""
        return [unit for folder in self._folders() for unit in self._take(folder)]

    def release(self) -> None:
        """Delete what is held."""
        for held in self._checkpoints.glob(f"{HELD}*"):
            shutil.rmtree(held)

    def _folders(self) -> list[Path]:
        """What an earlier start of the run was asking, then the newest checkpoint."""
        whole = [each for each in sorted(self._checkpoints.glob("*")) if (each / MANIFEST).is_file()]
        held = [each for each in whole if each.name.startswith(HELD)]
        return held + [each for each in whole if each.name.startswith("step-")][-1:]

    def _take(self, folder: Path) -> list[Unit]:
        """Its questions that are not settled; holds it if there are any."""
        try:
            weights, state = verify(folder, [STATE])[WEIGHTS][:12], State.read(folder)
            held = self._checkpoints / f"{HELD}{state.step:08d}-{weights}"
            data = named_data(state.data, folder)
            units = self._panel.units(Checkpoint(held, self._run, state.step, data, self._ledger), weights)
            left = [unit for unit in units if unit.key not in self._settled]
            if left and folder != held:
                average = [OPTIMIZER] if self._run.training.optimizer.evaluates_average else []
                _hold(folder, held, [WEIGHTS, *average, STATE, MANIFEST])
        except (OSError, BadCheckpoint):  # deleted just now, torn, or the disk is full: the next one will do
            return []
        return left


def _hold(folder: Path, held: Path, files: list[str]) -> None:
    """The manifest last: with it, what is held is whole."""
    shutil.rmtree(held, ignore_errors=True)
    held.mkdir()
    try:
        for name in files:
            _link(folder / name, held / name)
    except OSError:
        shutil.rmtree(held, ignore_errors=True)
        raise


def _link(file: Path, name: Path) -> None:
    try:
        name.hardlink_to(file)
    except OSError:  # not every filesystem has hard links
        shutil.copyfile(file, name)


class ConcurrentEvaluation:
    """Puts questions and hears answers, in Train's controller process, without ever waiting for one."""

    def __init__(self, run: RunSpec, ledger: Path, panel: Panel):
        self._run, self._agenda = run, EvaluationQueue(run, ledger, panel)
        self._running = dict[Any, Unit]()
        self._faults = set[str]()

    def look(self, *, over: bool) -> list[Evaluated | Noted]:
        """What came since it looked last. Then as many tasks start as there is room for; none if training is over."""
        under_way = list(self._running)
        done = ray.wait(under_way, num_returns=len(under_way), timeout=0)[0] if under_way else []
        found = [event for task in done for event in self._settled_as(self._running.pop(task), result(task))]
        if over:  # whoever asks the rest cannot hear of these
            for task in self._running:
                ray.cancel(task, force=True)
            self._running.clear()
        else:
            self._start()
        return found

    def _settled_as(self, unit: Unit, answer: Evaluated | str) -> Iterator[Evaluated | Noted]:
        """A fault is told once, for it will come with every checkpoint."""
        self._agenda.settle(unit)
        if isinstance(answer, Evaluated):
            yield answer
        elif (note := f"{UNANSWERED}{unit}: {answer}") not in self._faults:
            self._faults.add(note)
            yield Noted(trial=self._run.digest(), step=unit.checkpoint.step, note=note)

    def _start(self) -> None:
        nodes = list(available_resources_per_node().values())
        while (needs := room(self._run, nodes)) is not None and (unit := self._agenda.due()) is not None:
            self._running[start(unit, needs)] = unit


def room(run: RunSpec, nodes: Sequence[dict[str, float]]) -> Shape | None:
    """What a task takes of what nodes have free, if one has enough: a GPU where one is left; never the spare CPU.

    So that no task queues: it would take the place of a worker that died, and training would wait for it.
    """
    fits = [node for node in nodes if node.get("CPU", 0.0) >= run.cpus_per_worker]
    if not fits or sum(node.get("CPU", 0.0) for node in nodes) - SPARE_CPUS < run.cpus_per_worker:
        return None
    node = max(fits, key=lambda one: one.get("GPU", 0.0))
    needs = shape(run.cpus_per_worker, run.gpus_per_worker, node)
    node["CPU"] -= needs.cpus
    node["GPU"] = node.get("GPU", 0.0) - needs.gpus
    return needs


def evaluate_rest(run: RunSpec, ledger: Path, panel: Panel) -> None:
    """When training has ended: ask what is left, and wait for it. What cannot be answered is noted, once."""
    agenda = EvaluationQueue(run, ledger, panel)
    try:
        faults = answers_to(agenda.rest()).faults
    except NoRoom as fault:
        faults = [str(fault)]
    trial = read(ledger).trials[run.digest()]
    notes = {UNANSWERED + fault for fault in faults} - {noted.note for noted in trial.noted}
    with Ledger(ledger) as record:
        for note in sorted(notes):
            record.append(Noted(trial=trial.id, step=trial.step, note=note))
    agenda.release()

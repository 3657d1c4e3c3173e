"""Labelled questions at scale: every checkpoint x question is a Ray task, and every answer goes to its run's ledger.

What a ledger already tells is never computed again, so an interrupted command goes on where it was.
"""

import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import ray
import torch
from ray.exceptions import RayError

from cogito_ray.base_spec import digest
from cogito_ray.evaluation.checkpoint_loader import Checkpoint, TrainedModel
from cogito_ray.evaluation.pretrained_checkpoint import PretrainedCheckpoint, is_pretrained, open_pretrained
from cogito_ray.evaluation.protocols.retrieval_and_choice import AnyQuestion
from cogito_ray.evaluation.protocols.task_runner import Result, code_version
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.object_storage.storage_mirror import join, mirror_of, url_of
from cogito_ray.records.ledger import Evaluated, Event, Ledger, SweepOpened, TaskScore, events
from cogito_ray.records.results.gate_results import judge
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.cluster import capacity, cluster
from cogito_ray.runtime.trial_capacity import Shape
from cogito_ray.sweeps.yaml_io.yaml_writer import inline

AnyCheckpoint = Checkpoint | PretrainedCheckpoint


@dataclass(frozen=True)
class Unit:
    """One question to one checkpoint."""

    checkpoint: AnyCheckpoint
    weights: str
    """Digest."""
    question: AnyQuestion
    data: Path | None
    key: str

    def __str__(self) -> str:
        question = self.question
        settings, usual = (one.model_dump(mode="json") for one in (question.protocol, type(question.protocol)()))
        changed = {name: value for name, value in settings.items() if value != usual[name]}
        variant = f" {inline(changed)}" if changed else ""
        protocol = f"{question.protocol.kind}{variant}"
        return f"{self.checkpoint.trial} {question.task.name} {protocol}, seed {question.seed}"


@dataclass(frozen=True)
class Panel:
    """Questions that checkpoints are asked, and the folder of the data that answers are scored by."""

    questions: tuple[AnyQuestion, ...]
    data: Path | None
    keys: tuple[str, ...]
    """Digests of the questions with their data."""

    @classmethod
    def of(cls, questions: Sequence[AnyQuestion], data: Path | None) -> Self:
        """FileNotFoundError where data are missing, or the hub cannot be asked for its newest commits."""
        pinned = tuple(question.pinned(data) for question in questions)
        return cls(pinned, data, tuple(question.key(data) for question in pinned))

    def units(self, checkpoint: AnyCheckpoint, weights: str) -> list[Unit]:
        """All questions to a checkpoint whose weights have this digest."""
        code, tokenizer = code_version(), checkpoint.tokenizer
        return [
            Unit(checkpoint, weights, question, self.data, digest([weights, tokenizer, key, code]))
            for question, key in zip(self.questions, self.keys, strict=True)
        ]


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is, after each unit."""

    unit: str
    done: int
    total: int
    fault: str | None = None


@dataclass(frozen=True)
class Answers:
    """What became of an evaluation."""

    known: dict[str, Evaluated]
    """By the key of each unit, in their order, as far as they could be had."""
    computed: int
    """How many of them were not in a ledger before."""
    faults: list[str]
    """Of units that failed, with their names."""


def evaluate(
    checkpoints: Sequence[AnyCheckpoint],
    questions: Sequence[AnyQuestion],
    data: Path | None,
    listener: Callable[[Progress], None] = lambda _: None,
    baselines: Sequence[AnyCheckpoint] = (),
) -> Answers:
    """Ask every checkpoint every question that its ledger has no answer to. One that fails does not end the others.
    `baselines` are asked what suits them.

    ValueError with every model that cannot be asked and all data that are missing, before anything starts.
    """
    faults = [
        f"{one.folder}: {fault}"
        for one in checkpoints
        for fault in misfits(questions, decodes=one.decodes, iterates=one.iterates)
    ]
    if faults := faults + faults_of_data(questions, data):
        raise ValueError("\n".join(faults))
    panel = Panel.of(questions, data)
    units = [unit for one in checkpoints for unit in panel.units(one, one.digest())]
    beside = [(one, unit) for one in baselines for unit in panel.units(one, one.digest())]
    units += [unit for one, unit in beside if unit.question.protocol.length is None
              and not misfits([unit.question], decodes=one.decodes, iterates=one.iterates)]  # fmt: skip
    answers = answers_to(units, listener)
    for ledger in {one.ledger for one in checkpoints} if answers.computed else ():
        judge_again(ledger)
    return answers


def judge_again(path: Path) -> None:
    """A sweep that has ended, by what was answered since: its gates may ask for that.

    Checkpoints of a ledger whose beginning was lost are asked, too; of its gates nothing is known.
    """
    told = list(events(path))
    if not any(isinstance(event, SweepOpened) for event in told):
        return
    if (record := fold(told, str(path))).closing is not None and (verdicts := judge(record)):
        with Ledger(path) as ledger:
            for verdict in verdicts:
                ledger.append(verdict)


def answers_to(units: Sequence[Unit], listener: Callable[[Progress], None] = lambda _: None) -> Answers:
    """What the ledgers of the units' runs know, and what had to be computed."""
    known = answers_in({unit.checkpoint.ledger for unit in units})
    left = [unit for unit in units if unit.key not in known]
    faults = []
    if left:
        with cluster():
            for number, (unit, answer) in enumerate(_asked(left), start=1):
                fault = answer if isinstance(answer, str) else None
                if isinstance(answer, Evaluated):
                    with Ledger(unit.checkpoint.ledger) as ledger:
                        ledger.append(answer)
                    known[unit.key] = answer
                else:
                    faults.append(f"{unit}: {fault}")
                listener(Progress(str(unit), number, len(left), fault))
    answers = {unit.key: known[unit.key] for unit in units if unit.key in known}
    return Answers(answers, len(left) - len(faults), faults)


def misfits(questions: Iterable[AnyQuestion], *, decodes: bool, iterates: bool) -> list[str]:
    """Why a model, with or without a decoder and a tied encoder, cannot be asked these questions."""
    protocols = {question.protocol.digest(): question.protocol for question in questions}.values()
    faults = [fault for protocol in protocols for fault in protocol.faults(decodes=decodes)]
    if not iterates and any(protocol.iterations for protocol in protocols):
        faults.append("only a tied encoder can be iterated; leave iterations out")
    return faults


def faults_of_data(questions: Iterable[AnyQuestion], data: Path | None) -> list[str]:
    """Those of all these questions, each once."""
    return list(dict.fromkeys(fault for question in questions for fault in question.faults(data)))


def answers_in(ledgers: Iterable[Path]) -> dict[str, Evaluated]:
    """By the key of each unit."""
    every = (event for ledger in ledgers for event in _told(ledger))
    return {event.key: event for event in every if isinstance(event, Evaluated)}


def _told(ledger: Path) -> list[Event]:
    """Nothing by one that is not there: of a model that no run trained, before it is asked for the first time."""
    try:
        return events(ledger)
    except FileNotFoundError:
        return []


def _asked(units: Sequence[Unit]) -> Iterator[tuple[Unit, Evaluated | str]]:
    """Each unit with its answer, or with what went wrong, as they come. Machines that join later are used."""
    waiting, running = deque(units), dict[Any, Unit]()
    have = ray.cluster_resources()
    shapes = {unit.key: shape(unit.checkpoint.cpus, unit.checkpoint.gpus, have) for unit in units}
    while waiting or running:
        while waiting and len(running) < capacity(shapes.values()):
            unit = waiting.popleft()
            running[start(unit, shapes[unit.key])] = unit
        [done], _ = ray.wait(list(running))
        yield running.pop(done), result(done)


def shape(cpus: float, gpus: float, have: Mapping[str, float]) -> Shape:
    """One worker, on any machine: scores do not depend on it. No GPU where `have` has too little of one."""
    return Shape(1, cpus, gpus if have.get("GPU", 0.0) >= gpus else 0.0, frozenset(), waits=False)


def start(unit: Unit, needs: Shape) -> Any:
    """A task of the cluster's that gives the unit's answer (see `result`)."""
    task = ray.remote(_answer).options(num_cpus=needs.cpus, num_gpus=needs.gpus)
    folder = unit.checkpoint.folder
    return task.remote(unit, mirror.root if (mirror := mirror_of(folder)) else folder, url_of(folder))


def result(task: Any) -> Evaluated | str:
    """Of a task that has ended: the answer, or what went wrong."""
    try:
        answer: Evaluated = ray.get(task)
    except RayError as fault:
        return str(fault.cause if isinstance(fault, ray.exceptions.RayTaskError) else fault)
    return answer


def _answer(unit: Unit, storage: Path, url: str | None) -> Evaluated:
    """In a process of the cluster's, where `storage` mirrors the object store at `url`, if there is one."""
    join(storage, url)
    torch.set_num_threads(max(1, int(unit.checkpoint.cpus)))
    encoder, began = _opened(unit.checkpoint.folder), time.monotonic()
    results = unit.question.ask(encoder, unit.data)
    question = unit.question
    return Evaluated(
        at=time.time(),
        trial=unit.checkpoint.trial,
        step=unit.checkpoint.step,
        key=unit.key,
        checkpoint=unit.weights,
        code=code_version(),
        task=question.task.name,
        protocol=question.protocol.kind,
        settings=question.protocol.model_dump(mode="json"),
        seed=question.seed,
        examples=results[0].examples,
        truncated=results[0].truncated,
        rows=results[0].rows,
        seconds=time.monotonic() - began,
        scores=tuple(map(_score, results)),
    )


@lru_cache(maxsize=1)
def _opened(folder: Path) -> SentenceEncoder:
    """A process that is asked the same checkpoint's next question loads nothing."""
    encoder = open_pretrained(folder) if is_pretrained(folder) else TrainedModel.open(folder).sentence_encoder
    encoder.model.to("cuda" if ray.get_gpu_ids() else "cpu")
    return encoder


def _score(result: Result) -> TaskScore:
    score = result.score
    return TaskScore(
        vectors=result.vectors,
        baseline=result.is_baseline,
        metric=result.metric,
        value=score.value,
        low=score.low,
        high=score.high,
        resamples=b64encode(score.resamples.astype("<f4").tobytes()).decode(),
    )

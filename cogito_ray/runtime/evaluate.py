"""Labelled questions at scale: every checkpoint x question is a Ray task, and every answer goes to its run's ledger.

What a ledger already tells is never computed again, so an interrupted command goes on where it was.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from cogito_ray.evaluation.labelled import Result, code_version
from cogito_ray.evaluation.long_answers import AnyQuestion
from cogito_ray.evaluation.trained import Checkpoint, Trained
from cogito_ray.records.ledger import Evaluated, Ledger, TaskScore, events
from cogito_ray.run import RunSpec
from cogito_ray.runtime.cluster import cluster, concurrency
from cogito_ray.spec import digest


@dataclass(frozen=True)
class Unit:
    """One question to one checkpoint."""

    checkpoint: Checkpoint
    weights: str
    """Digest."""
    question: AnyQuestion
    key: str

    def __str__(self) -> str:
        asked = self.question
        return f"{self.checkpoint.run.digest()} {asked.task.name} {asked.protocol.kind}, seed {asked.seed}"


@dataclass(frozen=True)
class Progress:
    unit: str
    done: int
    total: int
    fault: str | None = None


@dataclass(frozen=True)
class Answers:
    known: dict[str, Evaluated]
    """By the key of each unit, in their order, as far as they could be had."""
    computed: int
    """How many of them were not in a ledger before."""
    faults: list[str]
    """Of units that failed, with their names."""


def evaluate(
    checkpoints: Sequence[Checkpoint],
    questions: Sequence[AnyQuestion],
    data: Path | None,
    listener: Callable[[Progress], None] = lambda _: None,
) -> Answers:
    """Ask every checkpoint every question that its ledger has no answer to. One that fails does not end the others.

    ValueError where a model cannot be asked, FileNotFoundError where data are missing: before anything starts.
    """
    if unfit := _unfit(checkpoints, questions):
        raise ValueError("\n".join(unfit))
    units = _units(checkpoints, questions, data)
    known = _known(units)
    left = [unit for unit in units if unit.key not in known]
    faults = []
    if left:
        with ExitStack() as stack:
            ledgers = {path: stack.enter_context(Ledger(path)) for path in {unit.checkpoint.ledger for unit in left}}
            stack.enter_context(cluster())
            for number, (unit, answer) in enumerate(_asked(left, data), start=1):
                fault = answer if isinstance(answer, str) else None
                if isinstance(answer, Evaluated):
                    ledgers[unit.checkpoint.ledger].append(answer)
                    known[unit.key] = answer
                else:
                    faults.append(f"{unit}: {fault}")
                listener(Progress(str(unit), number, len(left), fault))
    answers = {unit.key: known[unit.key] for unit in units if unit.key in known}
    return Answers(answers, len(left) - len(faults), faults)


def _unfit(checkpoints: Iterable[Checkpoint], questions: Iterable[AnyQuestion]) -> list[str]:
    protocols = list({question.protocol.digest(): question.protocol for question in questions}.values())
    return [
        f"{checkpoint.folder}: {fault}"
        for checkpoint in checkpoints
        for protocol in protocols
        for fault in protocol.faults(checkpoint.run.model)
    ]


def _units(checkpoints: Iterable[Checkpoint], questions: Sequence[AnyQuestion], data: Path | None) -> list[Unit]:
    keys, code = [question.key(data) for question in questions], code_version()
    units = []
    for checkpoint in checkpoints:
        weights = checkpoint.digest()
        for question, asked in zip(questions, keys, strict=True):
            units.append(Unit(checkpoint, weights, question, digest([weights, asked, code])))
    return units


def _known(units: Iterable[Unit]) -> dict[str, Evaluated]:
    told = (event for ledger in {unit.checkpoint.ledger for unit in units} for event in events(ledger))
    return {event.key: event for event in told if isinstance(event, Evaluated)}


def _asked(units: Sequence[Unit], data: Path | None) -> Iterator[tuple[Unit, Evaluated | str]]:
    """Each unit with its answer, or with what went wrong, as they come. Machines that join later are used."""
    waiting, running = deque(units), dict[Any, Unit]()
    shapes = [_shape(run) for run in {unit.checkpoint.run.digest(): unit.checkpoint.run for unit in units}.values()]
    while waiting or running:
        while waiting and len(running) < concurrency(shapes, asked=None):
            unit = waiting.popleft()
            shape = _shape(unit.checkpoint.run)
            task = ray.remote(_answer).options(num_cpus=shape.cpus_per_worker, num_gpus=shape.gpus_per_worker)
            running[task.remote(unit, data)] = unit
        [done], _ = ray.wait(list(running))
        unit = running.pop(done)
        try:
            yield unit, ray.get(done)
        except RayError as fault:
            yield unit, str(fault.cause if isinstance(fault, ray.exceptions.RayTaskError) else fault)


def _shape(run: RunSpec) -> RunSpec:
    """What one worker of the run needs; without a GPU where the cluster has none, for scores do not depend on it."""
    gpus = run.gpus_per_worker if ray.cluster_resources().get("GPU") else 0.0
    return run.model_copy(update={"workers": 1, "gpus_per_worker": gpus})


def _answer(unit: Unit, data: Path | None) -> Evaluated:
    """In a process of the cluster's."""
    torch.set_num_threads(max(1, int(unit.checkpoint.run.cpus_per_worker)))
    trained, began = _opened(unit.checkpoint.folder), time.monotonic()
    results = unit.question.ask(trained.reader, data)
    question = unit.question
    return Evaluated(
        at=time.time(),
        trial=unit.checkpoint.run.digest(),
        step=unit.checkpoint.step,
        key=unit.key,
        checkpoint=unit.weights,
        code=code_version(),
        task=question.task.name,
        protocol=question.protocol.kind,
        settings=question.protocol.model_dump(mode="json"),
        seed=question.seed,
        examples=results[0].examples,
        seconds=time.monotonic() - began,
        scores=tuple(map(_score, results)),
    )


@lru_cache(maxsize=1)
def _opened(folder: Path) -> Trained:
    """A process that is asked the same checkpoint's next question loads nothing."""
    trained = Trained.open(folder)
    trained.model.to("cuda" if ray.get_gpu_ids() else "cpu")
    return trained


def _score(result: Result) -> TaskScore:
    score = result.score
    return TaskScore(
        vectors=result.vectors,
        baseline=result.is_baseline,
        metric=result.metric,
        value=score.value,
        low=score.low,
        high=score.high,
    )

"""Labelled scores of checkpoints as rows of a table: one a score, over all seeds. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from cogito_ray.records.ledger import Evaluated, TaskScore


@dataclass(frozen=True)
class Scored:
    trial: str
    step: int
    task: str
    protocol: str
    vectors: str
    baseline: bool
    metric: str
    value: float
    """Mean over seeds."""
    low: float
    high: float
    """Of the interval that covers every seed's 95 % interval."""
    seeds: int
    examples: int


def scored(evaluations: Iterable[Evaluated]) -> list[Scored]:
    """In the order they first came; of one question asked twice, the last answer."""
    newest = {_question(event): event for event in evaluations}
    groups: dict[tuple[str, int, str, str, str, str], list[tuple[Evaluated, TaskScore]]] = defaultdict(list)
    for event in newest.values():
        for score in event.scores:
            asked = event.trial, event.step, event.task, event.protocol, score.vectors, score.metric
            groups[asked].append((event, score))
    return [_row(group) for group in groups.values()]


def _row(group: list[tuple[Evaluated, TaskScore]]) -> Scored:
    event, score = group[0]
    return Scored(
        trial=event.trial,
        step=event.step,
        task=event.task,
        protocol=event.protocol,
        vectors=score.vectors,
        baseline=score.baseline,
        metric=score.metric,
        value=fmean(score.value for _, score in group),
        low=min(score.low for _, score in group),
        high=max(score.high for _, score in group),
        seeds=len({event.seed for event, _ in group}),
        examples=event.examples,
    )


def _question(event: Evaluated) -> tuple[object, ...]:
    vectors = tuple(score.vectors for score in event.scores)
    return event.trial, event.step, event.task, event.protocol, vectors, event.seed

"""Labelled scores of checkpoints as rows of a table: one a score, over all seeds. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from pydantic import JsonValue

from cogito_ray.base_spec import digest
from cogito_ray.evaluation.score_names import LABELLED
from cogito_ray.records.ledger import Evaluated, TaskScore
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_writer import inline


@dataclass(frozen=True)
class Scored:
    """One row of the table of labelled scores."""

    trial: str
    step: int
    task: str
    protocol: str
    settings: Tree
    """Of the protocol."""
    variant: str
    """Those that differ among the rows of this protocol, as people read them; empty where none do."""
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
    truncated: int | None
    """Of these, how many held a text of which the end was not read; None where this was not counted."""

    @property
    def truncation(self) -> str:
        """Their share, as people read it."""
        return "not counted" if self.truncated is None else f"{self.truncated / self.examples:.0%}"


def scored(evaluations: Iterable[Evaluated]) -> list[Scored]:
    """In the order they first came; of one question asked twice, the last answer."""
    newest = {_question(event): event for event in evaluations}
    differ = _differing(newest.values())
    groups: dict[tuple[object, ...], list[tuple[Evaluated, TaskScore]]] = defaultdict(list)
    for event in newest.values():
        for score in event.scores:
            question = event.trial, event.step, event.task, event.protocol, digest(event.settings)
            groups[*question, score.vectors, score.metric].append((event, score))
    return [_row(group, differ[group[0][0].protocol]) for group in groups.values()]


def best_of_each(rows: Iterable[Scored]) -> dict[str, float]:
    """Of one trial: its last checkpoint's scores as figures, `labelled/<task>/<protocol>/<vectors>/<metric>`; without
    vectors, that of the best which are no baseline."""
    newest = {(row.task, row.protocol, row.vectors, row.metric): row for row in sorted(rows, key=lambda row: row.step)}
    found: dict[str, float] = {}
    for (task, protocol, vectors, metric), row in newest.items():
        stem = f"{LABELLED}{task}/{protocol}/"
        found[f"{stem}{vectors}/{metric}"] = row.value
        if not row.baseline:
            found[f"{stem}{metric}"] = max(row.value, found.get(f"{stem}{metric}", -math.inf))
    return found


def _row(group: list[tuple[Evaluated, TaskScore]], differ: frozenset[str]) -> Scored:
    event, score = group[0]
    return Scored(
        trial=event.trial,
        step=event.step,
        task=event.task,
        protocol=event.protocol,
        settings=event.settings,
        variant=", ".join(f"{path}: {inline(value)}" for path, value in _leaves(event.settings) if path in differ),
        vectors=score.vectors,
        baseline=score.baseline,
        metric=score.metric,
        value=fmean(score.value for _, score in group),
        low=min(score.low for _, score in group),
        high=max(score.high for _, score in group),
        seeds=len({event.seed for event, _ in group}),
        examples=event.examples,
        truncated=event.truncated,
    )


def _question(event: Evaluated) -> tuple[object, ...]:
    return event.trial, event.step, event.task, event.protocol, digest(event.settings), event.seed


def _differing(events: Iterable[Evaluated]) -> dict[str, frozenset[str]]:
    """By protocol, the dotted paths of settings that are not the same, or not there, in all of these."""
    trees: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for event in events:
        values = {path: inline(value) for path, value in _leaves(event.settings)}
        trees[event.protocol][digest(event.settings)] = values
    return {protocol: frozenset(_varying(list(settings.values()))) for protocol, settings in trees.items()}


def _varying(trees: list[dict[str, str]]) -> Iterator[str]:
    return (path for path in chain(*trees) if len({tree.get(path) for tree in trees}) > 1)


def _leaves(tree: JsonValue, place: str = "") -> Iterator[tuple[str, JsonValue]]:
    """(dotted path, value) of every setting."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{place}.{key}" if place else key)
    else:
        yield place, tree

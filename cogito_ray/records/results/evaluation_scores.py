"""Labelled scores of checkpoints as rows of a table: one a score, over all seeds; each against the best. Pure."""

import math
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean

import numpy as np
from pydantic import JsonValue

from cogito_ray.base_spec import digest
from cogito_ray.evaluation.score_names import LABELLED
from cogito_ray.records.ledger import Evaluated, TaskScore
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_writer import inline

Values = np.ndarray[tuple[int], np.dtype[np.floating]]


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
    behind: float | None = None
    """How far below the best row of this task, protocol, metric and examples that is no baseline; None where resamples
    were not kept (asking again keeps them)."""
    behind_low: float | None = None
    behind_high: float | None = None
    """Of the interval that covers 95 % of the differences under the same resamples of the examples (paired bootstrap,
    W04-3250)."""
    indistinguishable: bool | None = None
    """From the best: does that interval hold 0?"""

    @property
    def standing(self) -> str:
        """Against the best, as people read it."""
        if self.behind is None:
            return "not compared"
        return "indistinguishable" if self.indistinguishable else f"{self.behind:.3f} behind"

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
    drawn = [(_row(group, differ[group[0][0].protocol]), group[0][0].rows, _resamples(group))
             for group in groups.values()]  # fmt: skip
    best: dict[tuple[str, ...], tuple[float, Values]] = {}
    for row, examples, resamples in drawn:
        asked = row.task, row.protocol, row.metric, examples
        if not row.baseline and resamples is not None and (asked not in best or row.value > best[asked][0]):
            best[asked] = row.value, resamples
    return [_compared(row, resamples, best.get((row.task, row.protocol, row.metric, examples)))
            for row, examples, resamples in drawn]  # fmt: skip


def best_of_each(rows: Iterable[Scored]) -> dict[str, float]:
    """Of one trial: its last checkpoint's scores as figures, `labelled/<task>/<protocol>/<vectors>/<metric>`, the best
    of several settings, each of which is `<vectors>/<settings>/<metric>`, too (`head-queries-4`, as in the table);
    without vectors, that of the best which are no baseline."""
    newest = {(row.task, row.protocol, row.vectors, row.variant, row.metric): row
              for row in sorted(rows, key=lambda row: row.step)}  # fmt: skip
    found: dict[str, float] = {}
    for row in newest.values():
        stem = f"{LABELLED}{row.task}/{row.protocol}/"
        settings = re.sub(r"[^A-Za-z0-9_]+", "-", row.variant).strip("-")
        names = [f"{stem}{row.vectors}/{row.metric}", *([] if row.baseline else [f"{stem}{row.metric}"])]
        names += [f"{stem}{row.vectors}/{settings}/{row.metric}"] if settings else []
        found |= {name: max(row.value, found.get(name, -math.inf)) for name in names}
    return found


def _resamples(group: list[tuple[Evaluated, TaskScore]]) -> Values | None:
    """(R,) means over seeds; None where one was not kept."""
    kept = [score.resamples for _, score in group]
    return None if None in kept else np.mean([np.frombuffer(b64decode(one or ""), "<f4") for one in kept], axis=0)


def _compared(row: Scored, resamples: Values | None, best: tuple[float, Values] | None) -> Scored:
    if resamples is None or best is None or len(resamples) != len(best[1]):
        return row
    low, high = np.quantile(best[1] - resamples, [0.025, 0.975])
    behind, alike = best[0] - row.value, bool(low <= 0 <= high)
    return replace(row, behind=behind, behind_low=float(low), behind_high=float(high), indistinguishable=alike)


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

"""A frozen model on labelled tasks: every score with its interval, and beside it what useless models score."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cogito_ray.evaluation import scores
from cogito_ray.evaluation.probe import probes
from cogito_ray.evaluation.reader import POOLINGS, TextReader
from cogito_ray.evaluation.tasks import Examples, Task, read
from cogito_ray.evaluation.zero_shot import similarities

MOST = 5000
"""Training examples a probe reads, drawn at random, the same for every model."""


@dataclass(frozen=True)
class Result:
    task: str
    protocol: str
    """zero_shot: cosine, nothing trained; probe: a linear map of frozen vectors."""
    vectors: str
    """mean, max, all: the pooling of concepts; token_means, bag_of_words, majority: baselines that use no concepts."""
    metric: str
    score: scores.Score
    examples: int
    """Scored ones."""

    @property
    def is_baseline(self) -> bool:
        """Whether no concepts were used."""
        return self.vectors not in POOLINGS


def evaluate(reader: TextReader, tasks: Sequence[Task], data: Path | None, most: int = MOST) -> Iterator[Result]:
    """Results in the tasks' order. Every file is looked at before anything is computed."""
    splits = [(task, read(task, task.train, data), read(task, task.scored, data)) for task in tasks]
    for task, train, scored in splits:
        if task.graded and scored.two is not None:
            for vectors, cosines in similarities(reader, scored).items():
                yield from _results(task, "zero_shot", vectors, scored, cosines)
        for vectors, told in probes(reader, task, train=some(train, most), scored=scored):
            yield from _results(task, "probe", vectors, scored, told)


def some(examples: Examples, most: int, seed: int = 0) -> Examples:
    """At most `most` of the examples."""
    if len(examples) <= most:
        return examples
    chosen = np.sort(np.random.default_rng(seed).permutation(len(examples))[:most])
    two = None if examples.two is None else [examples.two[index] for index in chosen]
    return Examples([examples.one[index] for index in chosen], two, examples.labels[chosen])


def _results(
    task: Task, protocol: str, vectors: str, scored: Examples, told: NDArray[Any]
) -> Iterator[Result]:
    for metric in task.metrics:
        score = scores.score(metric, scored.labels, told)
        yield Result(task.name, protocol, vectors, metric, score, len(scored))

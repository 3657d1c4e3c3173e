"""Labelled tasks, one row each: where their texts are, what is asked, how answers are scored.

GLUE (arXiv:1804.07461), SICK (LREC 2014, L14-1314) and PAWS (arXiv:1904.01130), in the Hugging Face hub's own columns,
read from the hub by name or from a folder of Parquet files, `<folder>/<task's folder>/<split>.parquet`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Task:
    name: str
    hub: str
    """Data set on the hub."""
    config: str | None = None
    folder: str
    """Of its Parquet files, below the folder of all data."""
    texts: tuple[str, ...]
    """Columns of the one or two texts."""
    label: str = "label"
    train: str = "train"
    scored: str = "validation"
    """The split that is scored: the last one whose labels are public."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Official ones; see `scores`."""
    graded: bool = False
    """Labels are numbers on a scale, not classes."""


@dataclass(frozen=True)
class Examples:
    one: list[str]
    two: list[str] | None
    """None where the task asks about single texts."""
    labels: np.ndarray[tuple[int], np.dtype[Any]]
    """(n,) int64 classes or float64 grades."""

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, most: int, seed: int = 0) -> Self:
        """At most `most` of them, drawn by the seed, in their order."""
        if len(self) <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:most])
        two = None if self.two is None else [self.two[index] for index in chosen]
        return type(self)([self.one[index] for index in chosen], two, self.labels[chosen])


PAIR = ("sentence1", "sentence2")
CORRELATIONS = ("pearson", "spearman")


def _glue(name: str, texts: tuple[str, ...], *metrics: str, scored: str = "validation", config: str = "") -> Task:
    config = config or name
    return Task(
        name=name,
        hub="nyu-mll/glue",
        config=config,
        folder=f"glue/{config}",
        texts=texts,
        scored=scored,
        metrics=metrics,
        graded=metrics == CORRELATIONS,
    )


_SICK: dict[str, Any] = {
    "hub": "RobZamp/sick", "folder": "sick", "texts": ("sentence_A", "sentence_B"), "scored": "test"
}  # fmt: skip
_MNLI = ("premise", "hypothesis")
TASKS = {
    task.name: task
    for task in (
        _glue("mrpc", PAIR, "f1", "accuracy"),
        _glue("qqp", ("question1", "question2"), "f1", "accuracy"),
        _glue("stsb", PAIR, *CORRELATIONS),
        _glue("mnli-matched", _MNLI, "accuracy", config="mnli", scored="validation_matched"),
        _glue("mnli-mismatched", _MNLI, "accuracy", config="mnli", scored="validation_mismatched"),
        _glue("cola", ("sentence",), "matthews"),
        _glue("rte", PAIR, "accuracy"),
        _glue("sst2", ("sentence",), "accuracy"),
        _glue("qnli", ("question", "sentence"), "accuracy"),
        Task(name="sick-relatedness", label="relatedness_score", metrics=CORRELATIONS, graded=True, **_SICK),
        Task(name="sick-entailment", **_SICK),
        Task(
            name="paws",
            hub="google-research-datasets/paws",
            config="labeled_final",
            folder="paws",
            texts=PAIR,
            metrics=("accuracy", "f1"),
        ),
    )
}
DEFAULT = ("mrpc", "qqp", "stsb", "mnli-matched", "mnli-mismatched")
UNLABELLED = -1
"""What the hub writes where a test set's labels are kept secret."""


def tasks_of(names: Iterable[str]) -> list[Task]:
    """The rows of these names. ValueError for names that are none."""
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"no task is called {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return [TASKS[name] for name in names]


def place_of(task: Task, split: str, data: Path | None) -> str:
    """What a split is, in a word that changes when its content does: the hash of its file, or its name on the hub."""
    if data is None:
        return f"{task.hub}/{task.config or 'default'}/{split}"
    with _file(task, data / task.folder / f"{split}.parquet").open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check(task: Task, split: str, data: Path | None) -> None:
    """Look for a split's file and its columns, without reading them; faults as in `read`. The hub is not asked."""
    if data is not None:
        from pyarrow import parquet

        file = _file(task, data / task.folder / f"{split}.parquet")
        _refuse_missing(task, str(file), parquet.read_schema(file).names)


def read(task: Task, split: str, data: Path | None) -> Examples:
    """A split's examples, from `data` or, if that is None, from the hub.

    FileNotFoundError names a missing file, ValueError a missing column or missing labels.
    """
    if data is not None:
        return read_file(task, data / task.folder / f"{split}.parquet")
    from datasets import load_dataset

    table = load_dataset(task.hub, task.config, split=split)
    return _examples(task, f"{task.hub} ({task.config or 'default'}, {split})", table.to_dict())


def read_file(task: Task, file: Path) -> Examples:
    """One Parquet file's examples; faults as in `read`."""
    from pyarrow import parquet

    return _examples(task, str(file), parquet.read_table(_file(task, file)).to_pydict())


def _file(task: Task, file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; put the hub's {file.name} there, or leave {task.name} out")
    return file


def _refuse_missing(task: Task, place: str, columns: Iterable[str]) -> None:
    there = sorted(columns)
    if missing := [name for name in (*task.texts, task.label) if name not in there]:
        raise ValueError(f"{place}: task {task.name} reads column {missing[0]!r}, but there are {there}")


def _examples(task: Task, place: str, columns: dict[str, list[Any]]) -> Examples:
    _refuse_missing(task, place, columns)
    one, *two = (columns[name] for name in task.texts)
    labels = np.asarray(columns[task.label], dtype=np.float64 if task.graded else np.int64)
    if not len(labels) or (labels == UNLABELLED).any():
        raise ValueError(f"{place}: {(labels == UNLABELLED).sum()} of {len(labels)} rows have no label to score by")
    return Examples(one, two[0] if two else None, labels)

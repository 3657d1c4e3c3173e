"""Labelled tasks, one row each: where their texts are, what is asked, how answers are scored.

GLUE (arXiv:1804.07461), STS 2012 to 2016 (S12-1051 to S16-1081), SICK (LREC 2014, L14-1314) and PAWS
(arXiv:1904.01130), in the Hugging Face hub's own columns, read from the hub by name or from a folder of Parquet files,
`<folder>/<task's folder>/<split>.parquet`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled task about single texts or pairs of texts."""

    name: str
    hub: str
    """Data set on the hub."""
    config: str | None = None
    commit: str | None = None
    """Of the data set on the hub that is read; None until `pinned`."""
    folder: str
    """Of its Parquet files, below the folder of all data."""
    texts: tuple[str, ...]
    """Columns of the one or two texts."""
    labels: tuple[str, ...] = ("label",)
    """Columns of the label: the first that is there."""
    train: str = "train"
    """Empty where there is none: then nothing is trained."""
    scored: str = "validation"
    """The split that is scored."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Official ones; see `scores`."""
    classes: tuple[str, ...] = ()
    """Their names, in the order of their numbers; empty where labels are grades: numbers on a scale."""

    @property
    def graded(self) -> bool:
        """Are labels numbers on a scale, and no classes?"""
        return not self.classes

    def pinned(self, data: Path | None) -> Self:
        """The same task, bound to the commit that the data set's main branch is at now; as it is if `data` holds its
        files. FileNotFoundError where the hub cannot be asked, and was not before."""
        return self if data else replace(self, commit=_commit(self.hub))


@dataclass(frozen=True)
class Examples:
    """The examples of one split."""

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
        import numpy as np

        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:most])
        two = None if self.two is None else [self.two[index] for index in chosen]
        return type(self)([self.one[index] for index in chosen], two, self.labels[chosen])


PAIR = ("sentence1", "sentence2")
CORRELATIONS = ("pearson", "spearman")
VERDICTS = ("entailment", "neutral", "contradiction")
ENTAILS = ("entailment", "not_entailment")


def _glue(
    name: str, texts: tuple[str, ...], *metrics: str, classes: tuple[str, ...] = (), config: str = "",
    scored: str = "validation",
) -> Task:  # fmt: skip
    config = config or name
    return Task(
        name=name,
        hub="nyu-mll/glue",
        config=config,
        folder=f"glue/{config}",
        texts=texts,
        scored=scored,
        metrics=metrics,
        classes=classes,
    )


def _equivalence(name: str, config: str = "", scored: str = "validation") -> Task:
    classes = ("not_equivalent", "equivalent")
    return _glue(name, PAIR, "f1", "accuracy", classes=classes, config=config, scored=scored)


def _mnli(name: str, scored: str) -> Task:
    return _glue(name, ("premise", "hypothesis"), "accuracy", classes=VERDICTS, config="mnli", scored=scored)


_SICK: dict[str, Any] = {
    "hub": "RobZamp/sick", "folder": "sick", "texts": ("sentence_A", "sentence_B"), "scored": "test"
}  # fmt: skip
TASKS = {
    task.name: task
    for task in (
        _equivalence("mrpc"),
        _equivalence("mrpc-test", config="mrpc", scored="test"),
        _glue("qqp", ("question1", "question2"), "f1", "accuracy", classes=("not_duplicate", "duplicate")),
        _glue("stsb", PAIR, *CORRELATIONS),
        Task(
            name="stsb-test",
            hub="mteb/stsbenchmark-sts",
            folder="glue/stsb",
            texts=PAIR,
            labels=("label", "score"),
            scored="test",
            metrics=CORRELATIONS,
        ),
        *(
            Task(
                name=f"sts{year}",
                hub=f"mteb/sts{year}-sts",
                folder=f"sts{year}",
                texts=PAIR,
                labels=("score",),
                train="",
                scored="test",
                metrics=CORRELATIONS,
            )
            for year in range(12, 17)
        ),
        _mnli("mnli-matched", "validation_matched"),
        _mnli("mnli-mismatched", "validation_mismatched"),
        _glue("cola", ("sentence",), "matthews", classes=("unacceptable", "acceptable")),
        _glue("rte", PAIR, "accuracy", classes=ENTAILS),
        _glue("sst2", ("sentence",), "accuracy", classes=("negative", "positive")),
        _glue("qnli", ("question", "sentence"), "accuracy", classes=ENTAILS),
        Task(name="sick-relatedness", labels=("relatedness_score",), metrics=CORRELATIONS, **_SICK),
        Task(name="sick-entailment", classes=VERDICTS, **_SICK),
        Task(
            name="paws",
            hub="google-research-datasets/paws",
            config="labeled_final",
            folder="paws",
            texts=PAIR,
            metrics=("accuracy", "f1"),
            classes=("different", "paraphrase"),
        ),
    )
}
"""GLUE keeps the labels of most test splits secret, so its validation splits are scored. Those of MRPC and STS-B are
public, and what others report (MTEB, arXiv:2210.07316) is of the test split: tasks with `-test`."""
OWN = frozenset(TASKS)
DEFAULT = ("mrpc", "qqp", "stsb", "mnli-matched", "mnli-mismatched")
SECRET = (None, -1)
"""What stands where a label is kept secret; so does NaN."""


def register_task(task: Task) -> Task:
    """Let evaluations know a further task by its name; of one that was registered before, this takes the place.

    ValueError if the package has a task of this name.
    """
    if task.name in OWN:
        raise ValueError(f"the package has a task {task.name!r}; give this one another name")
    TASKS[task.name] = task
    return task


def expanded(names: Iterable[str]) -> list[str]:
    """Names of tasks, once each, for names of tasks or groups: glue, sick and all (of sentences); mnli, -m and -mm."""
    glue = [name for name in TASKS if TASKS[name].folder.startswith("glue/") and TASKS[name].scored != "test"]
    sick = [name for name in TASKS if TASKS[name].folder == "sick"]
    matched, mismatched = "mnli-matched", "mnli-mismatched"
    groups = {"glue": glue, "sick": sick, "all": [*TASKS], "mnli": [matched, mismatched], "mnli-m": [matched]}
    groups |= {"mnli-mm": [mismatched]}
    return list(dict.fromkeys(task for name in names for task in groups.get(name, [name])))


def tasks_of(names: Iterable[str]) -> list[Task]:
    """The rows of these names. ValueError for names that are none."""
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"no task is called {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return [TASKS[name] for name in names]


def content_id(task: Task, split: str, data: Path | None) -> str:
    """What a split is, in a word that changes when its content does: the hash of its file, or its commit on the hub."""
    if data is None:
        assert task.commit, f"task {task.name} is not pinned"
        return f"{task.hub}@{task.commit}/{task.config or 'default'}/{split}"
    with _file(task, data / task.folder / f"{split}.parquet").open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check(task: Task, split: str, data: Path | None) -> None:
    """Look for a split's file, its columns and its labels, without reading texts; faults as in `read`. The hub is not
    asked."""
    if data is not None:
        from pyarrow import parquet

        file = _file(task, data / task.folder / f"{split}.parquet")
        column = _label_column(task, str(file), parquet.read_schema(file).names)
        _labels(task, str(file), parquet.read_table(file, columns=[column])[column].to_pylist())


def read(task: Task, split: str, data: Path | None) -> Examples:
    """A split's examples, from `data` or, if that is None, from the hub.

    FileNotFoundError names a missing file, ValueError a missing column or missing labels.
    """
    if data is not None:
        return read_file(task, data / task.folder / f"{split}.parquet")
    from datasets import load_dataset

    table = load_dataset(task.hub, task.config, split=split, revision=task.commit)
    return _examples(task, f"{task.hub} ({task.config or 'default'}, {split})", table.to_dict())


def _commit(hub: str) -> str:
    """Of a data set's main branch on the hub; where the hub cannot be reached, as it was when it was asked last."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub, "README.md", repo_type="dataset")).parent.name
    except FileNotFoundError as fault:
        raise FileNotFoundError(
            f"{hub} cannot be read from the hub ({fault}); give a folder that holds its Parquet files"
        ) from fault


def read_file(task: Task, file: Path) -> Examples:
    """One Parquet file's examples; faults as in `read`."""
    from pyarrow import parquet

    return _examples(task, str(file), parquet.read_table(_file(task, file)).to_pydict())


def _file(task: Task, file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; put the hub's {file.name} there, or leave {task.name} out")
    return file


def _label_column(task: Task, place: str, columns: Iterable[str]) -> str:
    """That of the label. ValueError where it or one of a text is missing."""
    there = sorted(columns)
    missing = [repr(name) for name in task.texts if name not in there]
    if not any(name in there for name in task.labels):
        missing.append(" or ".join(map(repr, task.labels)))
    if missing:
        raise ValueError(f"{place}: task {task.name} reads column {missing[0]}, but there are {there}")
    return next(name for name in task.labels if name in there)


def _examples(task: Task, place: str, columns: dict[str, list[Any]]) -> Examples:
    labels = _labels(task, place, columns[_label_column(task, place, columns)])
    one, *two = (columns[name] for name in task.texts)
    for texts in (one, *two):
        _refuse_rows(place, texts, lambda text: not isinstance(text, str), "have no text")
    return Examples(one, two[0] if two else None, labels)


def _labels(task: Task, place: str, labels: Sequence[Any]) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """(n,) int64 classes or float64 grades."""
    _refuse_rows(place, labels, lambda label: label in SECRET or label != label, "have no label to score by")
    known = _grades(labels) if task.graded else _numbers(task, labels)
    wanted = "a number" if task.graded else f"one of {', '.join(task.classes)}, or of their numbers from 0"
    unknown = [label for label, number in zip(labels, known, strict=True) if number is None]
    _refuse_rows(place, labels, lambda label: label in unknown, f"have no label of task {task.name}, which is {wanted}")
    import numpy as np

    return np.array(known, dtype=np.float64 if task.graded else np.int64)


def _refuse_rows(place: str, values: Sequence[Any], at_fault: Callable[[Any], bool], what: str) -> None:
    """ValueError with the number of rows at fault, and the first; rows are counted from 0, as pandas does."""
    if not values:
        raise ValueError(f"{place}: there are no rows in it")
    if rows := [row for row, value in enumerate(values) if at_fault(value)]:
        first = f"the first is row {rows[0]}, which has {values[rows[0]]!r}"
        raise ValueError(f"{place}: {len(rows)} of {len(values)} rows {what}; {first}; score another split or file")


def _numbers(task: Task, labels: Iterable[Any]) -> list[int | None]:
    """Of classes, which may be named or numbered; None where a label is none of them."""
    numbers = {name: number for number, name in enumerate(task.classes)}
    return [_number(label, numbers, len(task.classes)) for label in labels]


def _number(label: Any, numbers: Mapping[str, int], count: int) -> int | None:
    if isinstance(label, str):
        return numbers.get(label.strip().lower().replace(" ", "_"))
    return int(label) if label in range(count) else None


def _grades(labels: Iterable[Any]) -> list[float | None]:
    return [float(label) if isinstance(label, int | float) else None for label in labels]

"""Decontamination: which evaluation sets have a text that stands in a document (GPT-3's appendix C, arXiv:2005.14165).

Evaluation texts become a sorted table of hashes for each number of words: all runs of `ngram` words of texts that have
so many, and the whole of shorter ones. A document is looked up run by run.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cogito_ray.atomic_files import atomic_write
from cogito_ray.evaluation.tasks import sentence_tasks
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS
from cogito_ray.text.cleaning.clean_spec import DecontaminationSpec
from cogito_ray.text.cleaning.word_hashes import Hashes, growing_ngrams, ngram_hashes, word_hashes, words_of

SIEVE = np.uint64(2**20 - 1)
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class EvaluationSet:
    """Texts that a run will be asked about."""

    name: str
    content: str
    """Changes when its texts do."""
    texts: Callable[[], Iterable[str]]


def evaluation_sets(spec: DecontaminationSpec) -> list[EvaluationSet]:
    """All that are named. ValueError or OSError with what is missing."""
    return [each for group in _groups(spec) for each in group()]


def faults_of_sets(spec: DecontaminationSpec) -> list[str]:
    """What is missing of those that are named."""
    faults = []
    for group in _groups(spec):
        try:
            group()
        except (ValueError, OSError) as fault:
            faults.append(str(fault))
    return faults


def _groups(spec: DecontaminationSpec) -> list[Callable[[], list[EvaluationSet]]]:
    data = Path(spec.data) if spec.data else None
    of_tasks = [partial(_task_set, name, data) for name in spec.tasks]
    return [*of_tasks, *([partial(_file_sets, Path(spec.folder))] if spec.folder else [])]


def _task_set(name: str, data: Path | None) -> list[EvaluationSet]:
    if name in DOCUMENT_TASKS:
        asked = DOCUMENT_TASKS[name]
        return [EvaluationSet(name, asked.digest(data), lambda: asked.read(data).documents)]
    task = TASKS[name].pinned(data)
    if data is not None:
        sentence_tasks.check(task, task.scored, data)
    content = sentence_tasks.content_id(task, task.scored, data)
    return [EvaluationSet(name, content, lambda: _sentences(sentence_tasks.read(task, task.scored, data)))]


def _sentences(examples: sentence_tasks.Examples) -> list[str]:
    return [*examples.one, *(examples.two or [])]


def _file_sets(folder: Path) -> list[EvaluationSet]:
    files = [file for file in sorted(folder.rglob("*.parquet")) if not file.name.startswith("train")]
    if not files:
        raise FileNotFoundError(f"{folder} holds no Parquet file besides those that begin with train")
    return [
        EvaluationSet(str(file.relative_to(folder).with_suffix("")), _file_hash(file), partial(_file_texts, file))
        for file in files
    ]


def _file_hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _file_texts(file: Path) -> Iterator[str]:
    schema = pq.read_schema(file)
    columns = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    table = pq.read_table(file, columns=columns)
    return (text for name in columns for text in table[name].to_pylist() if text)


@dataclass(frozen=True)
class OverlapIndex:
    """Runs of words of some evaluation sets."""

    names: tuple[str, ...]
    """Of the sets."""
    runs: Mapping[int, Hashes]
    """(H,) by their number of words: hashes of runs, ascending; of one that several sets have, so many times."""
    owners: Mapping[int, np.ndarray]
    """(H,) the set that each is of."""

    @classmethod
    def of(cls, texts: Mapping[str, Iterable[str]], *, ngram: int, shortest: int) -> Self:
        """From the texts of each set, by name."""
        found: dict[int, list[tuple[Hashes, int]]] = {}
        for number, each in enumerate(texts.values()):
            for text in each:
                hashes = word_hashes(words_of(text))
                if len(hashes) >= shortest:
                    length = min(len(hashes), ngram)
                    found.setdefault(length, []).append((ngram_hashes(hashes, length), number))
        runs, owners = {}, {}
        for length, parts in sorted(found.items()):
            unsorted = np.concatenate([hashes for hashes, _ in parts])
            order = np.argsort(unsorted, kind="stable")
            runs[length] = unsorted[order]
            owners[length] = np.repeat([number for _, number in parts], [len(hashes) for hashes, _ in parts])[order]
        return cls(tuple(texts), runs, owners)

    def sets_in(self, hashes: Hashes) -> list[str]:
        """The sets of which a text stands among a document's words (W,)."""
        found = set[int]()
        for length, runs in zip(range(1, max(self.runs, default=0) + 1), growing_ngrams(hashes), strict=False):
            if length in self.runs:
                likely = np.unique(runs[self._sieves[length][runs & SIEVE]])
                first, last = (np.searchsorted(self.runs[length], likely, side=side) for side in SIDES)
                for start, stop in zip(first[first < last], last[first < last], strict=True):
                    found.update(self.owners[length][start:stop].tolist())
        return [self.names[number] for number in sorted(found)]

    @cached_property
    def _sieves(self) -> dict[int, np.ndarray]:
        """(2^20,) by number of words: whether there is a run whose hash ends so. Passes few of a document's runs, at a
        tenth of what a search of the table costs."""
        sieves = {length: np.zeros(int(SIEVE) + 1, bool) for length in self.runs}
        for length, table in self.runs.items():
            sieves[length][table & SIEVE] = True
        return sieves

    def save(self, file: Path) -> None:
        """To one file, whole or not at all."""
        arrays: dict[str, Any] = {f"runs-{length}": table for length, table in self.runs.items()}
        arrays |= {f"owners-{length}": numbers for length, numbers in self.owners.items()}
        with atomic_write(file) as stream:
            np.savez(stream, names=np.array(self.names, dtype=str), **arrays)

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote."""
        with np.load(file) as stored:
            lengths = sorted(int(name.removeprefix("runs-")) for name in stored.files if name.startswith("runs-"))
            return cls(
                tuple(map(str, stored["names"])),
                {length: stored[f"runs-{length}"] for length in lengths},
                {length: stored[f"owners-{length}"] for length in lengths},
            )

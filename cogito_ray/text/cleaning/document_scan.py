"""The part of cleaning that looks at documents: a task judges those of some parts, and writes down the others' keys."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from cogito_ray.atomic_files import atomic_write, write_json
from cogito_ray.text.cleaning.clean_spec import CleanSpec, language_of
from cogito_ray.text.cleaning.duplicate_keys import exact_key, near_keys
from cogito_ray.text.cleaning.evaluation_overlap import OverlapIndex
from cogito_ray.text.cleaning.word_hashes import Hashes, word_hashes, words_of
from cogito_ray.text.shards.removed_documents import place_of, spelt
from cogito_ray.text.shards.shard_builder import RejectedDocuments, readable_documents
from cogito_ray.text.shards.token_shards import EXAMPLES, BadDocument
from cogito_ray.text.sources.documents import Part
from cogito_ray.text.sources.file_formats import SequentialReader

LENGTH, LANGUAGE, OVERLAP, EXACT, NEAR = "length", "language", "evaluation_overlap", "exact_duplicate", "near_duplicate"
"""Why documents are left out, in the order in which it is asked."""
INDEX = "evaluation_runs.npz"


class ScanSummary(BaseModel):
    """What a task found; written last."""

    documents: int
    removed: dict[str, int]
    """By reason."""
    overlaps: dict[str, int]
    """Documents that hold a text of each evaluation set; one may hold texts of several."""
    examples: list[BadDocument]
    """The first documents left out."""


@dataclass(frozen=True)
class ScanFiles:
    """Where a task leaves what it found."""

    folder: Path
    number: int

    @property
    def keys(self) -> Path:
        """(1 + keys, D): place and keys of each document that no filter left out."""
        return self.folder / f"keys-{self.number:05d}.npy"

    @property
    def removed(self) -> Path:
        """(R,): places of the others, ascending."""
        return self.folder / f"removed-{self.number:05d}.npy"

    @property
    def summary(self) -> Path:
        """Stands where the others are whole."""
        return self.folder / f"summary-{self.number:05d}.json"


def scan(parts: Sequence[tuple[int, Part]], source: str, spec: CleanSpec, files: ScanFiles) -> None:
    """Judges the documents of these numbered parts of a source, unless an earlier run did."""
    if files.summary.exists():
        return
    scanned = _Scan(spec, source, _index(files.folder / INDEX) if spec.decontaminate else None)
    reader = SequentialReader()
    for number, part in parts:
        for document, text in enumerate(readable_documents(part, RejectedDocuments(), reader)):
            scanned.add(place_of(number, document), text)
    for file, array in ((files.keys, scanned.kept), (files.removed, np.array(scanned.places, np.uint64))):
        with atomic_write(file) as stream:
            np.save(stream, array)
    write_json(files.summary, scanned.summary.model_dump(mode="json"))


class _Scan:
    def __init__(self, spec: CleanSpec, source: str, index: OverlapIndex | None):
        self.spec, self.index, self.languages = spec, index, spec.languages.get(source)
        self.places: list[int] = []
        self.columns: list[Hashes] = []
        self.removed, self.overlaps = Counter[str](), Counter[str]()
        self.examples: list[BadDocument] = []
        self.documents = 0

    def add(self, place: int, text: str) -> None:
        self.documents += 1
        words = words_of(text)
        if not _fits(self.spec, text, words):
            self._remove(place, LENGTH, f"{len(text):,} characters, {len(words):,} words")
            return
        if self.languages and (language := language_of(text)) not in self.languages:
            self._remove(place, LANGUAGE, language)
            return
        hashes = word_hashes(words)
        if self.index and (sets := self.index.sets_in(hashes)):
            self.overlaps.update(sets)
            self._remove(place, OVERLAP, f"holds texts of {', '.join(sets)}")
            return
        self.columns.append(np.concatenate([np.array([place], np.uint64), *self._keys(text, words, hashes)]))

    def _keys(self, text: str, words: Sequence[str], hashes: Hashes) -> list[Hashes]:
        whole, near = exact_key(text, words), self.spec.near_duplicates
        exact = [whole] if self.spec.exact_duplicates else []
        return [*exact, near_keys(hashes, near, whole)] if near else exact

    def _remove(self, place: int, reason: str, why: str) -> None:
        self.places.append(place)
        self.removed[reason] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(BadDocument(place=spelt(place), reason=f"{reason}: {why}"))

    @property
    def kept(self) -> Hashes:
        """(1 + keys, D)"""
        return np.stack(self.columns, axis=1) if self.columns else np.empty((1 + key_count(self.spec), 0), np.uint64)

    @property
    def summary(self) -> ScanSummary:
        return ScanSummary(
            documents=self.documents,
            removed=dict(self.removed),
            overlaps=dict(self.overlaps),
            examples=self.examples,
        )


def key_count(spec: CleanSpec) -> int:
    """Keys of a document."""
    return int(spec.exact_duplicates) + (spec.near_duplicates.bands if spec.near_duplicates else 0)


def _fits(spec: CleanSpec, text: str, words: Sequence[str]) -> bool:
    of_words = spec.words is None or spec.words.holds(len(words))
    return of_words and (spec.characters is None or spec.characters.holds(len(text)))


@lru_cache(maxsize=1)
def _index(file: Path) -> OverlapIndex:
    """A task's process scans many parts."""
    return OverlapIndex.load(file)

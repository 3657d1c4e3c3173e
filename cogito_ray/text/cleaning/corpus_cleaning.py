"""Cleaning of all sources of a corpus: what is left out depends on text, settings and the sources' order alone.

Parts are scanned in parallel (`document_scan`); then one key of all documents is sorted at a time (`duplicate_keys`);
then the places of what is left out are written, source by source. An interrupted cleaning goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.text.cleaning.clean_spec import CleanSpec
from cogito_ray.text.cleaning.document_scan import EXACT, INDEX, NEAR, ScanFiles, ScanSummary, key_count, scan
from cogito_ray.text.cleaning.duplicate_keys import mark_repeated
from cogito_ray.text.cleaning.evaluation_overlap import OverlapIndex, evaluation_sets
from cogito_ray.text.shards.removed_documents import Places, spelt, write_removed
from cogito_ray.text.shards.token_shards import EXAMPLES, BadDocument
from cogito_ray.text.sources.documents import Part, neighbours

FORMAT = 1
"""Raised when the same documents would be judged otherwise."""
SCANNED_BYTES = 32 * 2**20
"""Bytes of text that one task scans, about: seconds of one core."""
DONE = "cleaned.json"
NAMED = 3
"""Duplicates of which a scan tells where they are, for each key."""


class CleanedSource(BaseModel):
    """What became of one source."""

    documents: int
    """That could be read."""
    removed: dict[str, int]
    """Documents left out, by reason."""
    overlaps: dict[str, int]
    """Documents left out that hold a text of each evaluation set; one may hold texts of several."""
    examples: tuple[BadDocument, ...]
    """The first documents left out by filters, and the first duplicates."""


class _Cleaned(BaseModel):
    sources: dict[str, CleanedSource]


@dataclass(frozen=True)
class CorpusCleaning:
    """What is to be left out of these sources; `folder` is theirs and these settings' alone."""

    spec: CleanSpec
    folder: Path
    sources: Mapping[str, Sequence[Part]]
    """The parts of each, in order."""

    def stages(self) -> Iterator[tuple[str, Sequence[Callable[[], None]]]]:
        """What is to be done: stages one after the other, the calls of each in any order and in any process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_index()
        every = [(name, *each) for name, of_source in self._scans.items() for each in of_source]
        work = [partial(scan, parts, name, self.spec, files) for name, files, parts in every]
        yield "cleaning: reading documents", work
        keys = [files.keys for _, files, _ in every]
        rows = range(1, 1 + key_count(self.spec))
        yield "cleaning: comparing documents", [partial(mark_repeated, keys, row, self._marks(row - 1)) for row in rows]

    def finish(self) -> dict[str, CleanedSource]:
        """Once all stages are through: writes what is left out of each source, forgets the rest, and tells of each."""
        marks = [np.load(self._marks(key), mmap_mode="r") for key in range(key_count(self.spec))]
        cleaned, first = dict[str, CleanedSource](), 0
        for name, scans in self._scans.items():
            judged = _Judged(self.spec)
            for files, _ in scans:
                first += judged.add(files, [mark[first:] for mark in marks])
            write_removed(self.folder / name, judged.places)
            cleaned[name] = judged.result()
        atomic_write_text(self.folder / DONE, _Cleaned(sources=cleaned).model_dump_json(indent=1))
        for file in [*self.folder.glob("*.npy"), *self.folder.glob("summary-*.json"), *self.folder.glob(INDEX)]:
            file.unlink()
        return cleaned

    def finished(self) -> dict[str, CleanedSource] | None:
        """What an earlier run came to, if it got to its end."""
        done = self.folder / DONE
        return _Cleaned.model_validate_json(done.read_bytes()).sources if done.exists() else None

    @cached_property
    def _scans(self) -> dict[str, list[tuple[ScanFiles, list[tuple[int, Part]]]]]:
        """Per source, runs of neighbouring parts, numbered, and where what is found in them goes."""
        number = count()
        return {
            name: [
                (ScanFiles(self.folder, next(number)), list(enumerate(run, start=first)))
                for first, run in neighbours(parts, SCANNED_BYTES)
            ]
            for name, parts in self.sources.items()
        }

    def _marks(self, key: int) -> Path:
        return self.folder / f"repeated-{key:03d}.npy"

    def _write_index(self) -> None:
        look = self.spec.decontaminate
        if look is not None and not (self.folder / INDEX).exists():
            texts = {each.name: each.texts() for each in evaluation_sets(look)}
            OverlapIndex.of(texts, ngram=look.ngram, shortest=look.shortest).save(self.folder / INDEX)


class _Judged:
    """Gathers what is left out of one source."""

    def __init__(self, spec: CleanSpec):
        self.exact = spec.exact_duplicates
        self.found: list[Places] = []
        self.documents = 0
        self.removed, self.overlaps = Counter[str](), Counter[str]()
        self.examples: list[BadDocument] = []

    def add(self, files: ScanFiles, marks: Sequence[NDArray[np.bool_]]) -> int:
        """The next scan. `marks` begin with its documents; returns how many of these there are."""
        summary = ScanSummary.model_validate_json(files.summary.read_bytes())
        places: Places = np.load(files.keys, mmap_mode="r")[0]
        repeated = np.zeros(len(places), bool)
        for number, mark in enumerate(marks):
            fresh = mark[: len(places)] & ~repeated
            repeated |= fresh
            reason = EXACT if self.exact and number == 0 else NEAR
            self.removed[reason] += int(fresh.sum())
            self.examples += [BadDocument(place=spelt(int(place)), reason=reason) for place in places[fresh][:NAMED]]
        self.found += [np.sort(np.concatenate([np.load(files.removed), places[repeated]]))]
        self.documents += summary.documents
        self.removed.update(summary.removed)
        self.overlaps.update(summary.overlaps)
        self.examples += summary.examples
        return len(places)

    @property
    def places(self) -> Places:
        """(R,) ascending."""
        return np.concatenate([np.empty(0, np.uint64), *self.found])

    def result(self) -> CleanedSource:
        return CleanedSource(
            documents=self.documents,
            removed=dict(self.removed),
            overlaps=dict(self.overlaps),
            examples=tuple(self.examples[:EXAMPLES]),
        )

"""Builds the shards of one part of a source: read, hold out, tokenise, pack, write. Knows nothing of the cluster."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import ValidationError

from cogito_ray.atomic_files import atomic_write, atomic_write_text
from cogito_ray.text.order.row_order import Indices
from cogito_ray.text.shards.removed_documents import removed_from
from cogito_ray.text.shards.row_packing import PACKERS, Ids
from cogito_ray.text.shards.token_shards import (
    EXAMPLES,
    SHARD_BYTES,
    SPLITS,
    BadDocument,
    Counts,
    RowsDigest,
    Shard,
    ShardSummary,
    VerifiedFiles,
    file_sha256,
    map_shard,
    write_shard,
)
from cogito_ray.text.sources.documents import Part, RawDocument, Rejected, fraction, neighbours, target_size
from cogito_ray.text.sources.file_formats import SequentialReader
from cogito_ray.text.tokenizer import TextTokenizer
from cogito_ray.text.vocabulary_info import Vocabulary

BATCH = 2**20
"""Characters tokenised at a time."""
CHUNK = 2**20  # tokens counted at a time
FAIR_CHOICE = 4
"""Characters looked at for each character sampled."""
SAMPLED = b"sample"


@dataclass(frozen=True)
class BuildSettings:
    """What all parts of a source have in common."""

    folder: Path
    tokenizer: Path
    length: int
    held_out: float
    packing: str
    keeps_rows: bool = True
    """Whether train rows are written; else they are counted."""
    counted_every: int = 1
    """Where rows are not kept, train tokens of every so-manyth part are counted: enough to estimate frequencies by."""
    held_out_packing: str | None = None
    """Of held-out rows; None = as the others."""
    cleaned: bool = False
    """Whether a file in the folder says which documents are left out."""


@dataclass(frozen=True)
class BuildTask:
    """Neighbouring parts of a source that are built together, so that files are few however small parts are."""

    number: int
    first: int
    """The number of the first part."""
    parts: tuple[Part, ...]


def build_tasks(parts: Sequence[Part]) -> list[BuildTask]:
    """Parts joined until they hold as much text as a part of which tokens are kept."""
    target = target_size(sum(part.size for part in parts))
    return [BuildTask(number, first, tuple(run)) for number, (first, run) in enumerate(neighbours(parts, target))]


def build(task: BuildTask, settings: BuildSettings) -> tuple[ShardSummary, Counts]:
    """Writes the task's shards and a record of them, unless they stand; returns the record and counts (2, V)."""
    tokenizer = _loaded(settings.tokenizer)
    record = _existing(task.number, settings)
    if record is None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        record = _build(task, settings, tokenizer)
        atomic_write_text(_record_file(task.number, settings), record.model_dump_json(indent=1))
    train, held_out = (_count(record.shards[side], settings, tokenizer) for side in SPLITS)
    for file in record.counts:
        train = train + np.load(settings.folder / file.file)
    return record, np.stack([train, held_out])     # (2, V)


def train_rows(part: Part, number: int, settings: BuildSettings) -> Ids:
    """(R, N) what `build` would write of the part to the train shards, in that order."""
    kept = _Kept()
    train = _SplitWriter(kept, settings, _loaded(settings.tokenizer), settings.packing)
    for text in _kept_documents(part, number, settings, RejectedDocuments()):
        if fraction(text.encode()) >= settings.held_out:
            train.add(text)
    train.close()
    return np.concatenate(kept.rows)


def readable_documents(
    part: Part, bad: "RejectedDocuments", reader: SequentialReader | None = None
) -> Iterator[str]:
    """The part's documents that hold text; the others are tallied. `reader`: that of the parts before."""
    for found in chain.from_iterable(map((reader or SequentialReader()).read, part.pieces)):
        text = found.text() if isinstance(found, RawDocument) else found
        if isinstance(text, Rejected):
            bad.add(text)
        else:
            yield text


def _kept_documents(
    part: Part,
    number: int,
    settings: BuildSettings,
    bad: "RejectedDocuments",
    reader: SequentialReader | None = None,
) -> Iterator[str]:
    """The readable documents that cleaning left."""
    removed = removed_from(settings.folder, number) if settings.cleaned else frozenset()
    return (text for index, text in enumerate(readable_documents(part, bad, reader)) if index not in removed)


def sample_documents(parts: Sequence[Part], *, characters: int, held_out: float) -> Iterator[str]:
    """About `characters` of the train documents, chosen by hash, from as few parts as give a fair choice."""
    shuffled = sorted(enumerate(parts), key=lambda numbered: fraction(str(numbered[0]).encode(), SAMPLED))
    sizes = np.cumsum([part.size for _, part in shuffled])
    chosen = [part for _, part in shuffled][: int(np.searchsorted(sizes, FAIR_CHOICE * characters)) + 1]
    share = characters / max(sum(part.size for part in chosen), 1)
    for part in chosen:
        for text in readable_documents(part, RejectedDocuments()):
            encoded = text.encode()
            if fraction(encoded) >= held_out and fraction(encoded, SAMPLED) < share:
                yield text
                characters -= len(text)
            if characters <= 0:
                return


class RejectedDocuments:
    """Counts what could not be used, and keeps the first examples."""

    def __init__(self) -> None:
        self.documents = self.files = self.missing = 0
        self.examples: list[BadDocument] = []

    def add(self, bad: Rejected) -> None:
        """One more."""
        if bad.is_missing:
            self.missing += 1
            return
        self.documents += 1
        self.files += bad.whole_file
        if len(self.examples) < EXAMPLES:
            self.examples.append(BadDocument(place=bad.place, reason=bad.reason))


class _Sink(Protocol):
    """Where rows go."""

    def add(self, rows: Ids) -> None: ...


class _Kept:
    def __init__(self) -> None:
        self.rows: list[Ids] = []

    def add(self, rows: Ids) -> None:
        self.rows.append(rows)


class _Counter:
    """Counts rows, and the tokens of those parts that are sampled."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.rows, self.sampled_rows, self.vocabulary = 0, 0, vocabulary
        self.is_sampling = True
        self.tokens = np.zeros(vocabulary.size, np.int64)

    def add(self, rows: Ids) -> None:
        self.rows += len(rows)
        if self.is_sampling:
            self.sampled_rows += len(rows)
            self.tokens += count_tokens(rows, self.vocabulary)

    def save(self, file: Path) -> Shard:
        with atomic_write(file) as stream:
            np.save(stream, self.tokens)
        return Shard(file=file.name, rows=self.sampled_rows, size=file.stat().st_size, sha256=file_sha256(file))


class _Shards:
    """Writes rows to files of about SHARD_BYTES."""

    def __init__(self, stem: Path):
        self.stem = stem
        self.waiting: list[Ids] = []
        self.size = 0
        self.shards: tuple[Shard, ...] = ()

    def add(self, rows: Ids) -> None:
        self.waiting.append(rows)
        self.size += rows.nbytes
        if self.size >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        if self.size:
            file = self.stem.with_name(f"{self.stem.name}-{len(self.shards):03d}.parquet")
            self.shards = (*self.shards, write_shard(file, np.concatenate(self.waiting)))
        self.waiting, self.size = [], 0


class _SplitWriter:
    """Tokenises and packs the documents of one side."""

    def __init__(self, sink: _Sink, settings: BuildSettings, tokenizer: TextTokenizer, packing: str):
        self.sink, self.tokenizer, self.digest = sink, tokenizer, RowsDigest()
        self.packer = PACKERS[packing](settings.length, tokenizer.vocabulary, tokenizer.dtype)
        self.texts: list[str] = []
        self.characters = self.documents = self.tokens = self.words = self.padding = 0

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.characters += len(text)
        if self.characters >= BATCH:
            self._tokenise()

    def close(self) -> None:
        self._tokenise()
        self._pass_on(self.packer.close())

    def _tokenise(self) -> None:
        encoded = self.tokenizer.encode(self.texts)
        self.documents += len(encoded)
        self.tokens += sum(map(len, encoded))
        self.words += sum(len(text.split()) for text in self.texts)
        self.texts, self.characters = [], 0
        self._pass_on(self.packer.add(encoded))

    def _pass_on(self, rows: Ids) -> None:
        self.padding += int((rows == self.tokenizer.vocabulary.pad_id).sum())
        self.digest.add(rows)
        self.sink.add(rows)


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> TextTokenizer:
    """A task's process runs many parts."""
    return TextTokenizer.load(folder)


def _build(task: BuildTask, settings: BuildSettings, tokenizer: TextTokenizer) -> ShardSummary:
    kept, aside = (_Shards(settings.folder / f"{side}-{task.number:05d}") for side in SPLITS)
    counter, reader = _Counter(tokenizer.vocabulary), SequentialReader()
    records = []
    for number, part in enumerate(task.parts, start=task.first):
        counter.is_sampling = number % settings.counted_every == 0
        before = counter.rows
        record = _build_part(part, number, reader, kept if settings.keeps_rows else counter, aside, settings)
        records.append(record.model_copy(update={} if settings.keeps_rows else {"part_rows": (counter.rows - before,)}))
    kept.close()
    aside.close()
    is_sampled = not settings.keeps_rows and any(
        (task.first + place) % settings.counted_every == 0 for place in range(len(task.parts))
    )
    files = {
        "shards": {"train": kept.shards, "held_out": aside.shards},
        "counts": (counter.save(settings.folder / f"counts-{task.number:05d}.npy"),) if is_sampled else (),
    }
    return ShardSummary.joined(records).model_copy(update=files)


def _build_part(
    part: Part, number: int, reader: SequentialReader, kept: _Sink, aside: _Sink, settings: BuildSettings
) -> ShardSummary:
    tokenizer = _loaded(settings.tokenizer)
    train = _SplitWriter(kept, settings, tokenizer, settings.packing)
    held_out = _SplitWriter(aside, settings, tokenizer, settings.held_out_packing or settings.packing)
    bad = RejectedDocuments()
    for text in _kept_documents(part, number, settings, bad, reader):
        (held_out if fraction(text.encode()) < settings.held_out else train).add(text)
    train.close()
    held_out.close()
    return ShardSummary(
        documents={"train": train.documents, "held_out": held_out.documents},
        tokens={"train": train.tokens, "held_out": held_out.tokens},
        words={"train": train.words, "held_out": held_out.words},
        padding={"train": train.padding, "held_out": held_out.padding},
        cut_documents={"train": train.packer.cut_documents, "held_out": held_out.packer.cut_documents},
        shards={"train": (), "held_out": ()},
        bad_documents=bad.documents,
        bad_files=bad.files,
        without_text=bad.missing,
        files=len(part.pieces),
        examples=tuple(bad.examples),
        part_digests={"train": (train.digest.hex(),), "held_out": (held_out.digest.hex(),)},
    )


def _record_file(number: int, settings: BuildSettings) -> Path:
    return settings.folder / f"part-{number:05d}.json"


def _existing(number: int, settings: BuildSettings) -> ShardSummary | None:
    """The part's record, if an earlier run left it and every shard is still what it says."""
    file = _record_file(number, settings)
    if not file.exists():
        return None
    try:
        record = ShardSummary.model_validate_json(file.read_bytes())
    except ValidationError:
        return None
    verified = VerifiedFiles(settings.folder)
    return record if all(verified.holds(shard) for shard in record.every_shard) else None


def _count(shards: Iterable[Shard], settings: BuildSettings, tokenizer: TextTokenizer) -> Indices:
    """(V,) occurrences of each token in the shards' rows; special tokens 0."""
    vocabulary = tokenizer.vocabulary
    counts = np.zeros(vocabulary.size, np.int64)
    for shard in shards:
        counts += count_tokens(map_shard(settings.folder / shard.file, settings.length, tokenizer.dtype), vocabulary)
    return counts


def count_tokens(rows: Ids, vocabulary: Vocabulary) -> Indices:
    """(V,) occurrences of each token in rows (R, N); special tokens 0."""
    ids, counts = rows.reshape(-1), np.zeros(vocabulary.size, np.int64)
    for start in range(0, len(ids), CHUNK):
        counts += np.bincount(ids[start : start + CHUNK], minlength=vocabulary.size)
    counts[list(vocabulary.special_ids)] = 0
    return counts

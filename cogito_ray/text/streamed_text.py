"""Streamed text: rows of which no tokens were kept, tokenised when they are needed, in the order of a WindowPlan.

Preparation left behind how the text is cut into parts and how many rows each holds. So reading starts at any position
by tokenising the parts of one window per source, and who tokenises them, and how many at a time, changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import BaseModel, ValidationError

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.text.order.block_shuffle import Window, WindowPlan
from cogito_ray.text.order.row_order import BLOCK
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.row_packing import Ids
from cogito_ray.text.shards.shard_builder import BuildSettings, train_rows
from cogito_ray.text.shards.token_shards import PARTS, RowsDigest
from cogito_ray.text.sources import AnyPiece
from cogito_ray.text.sources.documents import Part


class ChangedText(ValueError):
    """A part that no longer holds the rows that were counted."""


@dataclass(frozen=True)
class StreamedText:
    """The train rows of a corpus of which only text is kept, in the order of a plan."""

    corpus: Corpus
    plan: WindowPlan

    def calls(self, start: int, stop: int) -> Iterator[Callable[[], Ids]]:
        """What must be tokenised for positions [start, stop), in the order in which `rows` wants it."""
        for _, window in self.plan.reads(start, stop):
            settings, parts = self._sources[window.source]
            yield from (partial(train_rows, parts[number], number, settings) for number in window.parts)

    def rows(self, start: int, stop: int, tokenised: Iterator[Ids]) -> Iterator[Ids]:
        """Pieces (R, N) that together are the rows at positions [start, stop). `tokenised`: what `calls` gave.

        ChangedText if a part holds other rows than were counted.
        """
        reads = self.plan.reads(start, stop)
        due = next(reads, None)
        buffers = [_RowBuffer() for _ in self.corpus.sources]
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            while due is not None and due[0] <= block:
                buffers[due[1].source].put(due[1], self._shuffled(due[1], tokenised))
                due = next(reads, None)
            positions = np.arange(max(start, block * BLOCK), min(stop, (block + 1) * BLOCK))
            sources, draws = self.plan.mixture.draws(positions)
            ids = np.empty((len(positions), self.corpus.length), self.corpus.dtype)
            for source in np.unique(sources):
                mine = np.flatnonzero(sources == source)
                ids[mine] = buffers[source].take(int(draws[mine[0]]), len(mine))
            yield ids

    def _shuffled(self, window: Window, tokenised: Iterator[Ids]) -> Ids:
        parts = list(islice(tokenised, len(window.parts)))
        for number, part in zip(window.parts, parts, strict=True):
            source = self.corpus.sources[window.source]
            (digest := RowsDigest()).add(part)
            if digest.hex() != source.shards.manifest.part_digests["train"][number]:
                raise ChangedText(
                    f"data.sources.{source.name}: part {number} gives other rows than when it was counted: the text "
                    "was changed; put the old one back, or train on the new one under another name"
                )
        rows: Ids = np.concatenate(parts)[window.order()]
        return rows

    @cached_property
    def _sources(self) -> list[tuple[BuildSettings, Sequence[Part]]]:
        return [_read_parts_file(source.shards.folder, self.corpus.tokenizer_folder) for source in self.corpus.sources]


class _RowBuffer:
    """The rows of one source that were tokenised and not yet drawn."""

    def __init__(self) -> None:
        self.first = 0
        self.rows: Ids = np.empty((0, 0), np.uint16)

    def put(self, window: Window, rows: Ids) -> None:
        self.first = self.first if len(self.rows) else window.first
        self.rows = np.concatenate([self.rows, rows]) if len(self.rows) else rows

    def take(self, first: int, count: int) -> Ids:
        """Rows number [first, first + count) of the source; those before are forgotten."""
        start = first - self.first
        taken, self.rows = self.rows[start : start + count], self.rows[start + count :]
        self.first = first + count
        return taken


def regrouped(pieces: Iterable[Ids], size: int) -> Iterator[Ids]:
    """The same rows in pieces of `size` rows; what is left of the last is dropped."""
    waiting: list[Ids] = []
    have = 0
    for piece in pieces:
        waiting.append(piece)
        have += len(piece)
        if have >= size:
            rows = np.concatenate(waiting)
            whole = have // size * size
            yield from rows[:whole].reshape(-1, size, rows.shape[1])
            waiting, have = [rows[whole:]], have - whole


class _PartsFile(BaseModel):
    """parts.json: how a source's text is cut into parts, and how these are packed."""

    length: int
    held_out: float
    packing: str
    cleaned: bool = False
    parts: tuple[tuple[AnyPiece, ...], ...]


def write_parts_file(settings: BuildSettings, parts: Sequence[Part]) -> None:
    """For those who read the text again, on whatever machine."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    pieces = cast(tuple[tuple[AnyPiece, ...], ...], tuple(part.pieces for part in parts))
    file = _PartsFile(
        length=settings.length,
        held_out=settings.held_out,
        packing=settings.packing,
        cleaned=settings.cleaned,
        parts=pieces,
    )
    atomic_write_text(settings.folder / PARTS, file.model_dump_json())


def parts_lie_at(folder: Path, places: set[str]) -> bool:
    """Whether the text whose parts file stands in `folder` lies at these places, whatever it was moved from."""
    try:
        file = _PartsFile.model_validate_json((folder / PARTS).read_bytes())
    except ValidationError:     # altered by hand
        return False
    return all(piece.file.path in places for pieces in file.parts for piece in pieces)


def _read_parts_file(folder: Path, tokenizer: Path) -> tuple[BuildSettings, Sequence[Part]]:
    file = _PartsFile.model_validate_json((folder / PARTS).read_bytes())
    settings = BuildSettings(
        folder, tokenizer, file.length, file.held_out, file.packing, keeps_rows=False, cleaned=file.cleaned
    )
    return settings, [Part(pieces) for pieces in file.parts]

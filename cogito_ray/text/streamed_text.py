"""Streamed text: rows of which no tokens were kept, tokenised when they are needed, in the order of a WindowPlan.

Preparation left behind how the text is cut into parts and how many rows each holds. So reading starts at any position
by tokenising the parts of one window per source, and who tokenises them, and how many at a time, changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np

from cogito_ray.text.order.block_shuffle import Window, WindowPlan
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.parts_file import PartsFile
from cogito_ray.text.shards.row_packing import Ids
from cogito_ray.text.shards.shard_builder import BuildSettings, train_rows
from cogito_ray.text.shards.token_shards import RowsDigest

AT_ONCE = 1000
"""Rows drawn at a time, at most."""


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
        while start < stop:
            while due is not None and due[0] == start:
                buffers[due[1].source].put(due[1], self._shuffled(due[1], tokenised))
                due = next(reads, None)
            end = min(stop, start + AT_ONCE, due[0] if due else stop)
            sources, draws = self.plan.mixture.draws(np.arange(start, end))
            ids = np.empty((end - start, self.corpus.length), self.corpus.dtype)
            for source in np.unique(sources):
                mine = np.flatnonzero(sources == source)
                ids[mine] = buffers[source].take(int(draws[mine[0]]), len(mine))
            yield ids
            start = end

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
    def _sources(self) -> list[tuple[BuildSettings, PartsFile]]:
        parts = [PartsFile(source.shards.folder) for source in self.corpus.sources]
        return [(each.settings(self.corpus.tokenizer_folder), each) for each in parts]


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

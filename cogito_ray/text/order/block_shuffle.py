"""The data plan of streamed text: parts shuffled, and rows within a window of a few parts (block shuffling).

The order of `text.order.row_order` may ask for any row next; a row of text that was not tokenised before is reached
only by way of the whole part it stands in. Here an epoch of a source visits its parts in a permutation of their own,
WINDOW at a time, and permutes the rows of those. The first windows of a run are smaller, because training waits for
them: one part, two, four, and so on. It is as much a pure function of seed and position; what it takes to know is how
many rows each part holds. Sources are mixed as in `text.order.row_order`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import merge
from itertools import pairwise

import numpy as np

from cogito_ray.text.order.row_order import BLOCK, Indices, RowPlan, permuted

WINDOW = 16
"""Parts whose rows are shuffled together: some millions of tokens."""
PARTS_KEY, ROWS_KEY = 1, 2


@dataclass(frozen=True, eq=False)
class Window:
    """Parts of one source whose rows are shuffled together."""

    source: int
    first: int
    """How often the source was drawn before this window."""
    rows: int
    parts: tuple[int, ...]
    key: tuple[int, ...]

    @property
    def end(self) -> int:
        """How often the source was drawn after this window."""
        return self.first + self.rows

    def order(self) -> Indices:
        """(R,) which of the parts' rows, one part after the other, is drawn first, second, ..."""
        return permuted(np.arange(self.rows), self.rows, self.key)


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """The order of the train rows of sources whose rows lie in parts of text."""

    mixture: RowPlan
    part_rows: tuple[tuple[int, ...], ...]
    """Per source, the train rows of each of its parts."""

    def at(self, positions: Indices) -> tuple[Indices, Indices]:
        """For ascending positions (P,): the source of each, and the number of its train row there."""
        sources, draws = self.mixture.draws(positions)
        rows = np.empty_like(draws)
        for source in np.unique(sources):
            mine = np.flatnonzero(sources == source)
            for window in self.windows(int(source), int(draws[mine[0]]), int(draws[mine[-1]]) + 1):
                now = mine[(draws[mine] >= window.first) & (draws[mine] < window.end)]
                rows[now] = _numbers(self, window)[draws[now] - window.first]
        return sources, rows

    def windows(self, source: int, first: int, last: int) -> Iterator[Window]:
        """The windows of a source that hold its draws [first, last), in order."""
        epoch = first // self.mixture.rows[source]
        while epoch * self.mixture.rows[source] < last:
            yield from (window for window in _epoch(self, source, epoch) if window.end > first and window.first < last)
            epoch += 1

    def reads(self, start: int, stop: int) -> Iterator[tuple[int, Window]]:
        """The windows that positions [start, stop) draw from, each with the first position at which it must be there,
        in that order."""
        streams = (self._reads_of(source, start, stop) for source in range(len(self.part_rows)))
        return merge(*streams, key=lambda read: (read[0], read[1].source))

    def _reads_of(self, source: int, start: int, stop: int) -> Iterator[tuple[int, Window]]:
        first, last = (_drawn(self.mixture, source, position) for position in (start, stop))
        if first < last:
            for window in self.windows(source, first, last):
                yield max(self.mixture.position(source, window.first), start), window

    @cached_property
    def starts(self) -> list[Indices]:
        """Per source, the number of the first train row of each of its parts."""
        return [np.cumsum([0, *rows]) for rows in self.part_rows]


@lru_cache(maxsize=8)
def _epoch(plan: WindowPlan, source: int, epoch: int) -> tuple[Window, ...]:
    sizes, key = np.array(plan.part_rows[source]), (plan.mixture.seed, source, epoch)
    filled = np.flatnonzero(sizes)
    parts = filled[permuted(np.arange(len(filled)), len(filled), (*key, PARTS_KEY))]
    windows, first = [], epoch * plan.mixture.rows[source]
    # where windows begin: the first ones of a run hold 1, 2, 4, ... parts, so that training need not wait for 16
    places = [min(2**number - 1, WINDOW - 1) for number in range(WINDOW.bit_length())] if epoch == 0 else [0]
    places += range(places.pop(), len(parts) + WINDOW, WINDOW)
    for number, chosen in enumerate(parts[place:stop] for place, stop in pairwise(places) if place < len(parts)):
        rows = int(sizes[chosen].sum())
        windows.append(Window(source, first, rows, tuple(map(int, chosen)), (*key, ROWS_KEY, number)))
        first += rows
    return tuple(windows)


@lru_cache(maxsize=8)
def _numbers(plan: WindowPlan, window: Window) -> Indices:
    """(R,) the train row of the source at each draw of the window."""
    starts = plan.starts[window.source]
    rows = np.concatenate([np.arange(starts[part], starts[part + 1]) for part in window.parts])
    return rows[window.order()]


def _drawn(mixture: RowPlan, source: int, position: int) -> int:
    """How often the source is drawn at positions [0, position)."""
    block = position // BLOCK
    sources, _ = mixture.draws(np.arange(block * BLOCK, position))
    return int(mixture.drawn(block)[source]) + int((sources == source).sum())

"""Reads the rows of a data plan by memory map: the default wherever the shards are on a file system the worker sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cogito_ray.text.order.row_order import Indices, positions_of, share_of_batch
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.row_packing import Ids

PLANNED = 2**14
"""Rows planned at a time: enough that the plan costs no calls per row."""
GATHERED = 2**18
"""Tokens gathered at a time: few enough to start at once on a cold disk."""


class Plan(Protocol):
    """The order of rows: a RowPlan or a WindowPlan."""

    def at(self, positions: Indices) -> tuple[Indices, Indices]:
        """For ascending positions (P,): the source of each, and the number of its train row there."""
        ...


@dataclass(frozen=True)
class MappedReader:
    """Rows of a corpus at positions of a plan."""

    corpus: Corpus
    plan: Plan

    def read(self, start: int, count: int) -> Indices:
        """(count, N) int64: the rows at positions [start, start + count) of the plan."""
        return self.at(np.arange(start, start + count)).astype(np.int64)

    def at(self, positions: Indices) -> Ids:
        """(P, N) in the integers of the shards: the rows at ascending positions (P,) of the plan."""
        return self._gather(*self.plan.at(positions))

    def batches(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
        """(batch / world, N) int64 for each of `steps`: this worker's share of the global batch."""
        _, count = share_of_batch(0, batch=batch, rank=rank, world=world)
        at_once = max(1, GATHERED // (count * self.corpus.length))          # steps
        for planned in _cut(steps, max(1, PLANNED // count)):
            positions = positions_of(planned, batch=batch, rank=rank, world=world)
            sources, rows = (each.reshape(-1, count) for each in self.plan.at(positions.reshape(-1)))       # (S, b)
            for few in _cut(range(len(planned)), at_once):
                now = slice(few.start, few.stop)
                ids = self._gather(sources[now].reshape(-1), rows[now].reshape(-1))
                yield from (share.astype(np.int64) for share in ids.reshape(len(few), count, -1))

    def _gather(self, sources: Indices, rows: Indices) -> Ids:
        ids = np.empty((len(rows), self.corpus.length), self.corpus.dtype)
        for index, source in enumerate(self.corpus.sources):
            mine = np.flatnonzero(sources == index)
            ids[mine] = source.shards.train(rows[mine])
        return ids


def _cut(steps: range, size: int) -> Iterator[range]:
    return (steps[first : first + size] for first in range(0, len(steps), size))

"""Executes a row plan by memory map: the default wherever the shards are on a file system the worker sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from cogito_ray.text.corpus import Corpus
from cogito_ray.text.plan import Indices, RowPlan, share_of_batch


@dataclass(frozen=True)
class MappedReader:
    corpus: Corpus
    plan: RowPlan

    def read(self, start: int, count: int) -> Indices:
        """(count, N) int64: the rows at positions [start, start + count) of the plan."""
        sources, rows = self.plan.take(start, count)
        ids = np.empty((count, self.corpus.length), np.int64)
        for index, source in enumerate(self.corpus.sources):
            mine = sources == index
            ids[mine] = source.shards.train(rows[mine])
        return ids

    def batches(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
        """(batch / world, N) int64 for each of `steps`: this worker's share of the global batch."""
        for step in steps:
            yield self.read(*share_of_batch(step, batch=batch, rank=rank, world=world))


def consumed(rows: Indices, before: str = "") -> str:
    """Names the sequence of rows read so far; depends on rows and order, not on how they were batched."""
    state = before.encode()
    for row in rows:
        state = blake2b(state + row.astype("<i8").tobytes(), digest_size=16).hexdigest().encode()
    return state.decode()

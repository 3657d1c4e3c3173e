"""Executes a row plan with Ray Data: the same rows in the same order as the memory map, read by the cluster's CPUs."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import ray.data
from numpy.typing import NDArray

from cogito_ray.text.plan import Indices, share_of_batch
from cogito_ray.text.reader import MappedReader

SMALLEST_BLOCK, LARGEST_BLOCK = 2**20, 64 * 2**20  # bytes of rows that one task reads
BLOCKS = 2000
"""Tasks a stream is cut into when its size allows; Ray Data plans them all at the start."""


@dataclass(frozen=True)
class StreamReader:
    """Reads what `rows` reads, in tasks of one CPU each. Every worker makes its own."""

    rows: MappedReader

    def batches(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
        """(batch / world, N) int64 for each of `steps`: this worker's share of the global batch."""
        stream = self.dataset(steps, batch=batch, rank=rank, world=world)
        for block in stream.iter_batches(batch_size=batch // world, batch_format="numpy"):
            yield block["ids"].astype(np.int64)

    def dataset(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> ray.data.Dataset:
        """The rows of these steps as a streaming Dataset, column `ids` (N,), in the plan's order from any step on."""
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells of every execution

        def read(numbers: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.unsignedinteger]]:
            shares = (share_of_batch(steps[n], batch=batch, rank=rank, world=world) for n in numbers["id"])
            return {"ids": np.concatenate([self.rows.read(*share) for share in shares]).astype(dtype)}

        dtype = self.rows.corpus.tokenizer.dtype
        _, count = share_of_batch(0, batch=batch, rank=rank, world=world)
        size = len(steps) * count * self.rows.corpus.length * dtype.itemsize
        block = min(max(size // BLOCKS, SMALLEST_BLOCK), LARGEST_BLOCK)
        numbers = ray.data.range(len(steps), override_num_blocks=min(-(-size // block), len(steps)))
        stream = numbers.map_batches(read, batch_size=None, num_cpus=1)
        stream.context.enable_progress_bars = False
        stream.context.execution_options.preserve_order = True
        return stream

"""Executes a row plan with Ray Data: the same rows in the same order as in one process, read by the cluster's CPUs.

Token shards: every worker has a stream of its own share. Text: tokenising costs too much to be done once per worker, so
one actor has the stream and all workers of a run take their shares from it.
"""

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray
from ray.util import get_current_placement_group

from cogito_ray.base_spec import digest
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.order.row_order import Indices, positions_of, share_of_batch
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.row_packing import Ids
from cogito_ray.text.streamed_text import StreamedText, regrouped

SMALLEST_BLOCK, LARGEST_BLOCK = 2**20, 64 * 2**20  # bytes of rows that one task reads
BLOCKS = 2000
"""Tasks a stream is cut into when its size allows; Ray Data plans them all at the start."""
HEAD_START = 4
"""Parts of text that the reading process tokenises itself: about as many as it can while Ray Data starts."""
MOST_TOKENS = 2**18
"""Tokens that workers take from the actor at a time."""
REQUESTED_AHEAD = 2


@dataclass(frozen=True)
class StreamReader:
    """Reads what `rows` reads, in tasks of one CPU each. Every worker makes its own."""

    rows: MappedReader

    def batches(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
        """(batch / world, N) int64 for each of `steps`: this worker's share of the global batch."""
        stream = self.dataset(steps, batch=batch, rank=rank, world=world)
        for block in stream.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=2):
            shares = block["ids"].reshape(-1, batch // world, self.rows.corpus.length)      # a block is whole steps
            yield from (share.astype(np.int64) for share in shares)

    def dataset(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> ray.data.Dataset:
        """The rows of these steps as a streaming Dataset, column `ids` (N,), in the plan's order from any step on."""

        def read(numbers: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.unsignedinteger]]:
            mine = steps[numbers["id"][0] : numbers["id"][-1] + 1]
            return {"ids": self.rows.at(positions_of(mine, batch=batch, rank=rank, world=world).reshape(-1))}

        _, count = share_of_batch(0, batch=batch, rank=rank, world=world)
        size = len(steps) * count * self.rows.corpus.length * self.rows.corpus.dtype.itemsize
        block = min(max(size // BLOCKS, SMALLEST_BLOCK), LARGEST_BLOCK)
        numbers = ray.data.range(len(steps), override_num_blocks=min(-(-size // block), len(steps)))
        name = f"rows of {_sources(self.rows.corpus)}, worker {rank}"
        return _in_order(numbers.map_batches(read, batch_size=None, num_cpus=1), name)


@dataclass(frozen=True)
class TextReader:
    """Tokenises text in tasks of one CPU each, while it is read."""

    text: StreamedText

    def batches(self, steps: range, *, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
        """(batch / world, N) int64 for each of `steps`: this worker's share of the global batch."""
        if world == 1:
            yield from (ids.astype(np.int64) for ids in self.whole(steps, batch=batch))
            return
        share_of_batch(0, batch=batch, rank=rank, world=world)      # refuses what cannot be shared
        at_once = max(1, MOST_TOKENS // (batch * self.text.corpus.length))
        feeder = self._feeder(_Work(self, steps, batch, world, at_once), rank)
        count = -(-len(steps) // at_once)
        requested = [feeder.share.remote(number, rank) for number in range(min(REQUESTED_AHEAD, count))]
        for number in range(count):
            shares = ray.get(requested.pop(0))      # (S, batch / world, N)
            if number + REQUESTED_AHEAD < count:
                requested.append(feeder.share.remote(number + REQUESTED_AHEAD, rank))
            yield from (ids.astype(np.int64) for ids in shares)

    def whole(self, steps: range, *, batch: int) -> Iterator[Ids]:
        """(batch, N) for each of `steps`, in the integers of the shards."""
        start, stop = steps.start * batch, steps.stop * batch
        name = f"text of {_sources(self.text.corpus)}"
        rows = self.text.rows(start, stop, _tokenised(self.text.calls(start, stop), name))
        return regrouped(rows, batch)

    def _feeder(self, work: "_Work", rank: int) -> Any:
        """The actor that all workers of this worker group share: whoever comes first starts it."""
        folders = [str(source.shards.folder) for source in self.text.corpus.sources]
        group = get_current_placement_group()
        steps, seed = work.steps, self.text.plan.mixture.seed
        request = digest([folders, seed, steps.start, steps.stop, work.batch, work.world, group and group.id.hex()])
        _turns[request, rank] += 1        # a run that went back asks for the same steps again
        return _actor(f"text-{request}-{_turns[request, rank]}", work)


@dataclass(frozen=True, eq=False)
class _Work:
    """What an actor hands out."""

    reader: TextReader
    steps: range
    batch: int
    world: int
    at_once: int

    def pieces(self) -> Iterator[Ids]:
        """(S, batch, N) the rows of `at_once` steps at a time."""
        whole = self.reader.whole(self.steps, batch=self.batch)
        while few := list(islice(whole, self.at_once)):
            yield np.stack(few)


@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")  # unsaid, it might land in the workers' own placement group
class _Feeder:
    def __init__(self, work: _Work):
        self.work, self.pieces = work, work.pieces()
        self.made = 0
        self.open: dict[int, tuple[Ids, set[int]]] = {}

    def share(self, number: int, rank: int) -> Ids:
        """(S, batch / world, N) this worker's rows of piece `number`, which is kept until every worker had its own."""
        while self.made <= number:
            self.open[self.made] = next(self.pieces), set(range(self.work.world))
            self.made += 1
        piece, missing = self.open[number]
        missing.remove(rank)
        if not missing:
            del self.open[number]
        count = self.work.batch // self.work.world
        return piece[:, rank * count : (rank + 1) * count]


_turns: Counter[tuple[str, int]] = Counter()
_named: dict[str, Any] = {}
"""The actor in use. It lives as long as the worker that started it keeps it here: other workers may be behind."""


def _actor(name: str, work: _Work) -> Any:
    if name not in _named:
        _named.clear()
        _named[name] = _Feeder.options(name=name, get_if_exists=True).remote(work)  # type: ignore[attr-defined]
    return _named[name]


def _sources(corpus: Corpus) -> str:
    return "+".join(source.name for source in corpus.sources)


def _tokenised(calls: Iterator[Callable[[], Ids]], name: str) -> Iterator[Ids]:
    """What the calls give, in order. The first ones are made here, while Ray Data begins with those that follow."""
    here = list(islice(calls, HEAD_START))
    there = _by_ray_data(calls, name)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, there, None)
        yield from (call() for call in here)
        first = following.result()
    if first is not None:
        yield first
        yield from there


def _by_ray_data(calls: Iterator[Callable[[], Ids]], name: str) -> Iterator[Ids]:
    """A Dataset lists its tasks at the start, so that long runs take several."""
    while leg := list(islice(calls, BLOCKS)):
        items = ray.data.from_items([{"call": pickle.dumps(call)} for call in leg], override_num_blocks=len(leg))
        stream = _in_order(items.map_batches(_call, batch_size=None, num_cpus=1), name)
        stream.context.target_max_block_size = None         # what one call gives stays in one piece
        for block in stream.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=2):
            yield block["ids"]


def _call(calls: dict[str, NDArray[np.object_]]) -> dict[str, Ids]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the task has one CPU; threads of its own would fight for it
    [call] = calls["call"]
    return {"ids": pickle.loads(call)()}  # noqa: S301  (of our own process, in Ray's memory)


def _in_order(stream: ray.data.Dataset, name: str) -> ray.data.Dataset:
    """`name`: by which Ray's dashboard knows it."""
    stream.set_name(name)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells of every execution
    stream.context.enable_progress_bars = False
    stream.context.execution_options.preserve_order = True
    return stream

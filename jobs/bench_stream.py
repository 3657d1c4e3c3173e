"""Tokens per second into one and two workers, by every way to read the same text, beside two yardsticks.

    python jobs/bench_stream.py [--path FOLDER] [--tokenizer FOLDER] [--length 512] [--ways bare text]

FOLDER holds Parquet files with a column `text` (default: documentation that every Python installation has). "mapped"
and "streamed" read token shards, by memory map and by Ray Data; "text" tokenises while it reads, by Ray Data; "bare" is
a loop over pyarrow and tokenizers, one process a worker, which share all cores; "datasets" is Hugging Face's streaming
with the same tokenizer. Workers are processes that start together; tokens/s are all workers', the wait for the first
batch included. Then the debug model is trained by each of ours, to see the share of its time that it waits for data.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from cogito_ray.evaluation.validation.validation_metrics import report_metrics
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.data.ray_data_reader import StreamReader, TextReader
from cogito_ray.sweeps.yaml_io.yaml_loader import load_run
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.order.row_order import Indices
from cogito_ray.text.preparation_plan import prepared
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.row_packing import PACKERS, Ids
from cogito_ray.text.sources.documents import RawDocument
from cogito_ray.text.streamed_text import StreamedText, regrouped
from cogito_ray.training.training_loop import CorpusFacts, Report, fit

RUN = Path(__file__).with_name("debug.yaml")
CORES = os.cpu_count() or 1
DOCUMENTS = 256  # tokenised at a time by the yardsticks


@dataclass(frozen=True)
class Task:
    data: DataSpec
    """With its tokens kept; `text` stands beside it."""
    storage: Path
    batch: int
    """Rows of all workers together."""
    tokens: int
    rank: int = 0
    world: int = 1

    def corpus(self, **changed: str) -> Corpus:
        return prepared(self.data.model_copy(update=changed), self.storage)

    @property
    def share(self) -> dict[str, int]:
        return {"batch": self.batch, "rank": self.rank, "world": self.world}

    @property
    def steps(self) -> range:
        return range(max(2, self.tokens // (self.batch * self.data.length)))


def mapped(task: Task) -> Iterator[Indices]:
    corpus = task.corpus()
    return MappedReader(corpus, corpus.plan(0)).batches(task.steps, **task.share)


def streamed(task: Task) -> Iterator[Indices]:
    corpus = task.corpus()
    return StreamReader(MappedReader(corpus, corpus.plan(0))).batches(task.steps, **task.share)


def text(task: Task) -> Iterator[Indices]:
    corpus = task.corpus(keep="text")
    return TextReader(StreamedText(corpus, corpus.text_plan(0))).batches(task.steps, **task.share)


def bare(task: Task) -> Iterator[Ids]:
    """In the order of the files, each worker every so many parts, packed like ours; again from the start at the end."""
    [source] = task.data.sources.values()

    def documents() -> Iterator[str]:
        for part in source.parts(task.storage / "documents")[task.rank :: task.world]:
            yield from (str(found.value) for found in part.read() if isinstance(found, RawDocument))

    return _packed(task, documents)


def datasets(task: Task) -> Iterator[Ids]:
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    [source] = task.data.sources.values()
    parts = source.parts(task.storage / "documents")
    files = sorted({piece.file.path for part in parts for piece in part.pieces})  # type: ignore[attr-defined]
    stream = load_dataset("parquet", data_files=files, split="train", streaming=True)
    mine = split_dataset_by_node(stream, task.rank, task.world)
    return _packed(task, lambda: (document["text"] for document in mine))


def _packed(task: Task, documents: Callable[[], Iterator[str]]) -> Iterator[Ids]:
    tokenizer = task.corpus().tokenizer

    def rows() -> Iterator[Ids]:
        packer = PACKERS[task.data.packing](task.data.length, tokenizer.vocabulary, tokenizer.dtype)
        while True:
            left = documents()
            while few := list(islice(left, DOCUMENTS)):
                yield packer.add(tokenizer.encode(few))

    return (ids.astype(np.int64) for ids in islice(regrouped(rows(), task.batch // task.world), len(task.steps)))


@dataclass(frozen=True)
class Seen:
    tokens: int
    first_s: float
    seconds: float
    """To the last batch, with those to the first."""
    peak_mib: float


@ray.remote(num_cpus=0)
class Worker:
    """A process that does nothing but read."""

    def __init__(self, threads: int):
        os.environ["RAYON_NUM_THREADS"] = str(threads)

    def ready(self) -> None:
        """Has imported everything."""

    def read(self, way: Callable[[Task], Iterator[Indices]], task: Task) -> Seen:
        began = time.perf_counter()
        batches = way(task)
        tokens = next(batches).size
        first = time.perf_counter()
        for ids in batches:
            tokens += ids.size
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Seen(tokens, first - began, time.perf_counter() - began, peak)

    def train(self, way: Callable[[Task], Iterator[Indices]], run: RunSpec, task: Task) -> float:
        return waited(way, run, task)


def waited(way: Callable[[Task], Iterator[Indices]], run: RunSpec, task: Task) -> float:
    """Share of training's time that it waits for data, once it has begun."""
    torch.set_num_threads(1)
    corpus, waits = task.corpus(), list[float]()

    def tell(report: Report) -> None:
        waits.append(report.metrics["time/data_wait_share"])

    facts = CorpusFacts(corpus.vocabulary, torch.from_numpy(corpus.log_unigram))
    task = replace(task, batch=run.training.batch, tokens=run.training.steps * run.training.batch * run.data.length)
    feed = (micro for ids in way(task) for micro in torch.from_numpy(ids).split(run.micro_batch))
    fit(run, facts, feed=lambda done: feed, evaluate=report_metrics(run, corpus, corpus.vocabulary), on_report=tell)
    return float(np.mean(waits[1:]))


def measured(way: Callable[[Task], Iterator[Indices]], task: Task, world: int) -> Seen:
    """Of all workers together: tokens and memory add up, the slowest counts for the time."""
    workers = [Worker.remote(max(1, CORES // world)) for _ in range(world)]  # type: ignore[attr-defined]
    ray.get([worker.ready.remote() for worker in workers])
    shares = [replace(task, rank=rank, world=world) for rank in range(world)]
    seen = ray.get([worker.read.remote(way, share) for worker, share in zip(workers, shares, strict=True)])
    for worker in workers:
        ray.kill(worker)
    return Seen(
        sum(one.tokens for one in seen),
        max(one.first_s for one in seen),
        max(one.seconds for one in seen),
        max(one.peak_mib for one in seen),
    )


WAYS: dict[str, Callable[[Task], Iterator[Any]]] = {
    way.__name__: way for way in (bare, datasets, text, streamed, mapped)
}
FROM_SHARDS = {"streamed", "mapped"}


def rates(task: Task, names: list[str], few: int) -> None:
    """The table of tokens/s. `few`: tokens read where they must be made first."""
    print(f"{'way':10} {'workers':>7} {'tokens/s':>14} {'x bare':>8} {'first batch s':>13} {'peak MiB a worker':>17}")
    for world in (1, 2):
        yardstick = 0.0
        for name in names:
            seen = measured(WAYS[name], replace(task, tokens=task.tokens if name in FROM_SHARDS else few), world)
            rate = seen.tokens / seen.seconds
            yardstick = yardstick or rate
            print(f"{name:10} {world:7} {rate:14,.0f} {rate / yardstick:8.2f} {seen.first_s:13.2f} "
                  f"{seen.peak_mib:17.0f}", flush=True)


def waits(run: RunSpec, task: Task, names: list[str]) -> None:
    training = run.training.model_copy(update={"steps": 60, "report_every": 20})
    evaluation = run.evaluation.model_copy(update={"rows": 16, "words": None})
    run = run.model_copy(update={"training": training, "evaluation": evaluation, "data": task.data})
    for name in names:
        worker = Worker.remote(1)  # type: ignore[attr-defined]
        share = ray.get(worker.train.remote(WAYS[name], run, task))
        ray.kill(worker)
        print(f"debug model, {name:9} waits for data {share:6.2%} of the time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", help="folder of Parquet files with a column `text`")
    parser.add_argument("--tokenizer", help="folder with a tokenizer.json; default: BPE of 8192 entries, trained here")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=200_000_000, help="read from shards")
    parser.add_argument("--few-tokens", type=int, default=16_000_000, help="read where they are made from text")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="the first one is the yardstick")
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-stream"))
    asked = parser.parse_args()
    files = {"kind": "files", "path": asked.path}
    data = DataSpec.model_validate({
        "sources": {"text": files if asked.path else {"kind": "python-docs", "part": "packages"}},
        "tokenizer": {"kind": "pretrained", "name": asked.tokenizer} if asked.tokenizer else {"kind": "bpe"},
        "length": asked.length,
    })
    storage = asked.storage.absolute()
    task = Task(data, storage, asked.batch, asked.tokens)
    with cluster():
        for keep in ("tokens", "text"):
            prepare(data.model_copy(update={"keep": keep}), storage)
        rates(task, asked.ways, asked.few_tokens)
        waits(load_run(RUN), task, [name for name in asked.ways if name not in ("bare", "datasets")])


if __name__ == "__main__":
    main()

"""Tokens per second into one and two workers, by every way to read the same text, beside two yardsticks.

    python jobs/bench_stream.py [--path FOLDER ...] [--tokenizer FOLDER] [--length 512] [--ways bare text] [--repeats 3]

Each FOLDER holds Parquet files with a column `text` (default: documentation that every Python installation has). The
first is read alone, then all of them mixed by size. "mapped" and "streamed" read token shards, by memory map and by Ray
Data; "text" tokenises while it reads, by Ray Data; "bare" is a loop over pyarrow and tokenizers, one process a worker,
which share all cores; "datasets" is Hugging Face's streaming with the same tokenizer. Workers are processes that start
together; seconds begin when they ask, so that the wait for the first batch is included. Everything was read once
before, in small: processes are warm. Text is read up to the last row of a window, for a window is tokenised whole.

Of several repetitions the medians are told. "x bare" compares tokens a second, "x bare, CPU" tokens a second of CPU of
all processes of the instance, which tells the same when cores are busy, and hardly depends on what else they do. Then
the debug model is trained by each of ours, to see the share of its time that it waits for data.
"""

import argparse
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
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

    def to_whole_windows(self) -> "Task":
        """At least as many tokens, to where most of what text must be tokenised by then is read."""
        rows, tokenised, best, share = self.tokens // self.data.length, 0, self.tokens, 0.0
        for place, window in self.corpus(keep="text").text_plan(0).reads(0, 3 * rows):
            if place >= rows and place / tokenised > share:
                best, share = place * self.data.length, place / tokenised
            tokenised += window.rows
        return replace(self, tokens=best)


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
    """A part of each source in turn, each worker every so many parts, packed like ours; again from the start at the
    end."""

    def documents() -> Iterator[str]:
        sources = [source.parts(task.storage / "documents") for source in task.data.sources.values()]
        parts = [part for parts in zip_longest(*sources) for part in parts if part is not None]
        for part in parts[task.rank :: task.world]:
            yield from (str(found.value) for found in part.read() if isinstance(found, RawDocument))

    return _packed(task, documents)


def datasets(task: Task) -> Iterator[Ids]:
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    parts = [part for source in task.data.sources.values() for part in source.parts(task.storage / "documents")]
    files = sorted({piece.file.path for part in parts for piece in part.pieces})  # type: ignore[attr-defined]
    stream = load_dataset("parquet", data_files=files, split="train", streaming=True)
    mine = split_dataset_by_node(stream, task.rank, task.world)
    return _packed(task, lambda: (document["text"] for document in mine))


def _packed(task: Task, documents: Callable[[], Iterator[str]]) -> Iterator[Ids]:
    tokenizer = task.corpus(keep="text").tokenizer

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
    cpu_s: float = 0.0
    """Of all processes."""


@ray.remote(num_cpus=0)
class Worker:
    """A process that does nothing but read."""

    def __init__(self, threads: int):
        os.environ["RAYON_NUM_THREADS"] = str(threads)

    def ready(self) -> None:
        """Has imported everything."""

    def read(self, way: Callable[[Task], Iterator[Indices]], task: Task) -> Seen:
        batches = way(task)
        began = time.perf_counter()
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
    corpus, waits = task.corpus(keep="text"), list[float]()

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
    before = cpu_seconds()
    seen = ray.get([worker.read.remote(way, share) for worker, share in zip(workers, shares, strict=True)])
    spent = cpu_seconds() - before
    for worker in workers:
        ray.kill(worker)
    return Seen(
        sum(one.tokens for one in seen),
        max(one.first_s for one in seen),
        max(one.seconds for one in seen),
        max(one.peak_mib for one in seen),
        spent,
    )


def cpu_seconds() -> float:
    """Of this process and all that it started, ended ones included."""
    spent = 0.0
    for process in [own := psutil.Process(), *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:     # ended meanwhile
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


WAYS: dict[str, Callable[[Task], Iterator[Any]]] = {
    way.__name__: way for way in (bare, datasets, text, streamed, mapped)
}
FROM_SHARDS = {"streamed", "mapped"}


def rates(task: Task, names: list[str], few: int, repeats: int) -> None:
    """The table of tokens/s. `few`: tokens read where they must be made first."""
    made = replace(task, tokens=few).to_whole_windows()
    print(f"\n{len(task.data.sources)} sources: {made.tokens:,} tokens where they are made, median of {repeats}")
    print(f"{'way':10} {'workers':>7} {'first batch s':>13} {'tokens/s':>14} {'x bare':>7} {'x bare, CPU':>11} "
          f"{'peak MiB a worker':>17}")
    for world in (1, 2):
        seen = defaultdict[str, list[Seen]](list)
        for name in names:
            measured(WAYS[name], replace(task, tokens=few // 3), world)
        for name in names * repeats:
            seen[name].append(measured(WAYS[name], task if name in FROM_SHARDS else made, world))
        for name in names:
            pairs = list(zip(seen[name], seen[names[0]], strict=True))
            wall = median(one.tokens / one.seconds / (bare.tokens / bare.seconds) for one, bare in pairs)
            cpu = median(one.tokens / one.cpu_s / (bare.tokens / bare.cpu_s) for one, bare in pairs)
            first = median(one.first_s for one in seen[name])
            rate = median(one.tokens / one.seconds for one in seen[name])
            peak = max(one.peak_mib for one in seen[name])
            print(f"{name:10} {world:7} {first:13.2f} {rate:14,.0f} {wall:7.2f} {cpu:11.2f} {peak:17.0f}", flush=True)


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
    parser.add_argument("--path", nargs="+", default=[], help="folders of Parquet files with a column `text`")
    parser.add_argument("--tokenizer", help="folder with a tokenizer.json; default: BPE of 8192 entries, trained here")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=200_000_000, help="read from shards")
    parser.add_argument("--few-tokens", type=int, default=5_000_000, help="read where they are made from text")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="the first one is the yardstick")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-stream"))
    asked = parser.parse_args()
    files = [{"kind": "files", "path": path} for path in asked.path]
    sources: dict[str, dict[str, str]] = {f"folder-{number}": file for number, file in enumerate(files, start=1)}
    sources = sources or {part: {"kind": "python-docs", "part": part} for part in ("packages", "library")}
    tokenizer = {"kind": "pretrained", "name": asked.tokenizer} if asked.tokenizer else {"kind": "bpe"}
    ours = [name for name in asked.ways if name not in ("bare", "datasets")]
    with cluster():
        for count in sorted({1, len(sources)}):
            mixed = {name: {**source, "weight": "size"} for name, source in list(sources.items())[:count]}
            data = DataSpec.model_validate({"sources": mixed, "tokenizer": tokenizer, "length": asked.length})
            task = Task(data, asked.storage.absolute(), asked.batch, asked.tokens)
            for keep in ("tokens", "text") if FROM_SHARDS & {*ours} else ("text",):
                prepare(data.model_copy(update={"keep": keep}), task.storage)
            rates(task, asked.ways, asked.few_tokens, asked.repeats)
        waits(load_run(RUN), task, ours)


if __name__ == "__main__":
    main()

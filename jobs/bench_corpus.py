"""A whole corpus from files to rows: made of real text, prepared over Ray, streamed to its end, and deleted.

    python jobs/bench_corpus.py --text FOLDER [--size 0.1] [--files 200] [--keep tokens text] [--folder SCRATCH]

FOLDER holds Parquet files with a column `text`, repeated with every seventh word changed until there are SIZE
gigabytes, in files of every common format; a fifth of the text is in two large files, one .json.gz and one Parquet row
group. Each stage is told with its seconds; tokens per second of CPU of its tasks, beside a bare loop over a tokenizer;
the most memory that the driver and any worker held; and what lies in the storage.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import ray
from tokenizers import Tokenizer

from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.data.ray_data_reader import StreamReader, TextReader
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.token_shards import RowsDigest
from cogito_ray.text.streamed_text import StreamedText
from cogito_ray.text.trained_tokenizers import BpeSpec

WORKERS, BATCH, CHANGED = 2, 16, 7
LARGE = 0.1
"""Of all text, in each of the two large files."""
SAMPLE = 2**23  # characters tokenised by the bare loop
DOCUMENTS = 256  # tokenised at a time by the bare loop


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def packed(codec: str) -> Callable[[Path, list[str]], object]:
    def write(file: Path, texts: list[str]) -> None:
        with pa.CompressedOutputStream(str(file), codec) as stream:
            stream.write(lines(texts))

    return write


def table(texts: list[str]) -> pa.Table:
    return pa.table({"id": range(len(texts)), "text": texts})


FORMATS: dict[str, Callable[[Path, list[str]], object]] = {
    "parquet": lambda file, texts: pq.write_table(table(texts), file, row_group_size=500),
    "jsonl": lambda file, texts: file.write_bytes(lines(texts)),
    "json.gz": packed("gzip"),
    "jsonl.zst": packed("zstd"),
    "feather": lambda file, texts: pa.feather.write_feather(table(texts), str(file), chunksize=500),
    "csv": lambda file, texts: pa.csv.write_csv(table(texts), file),
    "txt": lambda file, texts: file.write_text("\n\n".join(texts)),
    "jsonl.bz2": packed("bz2"),
}


def documents(folder: Path) -> Iterator[str]:
    """Without end: real text, then the same with other words of its own in the place of every seventh."""
    files = [pq.ParquetFile(file) for file in sorted(folder.rglob("*.parquet"))]
    words = np.array(" ".join(next(files[0].iter_batches(1000, columns=["text"])).column(0).to_pylist()).split())
    for copy in count():
        draw = np.random.default_rng(copy)
        for batch in chain.from_iterable(file.iter_batches(100, columns=["text"]) for file in files):
            texts = batch.column(0).to_pylist()
            yield from (changed(text, copy, draw, words) if copy else text for text in texts)


def changed(text: str, copy: int, draw: np.random.Generator, words: np.ndarray) -> str:
    every = text.split(" ")
    places = range(copy % CHANGED, len(every), CHANGED)
    every[copy % CHANGED :: CHANGED] = words[draw.integers(len(words), size=len(places))].tolist()
    return " ".join(every)


def write_corpus(folder: Path, source: Iterator[str], size: float, files: int) -> None:
    """`size` bytes of text in so many files, two of which are large."""
    folder.mkdir(parents=True)
    with gzip.open(folder / "large.json.gz", "wb", compresslevel=4) as stream:
        for few in batches(source, LARGE * size):
            stream.write(lines(few))
    pq.write_table(table([text for few in batches(source, LARGE * size) for text in few]), folder / "large.parquet")
    names = list(FORMATS)
    for number in range(files - 2):
        ending = names[number % len(names)]
        texts = [text for few in batches(source, (1 - 2 * LARGE) * size / (files - 2)) for text in few]
        FORMATS[ending](folder / f"{number:04d}.{ending}", texts)


def batches(source: Iterator[str], size: float) -> Iterator[list[str]]:
    """Documents, a few at a time, until they hold so many bytes."""
    while size > 0:
        few = list(islice(source, 10))
        yield few
        size -= sum(len(text.encode()) for text in few)


@dataclass
class Watch:
    """The memory and CPU of this process and of Ray's workers below it, looked at every second."""

    driver: float = 0
    worker: float = 0
    seconds: dict[int, float] = field(default_factory=dict)
    """Of CPU, by worker."""

    def look(self) -> None:
        mine = psutil.Process()
        self.driver = max(self.driver, mine.memory_info().rss / 2**20)
        for process in mine.children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                    self.worker = max(self.worker, process.memory_info().rss / 2**20)
                    self.seconds[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:  # it has ended
                continue


@contextmanager
def watched(stage: str, tokens: Callable[[], int]) -> Iterator[None]:
    """Prints what the block took."""
    (before := Watch()).look()
    watch, done, started, own = Watch(), Event(), time.monotonic(), sum(os.times()[:2])

    def look() -> None:
        while not done.wait(1):
            watch.look()

    (thread := Thread(target=look)).start()
    try:
        yield
        watch.look()
    finally:
        done.set()
        thread.join()
    cpu = sum(used - before.seconds.get(pid, 0) for pid, used in watch.seconds.items())
    print(
        f"{stage:16} {time.monotonic() - started:8.0f} s, of CPU {sum(os.times()[:2]) - own:5.0f} driver "
        f"{cpu:7.0f} tasks; {tokens():,} tokens, {tokens() / max(cpu, 1):,.0f} a CPU s of tasks; "
        f"at most {watch.driver:.0f} MB driver, {watch.worker:.0f} MB a worker",
        flush=True,
    )


def bare(sample: list[str], tokenizer: Path) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encode, tokens, started = Tokenizer.from_file(str(tokenizer)).encode_batch_fast, 0, sum(os.times()[:2])
    for first in range(0, len(sample), DOCUMENTS):
        tokens += sum(len(each.ids) for each in encode(sample[first : first + DOCUMENTS], add_special_tokens=False))
    seconds = sum(os.times()[:2]) - started
    print(f"{'bare loop':16} {tokens:,} tokens of a sample, {tokens / seconds:,.0f} a CPU s", flush=True)


def stream(corpus: Corpus, keep: str) -> int:
    """Reads the train rows in order, to the end; rows of shards are compared with those of a memory map."""
    rows = sum(source.shards.manifest.rows("train") for source in corpus.sources)
    steps = range(rows // BATCH)
    if keep == "text":  # compared, part by part, with what was counted
        text = TextReader(StreamedText(corpus, corpus.text_plan(seed=1)))
        return sum(map(len, text.whole(steps, batch=BATCH)))
    mapped = MappedReader(corpus, corpus.plan(seed=1))
    found, expected = RowsDigest(), RowsDigest()
    for step, ids in enumerate(StreamReader(mapped).batches(steps, batch=BATCH)):
        found.add(ids.astype(np.uint32))
        expected.add(mapped.read(step * BATCH, BATCH).astype(np.uint32))
    assert found.hex() == expected.hex()
    return len(steps) * BATCH


def measure(data: DataSpec, storage: Path) -> None:
    opened: list[Corpus] = []

    def tokens() -> int:
        manifest = opened[0].sources[0].shards.manifest
        return sum(manifest.tokens.values())

    with watched(f"prepare {data.keep}", tokens):
        opened.append(prepare(data, storage))
    with watched("again", lambda: 0):
        prepare(data, storage)
    shards = opened[0].sources[0].shards
    parts = len(shards.manifest.part_digests["train"])
    print(f"{'':16} {parts} parts, {lying_in(shards.folder)}", flush=True)
    read: list[int] = []
    with watched(f"stream {data.keep}", lambda: read[0] * data.length):
        read.append(stream(opened[0], data.keep))
    print(f"{'':16} {read[0]:,} of {shards.manifest.rows('train'):,} rows", flush=True)


def lying_in(folder: Path) -> str:
    sizes = [file.stat().st_size for file in folder.iterdir()]
    return f"{len(sizes)} files, {sum(sizes) / 2**30:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--size", type=float, default=0.1, help="gigabytes")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--keep", nargs="*", default=["tokens", "text"])
    parser.add_argument("--folder", type=Path, default=None, help="where 4 GB a gigabyte have room")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder, source, started = Path(scratch), documents(given.text), time.monotonic()
        sample = [text for few in batches(documents(given.text), SAMPLE) for text in few]
        write_corpus(folder / "text", source, given.size * 2**30, given.files)
        print(f"{'made':16} {time.monotonic() - started:8.0f} s, {lying_in(folder / 'text')}", flush=True)
        name = BpeSpec(vocabulary=given.vocabulary).train(sample).store(folder / "storage")
        tokenizer = folder / "storage" / "tokenizers" / name
        bare(sample, tokenizer / "tokenizer.json")
        del sample, source
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder / "ray"))
        texts = {"kind": "files", "path": str(folder / "text"), "sample_by": "paragraph"}
        for keep in given.keep:
            measure(
                DataSpec.model_validate(
                    {
                        "sources": {"text": texts},
                        "tokenizer": {"kind": "pretrained", "name": str(tokenizer)},
                        "length": given.length,
                        "keep": keep,
                    }
                ),
                folder / "storage",
            )
        ray.shutdown()


if __name__ == "__main__":
    main()

"""What preparation costs beside tokenising: tokens per second of a core; memory and seconds against parts.

    python jobs/bench_prepare.py [--path FOLDER] [--tokenizer FOLDER] [--length 512] [--parts 1000 10000 100000]
    python jobs/bench_prepare.py --only 100000 [--ray]

FOLDER holds Parquet files with a column `text` (default: documentation that every installation has). "prepare" is this
package in one process, "bare" a loop over pyarrow and tokenizers, "datasets" Hugging Face's map on the same files;
each in seconds of CPU, so that what else runs on the machine tells little. Then as many parts as said are made for
`keep: text`, each of a few words that stand for 1.5 MB, and counted: what is left of the time is the price of a part,
and the memory is that of a driver and a task together.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest.mock import patch

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.data.ray_data_preparation import in_parallel
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.preparation_plan import Runner, prepare_with, serially
from cogito_ray.text.sources import documents
from cogito_ray.text.sources.filesystem_access import File
from cogito_ray.text.sources.line_files import JsonLinesPiece, json_pieces
from cogito_ray.text.trained_tokenizers import BpeSpec

DOCUMENTS = 256  # tokenised at a time by the yardsticks
FILES = 100  # that hold the made parts


def spec(path: str, tokenizer: str, length: int, keep: str) -> DataSpec:
    source = {"kind": "files", "path": path} if path else {"kind": "python-docs", "part": "packages"}
    named = {"kind": "pretrained", "name": tokenizer} if tokenizer else {"kind": "bpe", "vocabulary": 8192}
    return DataSpec.model_validate({"sources": {"text": source}, "tokenizer": named, "length": length, "keep": keep})


def cpu_seconds() -> float:
    return sum(os.times()[:2])


def beside_the_yardsticks(path: str, tokenizer: str, length: int) -> None:
    """Prints tokens a second of CPU of one process each; the tokenizer is trained, and text gathered, before."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        data = spec(path, tokenizer, length, "tokens")
        corpus = prepare_with(serially, data, Path(folder))
        trained = str(corpus.tokenizer_folder / "tokenizer.json")
        for shards in (Path(folder) / "tokens").iterdir():
            shards.rename(shards.with_name("before"))
        files = sorted(data.sources["text"].places(Path(folder) / "documents"))
        started = cpu_seconds()
        manifest = prepare_with(serially, data, Path(folder)).sources[0].shards.manifest
        report("prepare", sum(manifest.tokens.values()), cpu_seconds() - started)
        for name, way in (("bare", bare), ("datasets", mapped)):
            started = cpu_seconds()
            report(name, way(files, trained), cpu_seconds() - started)


def report(name: str, tokens: int, seconds: float) -> None:
    print(f"{name:10} {tokens:12,} tokens {seconds:7.1f} CPU s {tokens / seconds:10,.0f} tokens/s", flush=True)


def bare(files: list[str], tokenizer: str) -> int:
    encode = Tokenizer.from_file(tokenizer).encode_batch_fast
    batches = (batch for file in files for batch in pq.ParquetFile(file).iter_batches(DOCUMENTS, columns=["text"]))
    texts = (batch.column(0).to_pylist() for batch in batches)
    return sum(len(each.ids) for few in texts for each in encode(few, add_special_tokens=False))


def mapped(files: list[str], tokenizer: str) -> int:
    from datasets import Dataset

    encode = Tokenizer.from_file(tokenizer).encode_batch_fast

    def tokenise(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"ids": [each.ids for each in encode(batch["text"], add_special_tokens=False)]}

    with tempfile.TemporaryDirectory() as cache:
        rows = Dataset.from_parquet(files, cache_dir=cache, columns=["text"])
        done = rows.map(tokenise, batched=True, batch_size=DOCUMENTS, remove_columns=["text"])
        return sum(len(ids) for ids in done.with_format("numpy")["ids"])


def against_parts(count: int, run: Runner) -> None:
    """Prints what it takes to cut, count and record so many parts, each a line of a file that stands for much text."""
    prepare_parts(FILES, run)  # what is loaded only once
    before, started = memory(), cpu_seconds()
    parts, files = prepare_parts(count, run)
    used, more = cpu_seconds() - started, memory() - before
    print(
        f"{parts:7,} parts of {parts * documents.SOON_READ / 2**30:6.1f} GB {used:7.1f} CPU s "
        f"{1e3 * used / parts:6.2f} CPU ms a part {memory():6.0f} MB, "
        f"{2**10 * more / parts:.2f} kB a part {files:6,} files",
        flush=True,
    )


def prepare_parts(count: int, run: Runner) -> tuple[int, int]:
    """Parts, about as many as said, and files in the folder of the source."""
    with tempfile.TemporaryDirectory() as folder:
        line = json.dumps({"text": "some words that stand for a document, " * 3}) + "\n"
        (Path(folder) / "text").mkdir()
        for number in range(FILES):
            lines = (line.replace("some", f"{number}-{row}") for row in range(count // FILES))
            (Path(folder) / "text" / f"{number:03d}.jsonl").write_text("".join(lines))
        tokenizer = BpeSpec(vocabulary=300).train([__doc__ or line]).store(Path(folder) / "s")
        named = str(Path(folder) / "s" / "tokenizers" / tokenizer)
        data = spec(str(Path(folder) / "text"), named, 64, "text")

        def a_part_a_line(files: Sequence[File], column: str, largest: int, sample_by: str) -> list[documents.Part]:
            pieces = (piece for file in files for piece in json_pieces(file, column, len(line)))
            return [documents.Part((replace(cast(JsonLinesPiece, piece), size=largest),)) for piece in pieces]

        with patch("cogito_ray.text.sources.text_files.parts_of_files", a_part_a_line):
            shards = prepare_with(run, data, Path(folder) / "s").sources[0].shards
        return len(shards.manifest.part_rows), len(list(shards.folder.iterdir()))


def memory() -> float:
    """MB, the most there were."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--path", default="")
    parser.add_argument("--tokenizer", default="")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--parts", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--only", type=int, default=0, help="so many parts, and nothing else")
    parser.add_argument("--ray", action="store_true", help="with --only: over Ray; time and memory are its driver's")
    given = parser.parse_args()
    if given.ray:
        with cluster():
            against_parts(given.only, in_parallel)
        return
    if given.only:
        against_parts(given.only, serially)
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    beside_the_yardsticks(given.path, given.tokenizer, given.length)
    for count in given.parts:  # in a process each: the most memory there was is a process's
        subprocess.run([sys.executable, __file__, "--only", str(count)], check=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

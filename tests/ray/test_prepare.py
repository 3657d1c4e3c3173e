"""Preparing with Ray Data gives the bytes that preparing in one process gives."""

import json
import time
from pathlib import Path

import pytest
from corpora import data_spec, texts, two_sources

from cogito_ray.runtime.data.ray_data_preparation import in_parallel, prepare
from cogito_ray.text.preparation_plan import Progress, prepare_with, serially
from cogito_ray.text.prepared_corpus import Corpus

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_cluster")]


def shard_hashes(corpus: Corpus) -> list[dict[str, str]]:
    return [{shard.file: shard.sha256 for shard in s.shards.manifest.every_shard} for s in corpus.sources]


def test_the_result_does_not_depend_on_parallelism(tmp_path: Path) -> None:
    data = data_spec(two_sources(tmp_path))
    in_tasks = prepare(data, tmp_path / "in_tasks")
    alone = prepare_with(serially, data, tmp_path / "alone")
    assert in_tasks.tokenizer_folder.name == alone.tokenizer_folder.name
    assert in_tasks.tokenizer.digest() == alone.tokenizer.digest()
    assert shard_hashes(in_tasks) == shard_hashes(alone)
    assert (in_tasks.log_unigram == alone.log_unigram).all()


def test_what_is_cleaned_does_not_depend_on_parallelism(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogito_ray.text.cleaning.corpus_cleaning.SCANNED_BYTES", 8000)
    monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 6000)
    sources = two_sources(tmp_path)
    copied, own = texts(150, seed=0), texts(60, seed=11)
    near = [text.replace(" number 11", ", which is number 11") for text in own]
    for folder, documents in (("again", copied + own), ("second", near)):
        (tmp_path / folder).mkdir(exist_ok=True)
        lines = (json.dumps({"text": text}) + "\n" for text in documents)
        (tmp_path / folder / "more.jsonl").write_text("".join(lines))
    sources["again"] = {"kind": "files", "path": str(tmp_path / "again")}
    data = data_spec(sources, clean={"words": {"min": 21}, "languages": {"second": ["en", "la"]}})
    heard: list[Progress] = []
    in_tasks = prepare(data, tmp_path / "in_tasks", heard.append)
    assert in_tasks.digests == prepare_with(serially, data, tmp_path / "alone").digests
    assert [stage.total for stage in heard if stage.stage == "cleaning: reading documents"][-1] > 3
    assert in_tasks.left_out["again"]["exact_duplicate"] > 140
    assert in_tasks.left_out["again"]["near_duplicate"] > 0


def test_a_second_preparation_reuses_and_says_so(tmp_path: Path) -> None:
    data = data_spec(two_sources(tmp_path))
    prepare(data, tmp_path / "s")
    heard: list[Progress] = []
    started = time.monotonic()
    prepare(data, tmp_path / "s", heard.append)
    assert time.monotonic() - started < 2  # no task was started: that alone takes longer
    assert [progress.stage.split(":")[0] for progress in heard] == ["first", "second"]
    assert all("rows stand from before" in progress.stage for progress in heard)


def test_progress_counts_up_to_every_token(tmp_path: Path) -> None:
    heard: list[Progress] = []
    corpus = prepare(data_spec(two_sources(tmp_path)), tmp_path / "s", heard.append)
    last = [progress for progress in heard if progress.stage == "second: tokenising"][-1]
    assert last.done == last.total
    assert last.tokens == sum(corpus.sources[1].shards.manifest.tokens.values())


def test_more_calls_than_cpus_all_end_with_their_numbers() -> None:
    def squared(number: int) -> int:
        return number * number

    calls = [lambda number=number: squared(number) for number in range(9)]
    assert dict(in_parallel(calls)) == {number: number * number for number in range(9)}


def test_an_error_in_a_task_is_the_error_the_caller_sees(tmp_path: Path) -> None:
    data = data_spec(two_sources(tmp_path), tokenizer={"kind": "bpe", "vocabulary": 100_000})
    with pytest.raises(ValueError, match=r"data\.tokenizer\.vocabulary: 100000 entries asked"):
        prepare(data, tmp_path / "s")

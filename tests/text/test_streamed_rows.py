"""Rows tokenised when they are read are the rows that would have been kept, in the order of the same plan."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import data_spec, texts, tiny_run, two_sources
from pydantic import ValidationError

from cogito_ray.run_spec import RunSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.preparation_plan import prepare_with, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.parts_file import PartsFile, write_parts_file
from cogito_ray.text.shards.shard_builder import BuildSettings
from cogito_ray.text.sources.columnar_files import ArrowPiece, CsvPiece, ParquetPiece, UnreadablePiece
from cogito_ray.text.sources.documents import Part
from cogito_ray.text.sources.filesystem_access import File
from cogito_ray.text.sources.line_files import JsonLinesPiece, TextPiece
from cogito_ray.text.streamed_text import ChangedText, StreamedText, regrouped


def prepared(sources: dict[str, dict[str, object]], storage: Path, **changed: object) -> Corpus:
    return prepare_with(serially, data_spec(sources, **changed), storage)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, object]]:
    """Cut into parts of a few dozen documents, so that an epoch has several windows."""
    monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 4000)
    monkeypatch.setattr("cogito_ray.text.sources.documents.PARTS", 1000)
    monkeypatch.setattr("cogito_ray.text.order.block_shuffle.WINDOW", 4)
    return two_sources(tmp_path)


@pytest.fixture
def raw(sources: dict[str, dict[str, object]], tmp_path: Path) -> StreamedText:
    corpus = prepared(sources, tmp_path / "s", keep="text")
    return StreamedText(corpus, corpus.text_plan(seed=3))


def read(raw: StreamedText, start: int, stop: int) -> np.ndarray:
    return np.concatenate(list(raw.rows(start, stop, (call() for call in raw.calls(start, stop)))))


@pytest.mark.parametrize("packing", ["concatenate", "document", "best_fit"])
def test_text_and_shards_give_the_same_rows(
    sources: dict[str, dict[str, object]], tmp_path: Path, packing: str
) -> None:
    kept, text = (prepared(sources, tmp_path / "s", keep=keep, packing=packing) for keep in ("tokens", "text"))
    plan = text.text_plan(seed=3)
    assert min(map(len, plan.part_rows)) > 5
    mapped = MappedReader(kept, plan).at(np.arange(3000))
    for start, stop in [(0, 3000), (1717, 2300)]:
        assert read(StreamedText(text, plan), start, stop).tobytes() == mapped[start:stop].tobytes()


def test_small_weights_wait_for_a_few_windows_alone(sources: dict[str, dict[str, object]], tmp_path: Path) -> None:
    sources["second"]["weight"] = 0.0018         # 1 : 0.0006, drawn first at the second thousand of positions
    kept, text = (prepared(sources, tmp_path / "s", keep=keep) for keep in ("tokens", "text"))
    raw = StreamedText(text, text.text_plan(seed=3))
    expected = MappedReader(kept, raw.plan).at(np.arange(300, 7300))
    np.testing.assert_array_equal(read(raw, 300, 7300), expected)
    assert {call.args[2].folder for call in raw.calls(0, 1)} == {text.sources[0].shards.folder}


def test_resuming_in_mid_epoch_gives_the_tail_and_tokenises_one_window_a_source(raw: StreamedText) -> None:
    np.testing.assert_array_equal(read(raw, 333, 900), read(raw, 0, 900)[333:])
    assert len(list(raw.calls(333, 334))) <= 2 * 4


def test_no_train_rows_are_written(raw: StreamedText) -> None:
    for source in raw.corpus.sources:
        assert source.shards.manifest.shards["train"] == ()
        assert not list(source.shards.folder.glob("train*"))
        assert source.shards.manifest.rows("train") > 0


def test_the_facts_a_model_asks_for_are_those_of_kept_rows(
    sources: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    kept, text = (prepared(sources, tmp_path / "s", keep=keep) for keep in ("tokens", "text"))
    assert text.tokenizer.digest() == kept.tokenizer.digest()
    np.testing.assert_array_equal(text.held_out_rows(20), kept.held_out_rows(20))
    for before, after in zip(kept.sources, text.sources, strict=True):
        np.testing.assert_array_equal(after.shards.counts, before.shards.counts)
    np.testing.assert_array_equal(text.log_unigram, kept.log_unigram)


def test_an_interrupted_count_goes_on_where_it_was(sources: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    before = prepared(sources, tmp_path / "s", keep="text").sources[0].shards
    (before.folder / "manifest.json").unlink()
    (before.folder / "part-00001.json").unlink()
    after = prepared(sources, tmp_path / "s", keep="text").sources[0].shards
    assert after.manifest == before.manifest


def test_text_that_changed_since_it_was_counted_is_refused(raw: StreamedText, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}) for text in texts(100, seed=9)]
    lines[0] = json.dumps({"text": "short"}).ljust(len(lines[0]))
    (tmp_path / "second" / "lines.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ChangedText, match=r"data\.sources\.second: part 0 gives other rows than when it was counted"):
        read(raw, 0, 2000)


def test_other_words_in_as_many_rows_are_refused(raw: StreamedText, tmp_path: Path) -> None:
    file = tmp_path / "second" / "lines.jsonl"
    file.write_bytes(file.read_bytes().replace(b"number 9-7", b"number 9-8", 1))
    with pytest.raises(ChangedText, match=r"data\.sources\.second: part 0 gives other rows"):
        read(raw, 0, 2000)


def test_how_text_is_cut_is_kept_as_json_that_gives_every_kind_of_piece_again(tmp_path: Path) -> None:
    """A file that is planted there may name text to read, but runs nothing."""
    file = File(str(tmp_path), str(tmp_path / "a.txt"), 5, "[1]")
    pieces = (
        ParquetPiece(file, "text", (0, 1), first_row=7, size=9, rows=(2, 5)),
        JsonLinesPiece(file, "text", 0, None, size=9),
        ArrowPiece(file, "text", size=9, batches=(2, 5)),
        CsvPiece(file, "text", size=9),
        TextPiece(file, size=5),
        UnreadablePiece(file, "no Parquet"),
    )
    settings = BuildSettings(tmp_path, tmp_path / "tokenizer", 16, 0.1, "concatenate", keeps_rows=False)
    write_parts_file(settings, [Part(pieces[:1]), Part(pieces[1:])])
    assert json.loads((tmp_path / "parts.jsonl").read_text().splitlines()[0])["length"] == 16
    parts = PartsFile(tmp_path)
    assert parts.settings(tmp_path / "tokenizer") == settings
    assert [parts[number] for number in range(len(parts))] == [Part(pieces[:1]), Part(pieces[1:])]


def test_parts_cost_who_holds_or_reads_them_a_few_hundred_bytes_each(tmp_path: Path) -> None:
    """Of 33 GB there are 21,000."""
    settings = BuildSettings(tmp_path, tmp_path / "tokenizer", 16, 0.1, "concatenate", keeps_rows=False)
    file, count = File(str(tmp_path), str(tmp_path / "a.parquet"), 10**9, "[1]"), 3_000
    tracemalloc.start()
    parts = [Part((ParquetPiece(file, "text", (each,), 1000 * each, 10**6 + each, (0, 700)),)) for each in range(count)]
    assert tracemalloc.get_traced_memory()[0] < 500 * count
    write_parts_file(settings, parts)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read = PartsFile(tmp_path)
    assert tracemalloc.get_traced_memory()[1] - before < 500 * count
    tracemalloc.stop()
    assert (len(read), read[2777]) == (count, parts[2777])


def test_train_tokens_are_counted_in_parts_spread_over_the_source(
    sources: dict[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = prepared(sources, tmp_path / "s")
    monkeypatch.setattr("cogito_ray.text.preparation_plan.COUNTED_PARTS", 4)
    text = prepared(sources, tmp_path / "t", keep="text")
    assert [len(source.shards.manifest.counts) for source in text.sources] == [5, 4]       # of 19 and 8 parts
    for before, after in zip(kept.sources, text.sources, strict=True):
        share = after.shards.counts[0].sum() / before.shards.counts[0].sum()
        assert 0.15 < share < 0.6
        assert (after.shards.counts[0] <= before.shards.counts[0]).all()
    ordinary = np.exp(kept.log_unigram) > 0.005
    np.testing.assert_allclose(text.log_unigram[ordinary], kept.log_unigram[ordinary], atol=0.35)


def test_regrouping_keeps_the_order() -> None:
    rows = np.arange(46, dtype=np.uint16).reshape(23, 2)
    pieces = np.split(rows, [1, 2, 9, 9, 20])
    groups = list(regrouped(pieces, 5))
    np.testing.assert_array_equal(groups, rows[:20].reshape(4, 5, 2))


def test_a_run_over_text_wants_ray_data_and_no_collocations(tmp_path: Path) -> None:
    tree = tiny_run(tmp_path)
    tree["data"]["keep"] = "text"  # type: ignore[index]
    tree["objective"] = {"kind": "pmi"}
    with pytest.raises(ValidationError, match=r"set reader: streamed\s.*set data\.keep: tokens"):
        RunSpec.model_validate(tree)
    RunSpec.model_validate(tree | {"objective": {"kind": "tsdae"}, "reader": "streamed"})


def test_text_that_was_moved_is_read_where_it_lies_now(
    sources: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    before = prepared(sources, tmp_path / "s", keep="text")
    rows = read(StreamedText(before, before.text_plan(seed=3)), 0, 300)
    moved = {name: {**each, "path": str(tmp_path / f"moved-{name}")} for name, each in sources.items()}
    for name, each in moved.items():
        Path(str(sources[name]["path"])).rename(str(each["path"]))
    now = prepared(moved, tmp_path / "s", keep="text")
    assert now.digests == before.digests
    np.testing.assert_array_equal(read(StreamedText(now, now.text_plan(seed=3)), 0, 300), rows)


def test_gathered_text_is_read_from_a_storage_that_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "nothing"))       # pydoc's topics are enough
    docs = {"docs": {"kind": "python-docs", "part": "library"}}
    before = prepared(docs, tmp_path / "old", keep="text")
    rows = read(StreamedText(before, before.text_plan(seed=3)), 0, 10)
    (tmp_path / "old").rename(tmp_path / "new")
    now = prepared(docs, tmp_path / "new", keep="text")
    assert now.digests == before.digests
    np.testing.assert_array_equal(read(StreamedText(now, now.text_plan(seed=3)), 0, 10), rows)


def test_how_text_is_cut_is_written_anew_where_somebody_altered_it(
    sources: dict[str, dict[str, object]], raw: StreamedText, tmp_path: Path
) -> None:
    cut = raw.corpus.sources[0].shards.folder / "parts.jsonl"
    before = cut.read_bytes()
    cut.write_text("{}")
    prepared(sources, tmp_path / "s", keep="text")
    assert cut.read_bytes() == before

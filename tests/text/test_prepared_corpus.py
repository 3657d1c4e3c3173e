"""A prepared corpus: what is built once, what is reused, what is noticed, and what a trial reads of it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import data_spec, texts, two_sources
from pydantic import ValidationError

from cogito_ray.text.data_digests import DataDigests, NotPrepared
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.preparation_plan import Progress, prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.token_shards import MANIFEST

Sources = dict[str, dict[str, object]]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return two_sources(tmp_path)


def stages(data: DataSpec, storage: Path) -> list[str]:
    """What `prepare` says it did."""
    heard: list[Progress] = []
    prepare_with(serially, data, storage, heard.append)
    return [progress.stage for progress in heard]


def shard_times(storage: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in storage.rglob("*.parquet")}


def every_row(corpus: Corpus, index: int, side: str) -> np.ndarray:
    shards = corpus.sources[index].shards
    return getattr(shards, side)(np.arange(shards.manifest.rows(side)))


def test_rows_hold_every_token_of_every_document(corpus: Corpus) -> None:
    tokenizer = corpus.tokenizer
    expected = sorted(texts(100, seed=9))
    separator, pad = tokenizer.vocabulary.separator_id, tokenizer.vocabulary.pad_id
    stream = np.concatenate([every_row(corpus, 1, side).ravel() for side in ("train", "held_out")])
    stream = stream[stream != pad]
    read = np.split(stream, np.flatnonzero(stream == separator) + 1)[:-1]
    assert sorted(tokenizer.tokenizer.decode(ids[:-1].tolist()) for ids in read) == expected


def test_a_manifest_says_how_many_tokens_a_word_takes(corpus: Corpus) -> None:
    manifest = corpus.sources[1].shards.manifest
    words = sum(len(text.split()) for text in texts(100, seed=9))
    assert sum(manifest.words.values()) == words
    assert manifest.fertility == sum(manifest.tokens.values()) / words


def test_a_second_preparation_reuses_everything(sources: Sources, tmp_path: Path) -> None:
    stages(data_spec(sources), tmp_path / "s")
    before = shard_times(tmp_path / "s")
    assert all("stand from before" in stage for stage in stages(data_spec(sources), tmp_path / "s"))
    assert shard_times(tmp_path / "s") == before


def test_mixing_weights_and_tolerance_rebuild_nothing(sources: Sources, tmp_path: Path) -> None:
    digests = prepare_with(serially, data_spec(sources), tmp_path / "s").digests
    before = shard_times(tmp_path / "s")
    sources["second"]["weight"] = 5.0
    changed = data_spec(sources, bad_documents=0.5)
    assert [source.weight for source in Corpus.open(changed, tmp_path / "s", digests).sources] == [3.0, 5.0]
    assert prepare_with(serially, changed, tmp_path / "s").digests == digests
    assert shard_times(tmp_path / "s") == before


def test_sources_may_be_mixed_in_proportion_to_their_size(sources: Sources, tmp_path: Path) -> None:
    for source in sources.values():
        source["weight"] = "size"
    corpus = prepare_with(serially, data_spec(sources), tmp_path / "s")
    assert [s.weight for s in corpus.sources] == [s.shards.manifest.rows("train") for s in corpus.sources]
    sources["second"]["weight"] = 2
    with pytest.raises(ValidationError, match="weight: size is said of first alone; say it of all sources"):
        data_spec(sources)


def test_a_changed_source_is_built_anew(sources: Sources, tmp_path: Path) -> None:
    stages(data_spec(sources), tmp_path / "s")
    (tmp_path / "second" / "more.jsonl").write_text('{"text": "one more document"}\n')
    stages(data_spec(sources), tmp_path / "s")
    documents = prepared(data_spec(sources), tmp_path / "s").sources[1].shards.manifest.documents
    assert sum(documents.values()) == 101


@pytest.mark.parametrize("harm", ["torn", "altered", "missing", "counts"])
def test_damage_is_named_and_only_it_is_rebuilt(sources: Sources, tmp_path: Path, harm: str) -> None:
    corpus = prepare_with(serially, data_spec(sources), tmp_path / "s")
    shards = corpus.sources[0].shards
    names = [shard.file for shard in shards.manifest.every_shard]
    victim = shards.folder / ("unigram_counts.npy" if harm == "counts" else names[0])
    content = victim.read_bytes()
    harms = {"torn": content[:-5], "altered": content[:90] + b"!" + content[91:], "counts": b""}
    victim.unlink() if harm == "missing" else victim.write_bytes(harms[harm])
    before = shard_times(tmp_path / "s")
    said = stages(data_spec(sources), tmp_path / "s")
    assert f"first: rebuilding what is damaged: {victim.name}" in said
    assert victim.read_bytes() == content
    rewritten = {Path(file).name for file, time in shard_times(tmp_path / "s").items() if before.get(file) != time}
    part = {"train-00000-000.parquet", "held_out-00000-000.parquet"}
    assert rewritten == (set() if harm == "counts" else part)


def test_an_interrupted_preparation_goes_on_where_it_was(sources: Sources, tmp_path: Path) -> None:
    corpus = prepare_with(serially, data_spec(sources), tmp_path / "s")
    (corpus.sources[0].shards.folder / MANIFEST).unlink()  # written last: without it nothing counts as done
    before = shard_times(tmp_path / "s")
    assert "first: tokenising" in stages(data_spec(sources), tmp_path / "s")
    assert shard_times(tmp_path / "s") == before


def test_data_that_was_not_prepared_names_the_command(sources: Sources, tmp_path: Path) -> None:
    digests = DataDigests("0a" * 6, {"first": "1b" * 6, "second": "2c" * 6})
    with pytest.raises(NotPrepared, match=r"first, second.*`cogito-ray prepare`"):
        Corpus.open(data_spec(sources), tmp_path, digests)


def test_a_document_is_held_out_by_its_text_alone(sources: Sources, tmp_path: Path) -> None:
    corpus = prepare_with(serially, data_spec(sources), tmp_path / "s")
    reordered = tmp_path / "reordered"
    reordered.mkdir()
    twice = [*reversed(texts(100, seed=9)), *texts(100, seed=9)]
    (reordered / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in twice))
    sources["second"]["path"] = str(reordered)
    other = prepare_with(serially, data_spec(sources), tmp_path / "s")
    counts = [c.sources[1].shards.manifest.documents["held_out"] for c in (corpus, other)]
    assert counts[1] == 2 * counts[0] > 0


def test_all_faults_are_told_at_once_with_their_places(sources: Sources, tmp_path: Path) -> None:
    sources["first"]["path"] = "/nowhere"
    sources["second"]["column"] = "body"
    data = data_spec(sources, tokenizer={"kind": "pretrained", "name": str(tmp_path)})
    with pytest.raises(ValueError, match="path") as raised:
        prepare_with(serially, data, tmp_path / "s")
    places = [line.split(":")[0] for line in str(raised.value).splitlines()]
    assert places == ["data.sources.first.path", "data.sources.second.column", "data.tokenizer.name"]
    assert not (tmp_path / "s").exists()


def test_too_many_bad_documents_are_an_error_that_names_them(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "second" / "bad.jsonl").write_text("{broken\n" * 3)
    said = r"data\.sources\.second: 3 bad documents .*2\.9%.*data\.bad_documents.*bad\.jsonl:byte 0: not JSON"
    with pytest.raises(ValueError, match=said):
        prepare_with(serially, data_spec(sources), tmp_path / "s")
    corpus = prepare_with(serially, data_spec(sources, bad_documents=0.03), tmp_path / "s")
    manifest = corpus.sources[1].shards.manifest
    assert [bad.place.split(":")[-1] for bad in manifest.examples] == ["byte 0", "byte 8", "byte 16"]


def test_an_unreadable_file_counts_as_a_share_of_files(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "first" / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"data\.sources\.first: .*33\.3%.*torn\.parquet"):
        prepare_with(serially, data_spec(sources), tmp_path / "s")


def test_a_source_without_held_out_documents_is_refused(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.held_out: 1e-06 puts 0 of the 300 documents"):
        prepare_with(serially, data_spec(sources, held_out=1e-6), tmp_path / "s")


def test_rows_of_one_document_hold_no_separator(sources: Sources, tmp_path: Path) -> None:
    corpus = prepare_with(serially, data_spec(sources, packing="document"), tmp_path / "s")
    rows = every_row(corpus, 0, "train")
    assert not (rows == corpus.vocabulary.separator_id).any()
    padded = rows == corpus.vocabulary.pad_id
    assert (np.diff(padded.astype(int), axis=1) >= 0).all()  # padding only at the end


def test_held_out_rows_may_be_packed_alike_for_trials_that_pack_train_rows_otherwise(
    sources: Sources, tmp_path: Path
) -> None:
    both = [
        prepare_with(serially, data_spec(sources, packing=packing, held_out_packing="document"), tmp_path / "s")
        for packing in ("concatenate", "document")
    ]
    np.testing.assert_array_equal(*(corpus.held_out_rows(24) for corpus in both))
    assert both[0].plan(seed=0).rows != both[1].plan(seed=0).rows
    assert prepare_with(serially, data_spec(sources, packing="document"), tmp_path / "s").digests == both[1].digests


def test_held_out_rows_are_the_same_number_of_each_source_and_extend(corpus: Corpus) -> None:
    eight, twelve = corpus.held_out_rows(8), corpus.held_out_rows(12)
    assert eight.shape == (8, 16)
    np.testing.assert_array_equal(eight[:4], twelve[:4])
    np.testing.assert_array_equal(eight[4:], twelve[6:10])
    for part, index in ((eight[:4], 0), (eight[4:], 1)):
        held_out = {row.tobytes() for row in every_row(corpus, index, "held_out").astype(np.int64)}
        assert {row.tobytes() for row in part} <= held_out


def test_log_unigram_is_the_mixture_that_training_reads(corpus: Corpus) -> None:
    frequencies = []
    for index in range(2):
        counts = np.bincount(every_row(corpus, index, "train").ravel(), minlength=corpus.vocabulary.size).astype(float)
        counts[list(corpus.vocabulary.special_ids)] = 0
        frequencies.append((counts + 0.5) / (counts + 0.5).sum())
    expected = np.log(0.75 * frequencies[0] + 0.25 * frequencies[1])
    np.testing.assert_allclose(corpus.log_unigram, expected, rtol=1e-6)  # float32
    assert np.exp(corpus.log_unigram.astype(float)).sum() == pytest.approx(1, abs=1e-6)


def test_a_small_source_gives_all_it_has_and_the_others_what_it_lacks(sources: Sources, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts(12, seed=4))
    (tmp_path / "third.jsonl").write_text(lines)
    third = {"kind": "files", "path": str(tmp_path / "third.jsonl")}
    corpus = prepare_with(serially, data_spec(sources | {"third": third}), tmp_path / "s")
    have = corpus.held_out_available
    assert 0 < have["third"] < 13 < 19 < min(have["first"], have["second"])
    rows = corpus.held_out_rows(40)
    assert rows.shape == (40, 16)
    shared = 40 - have["third"]
    parts = np.split(rows, [shared - shared // 2, shared])          # of an odd number, the larger gives one more
    for index, part in enumerate(parts):
        theirs = {row.tobytes() for row in every_row(corpus, index, "held_out").astype(np.int64)}
        assert {row.tobytes() for row in part} <= theirs
    assert corpus.held_out_rows(1).shape == (1, 16)


def test_more_held_out_rows_than_there_are_are_refused_with_what_each_source_has(corpus: Corpus) -> None:
    have = corpus.held_out_available
    total = sum(have.values())
    assert len(corpus.held_out_rows(total)) == total
    each = ", ".join(f"{rows} of {name}" for name, rows in have.items())
    said = rf"{total + 1} held-out rows .* are {total} \({each}\); ask for"
    with pytest.raises(ValueError, match=said):
        corpus.held_out_rows(total + 1)


def test_the_reader_follows_the_plan(corpus: Corpus) -> None:
    plan = corpus.plan(seed=3)
    sources, rows = plan.take(990, 40)
    read = MappedReader(corpus, plan).read(990, 40)
    expected = [corpus.sources[s].shards.train(np.array([r]))[0] for s, r in zip(sources, rows, strict=True)]
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_workers_together_read_the_plan_in_order_from_any_step(corpus: Corpus, world: int) -> None:
    reader = MappedReader(corpus, corpus.plan(seed=3))
    shares = [reader.batches(range(5, 9), batch=8, rank=rank, world=world) for rank in range(world)]
    together = np.concatenate([np.concatenate(step) for step in zip(*shares, strict=True)])
    np.testing.assert_array_equal(together, reader.read(40, 32))


def test_shards_are_plain_parquet(corpus: Corpus) -> None:
    shards = corpus.sources[0].shards
    read = pq.read_table([shards.folder / shard.file for shard in shards.manifest.shards["train"]])
    assert read.schema.field("ids").type == pa.binary(32)
    assert read.num_rows == shards.manifest.rows("train")

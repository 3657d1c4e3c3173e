"""Data is named by its content: equal data has equal digests, and what was read is opened again, or refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpora import data_spec, texts, two_sources

from cogito_ray.text.data_digests import ChangedData, NotPrepared, differences
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.preparation_plan import changes_since, prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus, DataIndex
from cogito_ray.text.trained_tokenizers import BpeSpec


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    return data_spec(two_sources(tmp_path))


def add_a_file(folder: Path) -> None:
    (folder / "second" / "more.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts(50, seed=5)))


def rows_of(corpus: Corpus) -> bytes:
    rows = (source.shards.train(np.arange(source.shards.manifest.rows("train"))) for source in corpus.sources)
    return b"".join(each.tobytes() for each in rows) + corpus.held_out_rows(30).tobytes()


@pytest.mark.parametrize("keep", ["tokens", "text"])
def test_what_was_deleted_is_made_again_under_the_same_digests(data: DataSpec, tmp_path: Path, keep: str) -> None:
    data = data.model_copy(update={"keep": keep})
    before = prepare_with(serially, data, tmp_path / "s").digests
    for folder in ("tokens", "tokenizers", "corpora"):
        shutil.rmtree(tmp_path / "s" / folder)
    with pytest.raises(NotPrepared, match=r"first, second\) is not there; `cogito-ray prepare`"):
        Corpus.open(data, tmp_path / "s", before)
    assert prepare_with(serially, data, tmp_path / "s", expected=before).digests == before


def test_other_storages_and_other_places_of_the_text_give_the_same_digests(data: DataSpec, tmp_path: Path) -> None:
    moved = data_spec(two_sources(tmp_path / "elsewhere"))
    assert prepare_with(serially, moved, tmp_path / "t").digests == prepare_with(serially, data, tmp_path / "s").digests


def test_data_that_was_read_is_opened_again_after_its_source_has_changed(data: DataSpec, tmp_path: Path) -> None:
    before = prepare_with(serially, data, tmp_path / "s")
    rows, tokenizer = rows_of(before), before.tokenizer.digest()
    add_a_file(tmp_path)
    after = prepare_with(serially, data, tmp_path / "s")
    assert after.digests != before.digests
    again = Corpus.open(data, tmp_path / "s", before.digests)
    assert (rows_of(again), again.tokenizer.digest()) == (rows, tokenizer)
    assert rows_of(Corpus.open(data, tmp_path / "s", after.digests)) == rows_of(after)


def test_a_file_that_came_is_refused_by_name_before_any_work(data: DataSpec, tmp_path: Path) -> None:
    before = prepare_with(serially, data, tmp_path / "s").digests
    add_a_file(tmp_path)
    (tmp_path / "first" / "1.parquet").unlink()
    stages: list[str] = []
    with pytest.raises(ChangedData) as refused:
        prepare_with(serially, data, tmp_path / "s", lambda told: stages.append(told.stage), expected=before)
    assert str(refused.value).splitlines() == [
        "data.sources.first.files that went: 1.parquet",
        "data.sources.second.files that came: more.jsonl",
    ]
    assert not stages


def test_a_file_that_was_only_touched_is_the_same_text(data: DataSpec, tmp_path: Path) -> None:
    before = prepare_with(serially, data, tmp_path / "s").digests
    os.utime(tmp_path / "second" / "lines.jsonl", (1, 1))
    assert prepare_with(serially, data, tmp_path / "s", expected=before).digests == before


def test_other_words_in_a_file_of_the_same_size_are_refused_by_name(data: DataSpec, tmp_path: Path) -> None:
    before = prepare_with(serially, data, tmp_path / "s").digests
    file = tmp_path / "second" / "lines.jsonl"
    file.write_bytes(file.read_bytes().replace(b"number 9-7", b"number 9-8", 1))
    os.utime(file, (1, 1))
    with pytest.raises(ChangedData) as refused:
        prepare_with(serially, data, tmp_path / "s", expected=before)
    said = str(refused.value).splitlines()
    assert said[0].startswith(f"data.sources.second: rows {before.sources['second']} -> ")
    assert said[-1] == "data.sources.second.files that changed: lines.jsonl"
    assert changes_since(data, tmp_path / "s", before) == said[-1:]


def test_shards_that_were_made_again_from_other_text_are_not_taken_for_the_old_ones(
    data: DataSpec, tmp_path: Path
) -> None:
    before = prepare_with(serially, data, tmp_path / "s").digests
    file = tmp_path / "second" / "lines.jsonl"
    stamp = file.stat()
    file.write_bytes(file.read_bytes().replace(b"number 9-7", b"number 9-8", 1))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))       # so that nothing tells but what it holds
    shutil.rmtree(tmp_path / "s" / "tokens")
    prepare_with(serially, data, tmp_path / "s")
    with pytest.raises(ChangedData, match=r"holds rows \w+, not \w+: .* put the old text back"):
        Corpus.open(data, tmp_path / "s", before)


def test_a_tokenizer_altered_in_place_is_refused(data: DataSpec, tmp_path: Path) -> None:
    before = prepare_with(serially, data, tmp_path / "s")
    file = before.tokenizer_folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"[MASK]"', '"[MUSK]"'))
    with pytest.raises(ValueError, match="altered, it holds tokenizer"):
        _ = Corpus.open(data, tmp_path / "s", before.digests).tokenizer
    assert prepare_with(serially, data, tmp_path / "s").digests == before.digests      # trained again


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00"])
def test_a_damaged_manifest_is_named_and_made_again(data: DataSpec, tmp_path: Path, content: str) -> None:
    before = prepare_with(serially, data, tmp_path / "s")
    file = before.sources[0].shards.folder / "manifest.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: torn or altered; run `cogito-ray prepare`"):
        Corpus.open(data, tmp_path / "s", before.digests)
    assert prepare_with(serially, data, tmp_path / "s").digests == before.digests


def test_what_is_prepared_of_the_text_as_it_is_now_is_told_without_reading_it(data: DataSpec, tmp_path: Path) -> None:
    with pytest.raises(NotPrepared):
        prepared(data, tmp_path / "s")
    before = prepare_with(serially, data, tmp_path / "s")
    assert prepared(data, tmp_path / "s").digests == before.digests
    add_a_file(tmp_path)
    with pytest.raises(NotPrepared, match="as it is now"):
        prepared(data, tmp_path / "s")


def test_differences_name_settings_versions_and_the_first_files() -> None:
    before = {"python": "3.11.9", "packages": {"numpy": "2.1", "ray": "2.60"}, "files": {}}
    now = {"python": "3.12.0", "packages": {"numpy": "2.2", "ray": "2.60"}, "files": {f"{n}.txt": 1 for n in range(7)}}
    assert differences(before, now, stamps=False) == [
        "files that came: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more",
        "packages that changed: numpy",
        "python: '3.11.9' -> '3.12.0'",
    ]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Puts a tokenizer of so many entries on the main branch of me/words, as the hub's cache has it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--me--words"

    def published(commit: str, entries: int) -> None:
        for folder in ("refs", "blobs", f"snapshots/{commit}"):
            (repository / folder).mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        BpeSpec(vocabulary=entries).train(texts(50, seed=0)).tokenizer.save(str(repository / "blobs" / commit))
        (repository / "snapshots" / commit / "tokenizer.json").symlink_to(repository / "blobs" / commit)

    return published


OLD, NEW = "0a" * 20, "1b" * 20


def test_data_goes_on_with_the_tokenizer_that_it_began_with_when_the_hub_has_another(
    tmp_path: Path, publish: Callable[[str, int], None]
) -> None:
    data = data_spec(two_sources(tmp_path), tokenizer={"kind": "pretrained", "name": "me/words"})
    publish(OLD, 320)
    before, storage = prepare_with(serially, data, tmp_path / "s").digests, tmp_path / "s"
    assert (index := DataIndex.read(before, storage))
    assert index.tokenizer_commit == OLD
    publish(NEW, 330)
    told: list[str] = []
    data = data_spec(data.model_dump()["sources"], tokenizer={"kind": "pretrained", "name": "me/words"})
    again = prepare_with(serially, data, storage, lambda progress: told.append(progress.stage), expected=before)
    assert again.digests == before
    assert told[0] == f"data.tokenizer: me/words {OLD} -> {NEW}: goes on with what was read"
    shutil.rmtree(storage / "tokenizers")
    with pytest.raises(ChangedData) as refused:
        prepare_with(serially, data, storage, expected=before)
    assert str(refused.value) == f"data.tokenizer: me/words {OLD} -> {NEW}"
    after = prepare_with(serially, data, storage).digests
    assert [index.tokenizer_commit for digests in (before, after) if (index := DataIndex.read(digests, storage))] == [
        OLD, NEW,
    ]  # fmt: skip


def test_what_was_trained_is_opened_and_not_trained_again(data: DataSpec, tmp_path: Path) -> None:
    before, storage = prepare_with(serially, data, tmp_path / "s").digests, tmp_path / "s"
    for note in (storage / "tokenizers").glob("trained-*.json"):
        note.unlink()
    told: list[str] = []
    prepare_with(serially, data, storage, lambda progress: told.append(progress.stage), expected=before)
    assert "training the tokenizer" not in told

"""One part becomes shards; the tokenizer's sample is fair and never sees held-out documents."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from corpora import texts, two_sources

from cogito_ray.text.shards.row_packing import PACKERS
from cogito_ray.text.shards.shard_builder import BuildSettings, BuildTask, build, build_tasks, sample_documents
from cogito_ray.text.shards.token_shards import SPLITS, ShardSummary, map_shard
from cogito_ray.text.sources.documents import SOON_READ, Part, fraction, parts_of
from cogito_ray.text.sources.filesystem_access import File
from cogito_ray.text.sources.line_files import JsonLinesPiece
from cogito_ray.text.sources.text_files import FilesSpec
from cogito_ray.text.tokenizer import TextTokenizer
from cogito_ray.text.trained_tokenizers import BpeSpec


@pytest.fixture
def part(tmp_path: Path) -> Part:
    two_sources(tmp_path)
    [part] = FilesSpec(path=str(tmp_path / "first")).parts(tmp_path)
    return part


def test_a_large_part_is_cut_into_shards_with_the_same_rows(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BpeSpec(vocabulary=320).train(texts(50, seed=0)).save(tmp_path / "tokenizer")
    monkeypatch.setattr("cogito_ray.text.shards.shard_builder.BATCH", 4000)
    rows = []
    for folder, size in (("one", 2**20), ("many", 8000)):
        monkeypatch.setattr("cogito_ray.text.shards.shard_builder.SHARD_BYTES", size)
        settings = BuildSettings(
            tmp_path / folder, tmp_path / "tokenizer", length=16, held_out=0.1, packing="concatenate"
        )
        record, counts = build(BuildTask(0, 0, (part,)), settings)
        files = [settings.folder / shard.file for shard in record.shards["train"]]
        rows.append(np.concatenate([map_shard(file, 16, np.dtype("<u2")) for file in files]))
        assert (len(files) > 2) == (folder == "many")
        assert counts.sum(axis=1).tolist() == [record.tokens["train"], record.tokens["held_out"]]
    np.testing.assert_array_equal(*rows)


def test_the_sample_leaves_held_out_documents_aside(part: Part) -> None:
    chosen = list(sample_documents([part], characters=10**9, held_out=0.2))
    every = texts(150, seed=0) + texts(150, seed=1)
    assert chosen == [text for text in every if fraction(text.encode()) >= 0.2]


def test_the_sample_is_about_as_long_as_asked_and_spread_over_the_part(part: Part) -> None:
    asked = part.size // 3
    chosen = list(sample_documents([part], characters=asked, held_out=0.01))
    assert asked / 2 < sum(map(len, chosen)) < asked + 1000  # 100 documents expected: half as many is six deviations
    assert any("number 1-" in text for text in chosen)


@pytest.mark.parametrize("packing", PACKERS)
def test_tokens_separators_and_padding_fill_the_rows(part: Part, tmp_path: Path, packing: str) -> None:
    BpeSpec(vocabulary=320).train(texts(50, seed=0)).save(tmp_path / "tokenizer")
    settings = BuildSettings(tmp_path / "made", tmp_path / "tokenizer", length=64, held_out=0.1, packing=packing)
    record, _ = build(BuildTask(0, 0, (part,)), settings)
    vocabulary = TextTokenizer.load(tmp_path / "tokenizer").vocabulary
    for side in SPLITS:
        rows = [map_shard(settings.folder / shard.file, 64, np.dtype("<u2")) for shard in record.shards[side]]
        ids = np.concatenate(rows)
        assert record.padding[side] == (ids == vocabulary.pad_id).sum()
        assert ids.size == record.tokens[side] + record.padding[side] + (ids == vocabulary.separator_id).sum()
    assert 0 < record.cut_documents["train"] < record.documents["train"]


def test_small_parts_are_built_together_into_few_files_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sources(tmp_path)
    [part] = FilesSpec(path=str(tmp_path / "first")).parts(tmp_path)
    parts = [Part((piece,)) for piece in part.pieces] * 20
    BpeSpec(vocabulary=320).train(texts(50, seed=0)).save(tmp_path / "tokenizer")
    built = {}
    for name, smallest in (("few", parts[0].size * 9), ("each", 1)):
        monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", smallest)
        monkeypatch.setattr("cogito_ray.text.sources.documents.PARTS", 10**6)
        settings = BuildSettings(
            tmp_path / name, tmp_path / "tokenizer", 16, 0.1, "concatenate", keeps_rows=False, counted_every=3
        )
        results = [build(task, settings) for task in build_tasks(parts)]
        built[name] = ShardSummary.joined([record for record, _ in results]), sum(counts for _, counts in results)
    few, each = built["few"][0], built["each"][0]
    assert (len(few.shards["held_out"]), len(each.shards["held_out"])) == (-(-len(parts) // 9), len(parts))
    assert len(list((tmp_path / "few").iterdir())) <= 3 * len(few.shards["held_out"])
    names = ("part_rows", "part_digests", "documents", "tokens", "padding", "files")
    assert [getattr(few, name) for name in names] == [getattr(each, name) for name in names]
    np.testing.assert_array_equal(built["few"][1], built["each"][1])
    rows = [
        np.concatenate([map_shard(tmp_path / name / s.file, 16, np.dtype("<u2")) for s in one.shards["held_out"]])
        for name, (one, _) in built.items()
    ]
    np.testing.assert_array_equal(*rows)


def test_a_task_is_shipped_its_own_parts_alone_however_many_there_are() -> None:
    def largest_task(count: int) -> int:
        file = File("/text", "/text/a.jsonl", count * SOON_READ, "1")
        parts = parts_of([JsonLinesPiece(file, "text", 0, SOON_READ, SOON_READ)] * count, SOON_READ)
        assert len(parts) == count
        tasks = build_tasks(parts)
        assert sum(len(task.parts) for task in tasks) == count
        return max(len(pickle.dumps(task)) for task in tasks)

    assert largest_task(20_000) < 1.05 * largest_task(6_000) < 50_000

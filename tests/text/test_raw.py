"""Rows tokenised when they are read are the rows that would have been kept, in the order of the same plan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import data_spec, texts, tiny_run, two_sources
from pydantic import ValidationError

from cogito_ray.run import RunSpec
from cogito_ray.text.corpus import Corpus
from cogito_ray.text.prepare import prepare_with, serially
from cogito_ray.text.raw import ChangedText, RawText, regrouped
from cogito_ray.text.reader import MappedReader


def prepared(sources: dict[str, dict[str, object]], storage: Path, **changed: object) -> Corpus:
    return prepare_with(serially, data_spec(sources, **changed), storage)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, object]]:
    """Cut into parts of a few dozen documents, so that an epoch has several windows."""
    monkeypatch.setattr("cogito_ray.text.document.SMALLEST_PART", 4000)
    monkeypatch.setattr("cogito_ray.text.document.PARTS", 1000)
    monkeypatch.setattr("cogito_ray.text.windows.WINDOW", 4)
    return two_sources(tmp_path)


@pytest.fixture
def raw(sources: dict[str, dict[str, object]], tmp_path: Path) -> RawText:
    corpus = prepared(sources, tmp_path / "s", keep="text")
    return RawText(corpus, corpus.text_plan(seed=3))


def read(raw: RawText, start: int, stop: int) -> np.ndarray:
    return np.concatenate(list(raw.rows(start, stop, (call() for call in raw.calls(start, stop)))))


@pytest.mark.parametrize("packing", ["concatenate", "document"])
@pytest.mark.parametrize(("start", "stop"), [(0, 3000), (1717, 2300)])
def test_text_and_shards_give_the_same_rows(
    sources: dict[str, dict[str, object]], tmp_path: Path, packing: str, start: int, stop: int
) -> None:
    kept, text = (prepared(sources, tmp_path / "s", keep=keep, packing=packing) for keep in ("tokens", "text"))
    plan = text.text_plan(seed=3)
    assert min(map(len, plan.part_rows)) > 5
    mapped = MappedReader(kept, plan).at(np.arange(start, stop))
    streamed = read(RawText(text, plan), start, stop)
    assert streamed.tobytes() == mapped.tobytes()


def test_resuming_in_mid_epoch_gives_the_tail_and_tokenises_one_window_a_source(raw: RawText) -> None:
    np.testing.assert_array_equal(read(raw, 333, 900), read(raw, 0, 900)[333:])
    assert len(list(raw.calls(333, 334))) <= 2 * 4


def test_no_train_rows_are_written(raw: RawText) -> None:
    for source in raw.corpus.sources:
        assert source.shards.manifest.shards["train"] == ()
        assert not list(source.shards.folder.glob("train*"))
        assert source.shards.manifest.rows("train") > 0


def test_the_facts_a_model_asks_for_are_those_of_held_out_rows(
    sources: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    kept, text = (prepared(sources, tmp_path / "s", keep=keep) for keep in ("tokens", "text"))
    assert text.tokenizer.digest() == kept.tokenizer.digest()
    assert text.held_out_entropy == kept.held_out_entropy
    np.testing.assert_array_equal(text.held_out_rows(20), kept.held_out_rows(20))
    for before, after in zip(kept.sources, text.sources, strict=True):
        np.testing.assert_array_equal(after.shards.counts, before.shards.counts[[1, 1]])  # of held-out documents


def test_an_interrupted_count_goes_on_where_it_was(sources: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    before = prepared(sources, tmp_path / "s", keep="text").sources[0].shards
    (before.folder / "manifest.json").unlink()
    (before.folder / "part-00001.json").unlink()
    after = prepared(sources, tmp_path / "s", keep="text").sources[0].shards
    assert after.manifest == before.manifest


def test_text_that_changed_since_it_was_counted_is_refused(raw: RawText, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}) for text in texts(100, seed=9)]
    lines[0] = json.dumps({"text": "short"}).ljust(len(lines[0]))
    (tmp_path / "second" / "lines.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ChangedText, match=r"data\.sources\.second: part 0 gives \d+ rows, but \d+ were counted"):
        read(raw, 0, 2000)


def test_regrouping_keeps_the_order() -> None:
    rows = np.arange(46, dtype=np.uint16).reshape(23, 2)
    pieces = np.split(rows, [1, 2, 9, 9, 20])
    groups = list(regrouped(pieces, 5))
    np.testing.assert_array_equal(groups, rows[:20].reshape(4, 5, 2))


def test_a_run_over_text_wants_ray_data_and_no_collocations(tmp_path: Path) -> None:
    tree = tiny_run(tmp_path)
    tree["data"]["keep"] = "text"  # type: ignore[index]
    tree["objective"] = {"kind": "pmi"}
    with pytest.raises(ValidationError, match=r"set reader: streamed; .*set data\.keep: tokens"):
        RunSpec.model_validate(tree)
    RunSpec.model_validate(tree | {"objective": {"kind": "tsdae"}, "reader": "streamed"})

"""Decontamination: which evaluation texts are found in a document, and which are not."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cogito_ray.text.cleaning.clean_spec import DecontaminationSpec
from cogito_ray.text.cleaning.evaluation_overlap import OverlapIndex, evaluation_sets, faults_of_sets
from cogito_ray.text.cleaning.word_hashes import word_hashes, words_of

SHORT = "A man plays the old violin slowly."
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
INDEX = OverlapIndex.of({"first": [SHORT, LONG], "second": [LONG, "good idea"]}, ngram=13, shortest=6)


def sets_in(text: str, index: OverlapIndex = INDEX) -> list[str]:
    return index.sets_in(word_hashes(words_of(text)))


def test_a_short_text_is_found_as_a_whole_in_any_spelling() -> None:
    assert sets_in('He said: "A man PLAYS the old violin, slowly"; and went.') == ["first"]


def test_a_part_of_a_short_text_is_not_found() -> None:
    assert sets_in("Yesterday a man plays the old violin quickly.") == []


def test_any_thirteen_words_of_a_long_text_are_found_for_every_set_that_has_it() -> None:
    words = LONG.split()
    assert sets_in("so " + " ".join(words[1:14]) + " on") == ["first", "second"]
    assert sets_in("so " + " ".join(words[1:13]) + " on") == []


def test_a_text_of_too_few_words_is_not_looked_for() -> None:
    assert sets_in("It is a good idea indeed, is it not?") == []


@pytest.mark.parametrize("text", ["", "—", "word"])
def test_a_document_of_few_words_holds_nothing(text: str) -> None:
    assert sets_in(text) == []


def test_a_saved_index_finds_the_same(tmp_path: Path) -> None:
    INDEX.save(tmp_path / "index.npz")
    assert sets_in(f"{SHORT} {LONG}", OverlapIndex.load(tmp_path / "index.npz")) == ["first", "second"]


def write(file: Path, **columns: list[object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


def test_tasks_give_the_texts_of_the_split_that_is_scored(tmp_path: Path) -> None:
    for split, mark in (("train", "t"), ("validation", "v")):
        write(tmp_path / f"glue/stsb/{split}.parquet", sentence1=[f"{mark}1"], sentence2=[f"{mark}2"], label=[1.0])
    [found] = evaluation_sets(DecontaminationSpec(tasks=("stsb",), data=str(tmp_path)))
    assert (found.name, list(found.texts())) == ("stsb", ["v1", "v2"])


def test_a_folder_gives_every_text_column_of_all_files_but_those_for_training(tmp_path: Path) -> None:
    for split in ("train-00000", "test"):
        write(tmp_path / f"mine/{split}.parquet", question=[f"{split}?", None], number=[1, 2], answer=["yes", "no"])
    [found] = evaluation_sets(DecontaminationSpec(folder=str(tmp_path)))
    assert (found.name, list(found.texts())) == ("mine/test", ["test?", "yes", "no"])


def test_content_tells_when_an_evaluation_set_changes(tmp_path: Path) -> None:
    spec, contents = DecontaminationSpec(folder=str(tmp_path)), set()
    for text in ("one", "two"):
        write(tmp_path / "test.parquet", text=[text])
        contents.add(evaluation_sets(spec)[0].content)
    assert len(contents) == 2


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    spec = DecontaminationSpec(tasks=("stsb", "quality"), data=str(tmp_path), folder=str(tmp_path))
    told = faults_of_sets(spec)
    assert [text.split(f"{tmp_path}")[1][:12] for text in told] == ["/glue/stsb/v", " holds none ", " holds no Pa"]


@pytest.mark.parametrize(("settings", "said"), [
    ({}, "names neither tasks nor a folder"),
    ({"folder": "/x", "ngram": 5}, "shortest 6 is more than ngram 5"),
    ({"tasks": ["sts-b"]}, "did you mean stsb"),
])  # fmt: skip
def test_settings_that_find_nothing_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DecontaminationSpec.model_validate(settings)

"""Tokenizers tell the facts that corruption needs, and never let text produce special tokens."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from corpora import texts
from tokenizers import Tokenizer, models

from cogito_ray.text.tokenizer import PretrainedTokenizerSpec, TextTokenizer, _pieces
from cogito_ray.text.trained_tokenizers import BpeSpec, TrainedTokenizerSpec, UnigramSpec, WordPieceSpec

BPE = BpeSpec(vocabulary=320)
PROSE = list(topics.values())[:12]
KINDS = pytest.mark.parametrize("kind", [BpeSpec, UnigramSpec, WordPieceSpec])


def pretrained(folder: Path, words: list[str], config: dict[str, object] | None = None) -> PretrainedTokenizerSpec:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return PretrainedTokenizerSpec(name=str(folder))


@KINDS
def test_a_trained_tokenizer_gives_back_any_text(kind: type[TrainedTokenizerSpec]) -> None:
    tokenizer = kind(vocabulary=600).train(PROSE)
    unseen = "A naïve café — 東京 \t\n  [MASK] ## Title ### #ab " + "q日" * 200
    assert tokenizer.tokenizer.decode(tokenizer.encode([unseen])[0].tolist()) == unseen
    assert tokenizer.vocabulary.size == 600


@KINDS
def test_training_twice_gives_the_same_tokenizer(kind: type[TrainedTokenizerSpec]) -> None:
    first, second = (kind(vocabulary=700).train(PROSE).digest() for _ in range(2))
    assert first == second


@KINDS
def test_too_little_text_for_the_vocabulary_is_refused(kind: type[TrainedTokenizerSpec]) -> None:
    with pytest.raises(ValueError, match=r"data\.tokenizer\.vocabulary: 5000 entries asked, but"):
        kind(vocabulary=5000).train(["a few words"])


@KINDS
def test_special_tokens_in_a_text_are_ordinary_text(kind: type[TrainedTokenizerSpec]) -> None:
    tokenizer = kind(vocabulary=600, special_tokens=("[CLS]",)).train(PROSE)
    assert tokenizer.tokenizer.token_to_id("[CLS]") in tokenizer.vocabulary.special_ids
    [ids] = tokenizer.encode(["before [MASK] [PAD] [SEP] [CLS] after"])
    assert not set(ids.tolist()) & set(tokenizer.vocabulary.special_ids)
    assert tokenizer.vocabulary.size == 600


@KINDS
def test_what_lower_case_and_a_normal_form_make_equal_is_read_alike(kind: type[TrainedTokenizerSpec]) -> None:
    tokenizer = kind(vocabulary=600, lowercase=True, normalization="NFKC").train(PROSE)
    one, two = tokenizer.encode(["CAFE\u0301 ﬁnds", "café finds"])
    assert one.tolist() == two.tolist()


@KINDS
def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path: Path, kind: type[TrainedTokenizerSpec]) -> None:
    tokenizer = kind(vocabulary=600).train(PROSE)
    tokenizer.save(tmp_path)
    loaded = TextTokenizer.load(tmp_path)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.digest() == tokenizer.digest()
    assert loaded.encode(["[MASK] concept"])[0].tolist() == tokenizer.encode(["[MASK] concept"])[0].tolist()


DAMAGE = ["", "[]", "null", "3", '{"model": 3}', '{"model": {"type": "BPE"}}', "\x00"]


@pytest.mark.parametrize("content", DAMAGE)
@pytest.mark.parametrize("file", ["tokenizer.json", "vocabulary.json"])
def test_a_damaged_tokenizer_is_told_with_its_folder(tmp_path: Path, file: str, content: str) -> None:
    BPE.train(texts(50, seed=0)).save(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path}: the tokenizer is damaged; delete it and prepare the text again"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("content", DAMAGE)
def test_a_folder_whose_tokenizer_is_damaged_is_a_fault(tmp_path: Path, content: str) -> None:
    spec = pretrained(tmp_path, ["unknown", "word"])
    (tmp_path / "tokenizer.json").write_text(content)
    [fault] = spec.faults()
    assert fault.startswith(f"name: '{tmp_path}' gives no tokenizer (")


@pytest.mark.parametrize("content", ["", "[]", "null"])
def test_a_damaged_configuration_of_a_tokenizer_is_a_fault(tmp_path: Path, content: str) -> None:
    spec = pretrained(tmp_path, ["unknown", "word"])
    (tmp_path / "tokenizer_config.json").write_text(content)
    assert len(spec.faults()) == 1


def test_missing_special_tokens_grow_the_vocabulary(tmp_path: Path) -> None:
    vocabulary = pretrained(tmp_path, ["unknown", "word"]).load().vocabulary
    assert (vocabulary.size, vocabulary.special_ids) == (5, (2, 3, 4))
    assert {vocabulary.pad_id, vocabulary.mask_id, vocabulary.separator_id} == {2, 3, 4}


def test_special_tokens_are_taken_from_the_configuration(tmp_path: Path) -> None:
    config = {"pad_token": "<none>", "mask_token": {"content": "<hole>"}, "eos_token": "<end>"}
    vocabulary = pretrained(tmp_path, ["unknown", "<none>", "<hole>", "<end>"], config).load().vocabulary
    assert (vocabulary.size, vocabulary.pad_id, vocabulary.mask_id, vocabulary.separator_id) == (4, 1, 2, 3)


def test_padding_is_never_the_separator(tmp_path: Path) -> None:
    config = {"pad_token": "<end>", "eos_token": "<end>"}
    vocabulary = pretrained(tmp_path, ["unknown", "<end>"], config).load().vocabulary
    assert vocabulary.separator_id == 1
    assert vocabulary.pad_id != 1


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "<u2"), (65_537, "<u4")])
def test_ids_are_as_narrow_as_the_vocabulary_allows(tmp_path: Path, size: int, dtype: str) -> None:
    words = ["unknown", "[PAD]", "[MASK]", "[SEP]", *map(str, range(size - 4))]
    assert pretrained(tmp_path, words).load().dtype.str == dtype


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        (BpeSpec, {"special_tokens": ("CLS",)}, r"'CLS' may be a word of a text; put it in brackets, such as \[CLS\]"),
        (WordPieceSpec, {"vocabulary": 515}, "vocabulary 515 has no room for more than bytes; make it more than 515"),
    ],
)
def test_settings_that_give_no_tokenizer_are_refused(
    kind: type[TrainedTokenizerSpec], changed: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kind.model_validate(changed)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    spec = pretrained(tmp_path, ["unknown", "word"])
    [fault] = spec.model_copy(update={"revision": "main"}).faults()
    assert fault.startswith(f"revision: '{tmp_path}' is a folder, which has none")


def test_a_folder_without_a_tokenizer_is_a_fault(tmp_path: Path) -> None:
    [fault] = PretrainedTokenizerSpec(name=str(tmp_path)).faults()
    assert fault.startswith(f"name: {str(tmp_path)!r} gives no tokenizer")


def test_a_broken_tokenizer_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{not json")
    [fault] = PretrainedTokenizerSpec(name=str(tmp_path)).faults()
    assert "gives no tokenizer" in fault


@KINDS
def test_a_long_text_is_read_in_pieces_without_changing_a_token(
    kind: type[TrainedTokenizerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole, 24 MB would take 3 GB of memory."""
    tokenizer = kind(vocabulary=600).train(PROSE)
    given = ["\n\n  ".join(PROSE), "one two", "x" * 500, " \t\n" * 200, ""]
    whole = tokenizer.encode(given)
    monkeypatch.setattr("cogito_ray.text.tokenizer.LONGEST", 100)
    for before, after in zip(whole, tokenizer.encode(given), strict=True):
        np.testing.assert_array_equal(after, before)
    assert all("".join(_pieces(text)) == text for text in given)
    assert max(map(len, _pieces(given[0]))) < 300

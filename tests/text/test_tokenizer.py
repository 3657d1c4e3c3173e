"""Tokenizers tell the facts that corruption needs, and never let text produce special tokens."""

import json
from pathlib import Path

import pytest
from corpora import texts
from tokenizers import Tokenizer, models

from cogito_ray.text.tokenizer import BpeSpec, PretrainedTokenizerSpec, TextTokenizer

BPE = BpeSpec(vocabulary=320)


def pretrained(folder: Path, words: list[str], config: dict[str, object] | None = None) -> PretrainedTokenizerSpec:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return PretrainedTokenizerSpec(name=str(folder))


def test_trained_bpe_gives_back_the_text() -> None:
    tokenizer = BPE.train(texts(50, seed=0))
    unseen = "A naïve café — 東京 \t\n  [MASK]"
    assert tokenizer.tokenizer.decode(tokenizer.encode([unseen])[0].tolist()) == unseen
    assert tokenizer.vocabulary.size == 320


def test_training_twice_gives_the_same_tokenizer() -> None:
    first, second = (BPE.train(texts(50, seed=0)).digest() for _ in range(2))
    assert first == second


def test_too_little_text_for_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.tokenizer\.vocabulary: 5000 entries asked, but"):
        BpeSpec(vocabulary=5000).train(["a few words"])


def test_special_tokens_in_a_text_are_ordinary_text() -> None:
    tokenizer = BPE.train(texts(50, seed=0))
    [ids] = tokenizer.encode(["before [MASK] [PAD] [SEP] after"])
    assert not set(ids.tolist()) & set(tokenizer.vocabulary.special_ids)


def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path: Path) -> None:
    tokenizer = BPE.train(texts(50, seed=0))
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


def test_a_lowercase_tokenizer_reads_capitals_as_small_letters() -> None:
    tokenizer = BpeSpec(vocabulary=320, lowercase=True).train(texts(50, seed=0))
    one, two = tokenizer.encode(["CONCEPT Encoders", "concept encoders"])
    assert one.tolist() == two.tolist()


def test_special_tokens_of_ones_own_are_in_the_vocabulary_and_never_read_from_text() -> None:
    tokenizer = BpeSpec(vocabulary=320, special_tokens=("[CLS]",)).train(texts(50, seed=0))
    number = tokenizer.tokenizer.token_to_id("[CLS]")
    assert number in tokenizer.vocabulary.special_ids
    assert number not in tokenizer.encode(["before [CLS] after"])[0]
    assert tokenizer.vocabulary.size == 320


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

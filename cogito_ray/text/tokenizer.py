"""From text to token ids by any Hugging Face fast tokenizer; those that are trained are in `trained_tokenizers`.

Uses the `tokenizers` library alone: transformers would cost each worker seconds and half a gigabyte.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field
from tokenizers import AddedToken, Tokenizer

from cogito_ray.atomic_files import atomic_write_text, write_json
from cogito_ray.base_spec import Spec
from cogito_ray.object_storage.storage_mirror import fetch
from cogito_ray.text.data_digests import MADE_AGAIN, NotPrepared
from cogito_ray.text.vocabulary_info import Vocabulary

FILE, CONFIG, FACTS = "tokenizer.json", "tokenizer_config.json", "vocabulary.json"
LONGEST = 2**20
"""Characters that are tokenised as a whole: while that lasts each takes about 130 bytes."""
BETWEEN_WORDS = re.compile(r"(?<=\S) (?=\S)")
PAD, MASK, SEPARATOR = "[PAD]", "[MASK]", "[SEP]"
ROLES = {
    "pad_token": ("[PAD]", "<pad>", "<|padding|>"),
    "mask_token": ("[MASK]", "<mask>"),
    "sep_token": ("[SEP]", "</s>"),
    "eos_token": ("<|endoftext|>",),
}
"""Names of special tokens in a tokenizer's configuration, and how tokenizers without one usually spell them."""


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and the facts about it. Special tokens spelled out in a text are encoded as ordinary text."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, without special tokens. One longer than LONGEST is read in pieces that begin with the
        space between two words, where tokenizers that read words change nothing."""
        short = iter(self._encode([text for text in texts if len(text) <= LONGEST]))
        return [
            next(short) if len(text) <= LONGEST else np.concatenate([self._encode([few])[0] for few in _pieces(text)])
            for text in texts
        ]

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(each.ids, self.dtype) for each in encoded]

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The narrowest little-endian integer that holds every id."""
        return np.dtype("<u2" if self.vocabulary.size <= 2**16 else "<u4")

    def digest(self) -> str:
        """Twelve hex digits that name what it does to any text."""
        content = self.tokenizer.to_str() + json.dumps(self._facts())
        return sha256(content.encode()).hexdigest()[:12]

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and vocabulary.json last."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / FILE, self.tokenizer.to_str(pretty=True))
        write_json(folder / FACTS, self._facts())

    def _facts(self) -> dict[str, int | tuple[int, ...]]:
        facts = self.vocabulary
        return {name: getattr(facts, name) for name in ("size", "pad_id", "mask_id", "separator_id", "special_ids")}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote. ValueError where it is damaged."""
        try:
            facts = json.loads((folder / FACTS).read_text())
            vocabulary = Vocabulary(**{**facts, "special_ids": tuple(facts["special_ids"])})
            return cls(_plain(_parsed((folder / FILE).read_text())), vocabulary)
        except (ValueError, TypeError, KeyError) as fault:
            raise ValueError(f"{folder}: the tokenizer is damaged; delete it and prepare the text again") from fault

    def store(self, storage: Path) -> str:
        """In this storage, under its digest, which is returned."""
        self.save(tokenizer_folder(storage, name := self.digest()))
        return name

    @classmethod
    def open(cls, storage: Path, digest: str) -> Self:
        """One that was prepared in this storage. NotPrepared, or ValueError where its files were altered."""
        fetch(folder := tokenizer_folder(storage, digest), last=FACTS)
        if not cls.is_saved(folder):
            raise NotPrepared(f"{folder}: the tokenizer is not there; {MADE_AGAIN}")
        opened = cls.load(folder)
        if (found := opened.digest()) != digest:
            raise ValueError(f"{folder}: altered, it holds tokenizer {found}; delete it and prepare the text again")
        return opened

    @classmethod
    def stands(cls, storage: Path, digest: str) -> bool:
        """Is it in this storage, whole?"""
        try:
            cls.open(storage, digest)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def is_saved(folder: Path) -> bool:
        """Is a tokenizer whole in this folder? Its vocabulary is written last."""
        return (folder / FACTS).exists()

    @classmethod
    def of(cls, tokenizer: Tokenizer, named: dict[str, str]) -> Self:
        """Adds what is missing of padding, mask and separator. `named`: the tokens that already have a role."""
        pad = named.get("pad_token", PAD)
        separator = named.get("sep_token") or named.get("eos_token") or SEPARATOR
        roles = (pad if pad != separator else PAD, named.get("mask_token", MASK), separator)
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in roles])
        ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        pad_id, mask_id, separator_id = (ids[token] for token in roles)
        special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        special_ids = tuple(sorted(special | {pad_id, mask_id, separator_id}))
        return cls(_plain(tokenizer), Vocabulary(max(ids.values()) + 1, pad_id, mask_id, separator_id, special_ids))


def tokenizer_folder(storage: Path, digest: str) -> Path:
    """Where the tokenizer of this digest lies in a storage."""
    return storage / "tokenizers" / digest


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > LONGEST and (found := BETWEEN_WORDS.search(text, start + LONGEST)):
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def _parsed(text: str) -> Tokenizer:
    """What a tokenizer.json describes. ValueError where that is none."""
    described = json.loads(text)
    if not isinstance(described, dict) or "model" not in described:
        raise ValueError(f"{FILE} describes no model")
    try:
        return Tokenizer.from_str(text)
    except Exception as fault:  # the library raises no narrower one
        raise ValueError(f"{FILE} describes no tokenizer: {fault}") from fault


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


class PretrainedTokenizerSpec(Spec):
    """Any fast tokenizer of the Hugging Face hub, or of a local folder."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = Field(min_length=1)
    """A name on the Hugging Face hub, or a folder that holds tokenizer.json."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null = the main branch as it is when prepared. A run goes on with the content
    that it was started with, whatever the branch holds by then, where it is prepared; elsewhere it is refused."""

    def faults(self) -> list[str]:
        """What keeps it from being loaded."""
        if self.revision is not None and Path(self.name).is_dir():
            return [f"revision: {self.name!r} is a folder, which has none; leave revision out"]
        try:
            self.load()
        except (OSError, ValueError) as error:
            return [f"name: {self.name!r} gives no tokenizer ({error}); give a hub name or a folder with {FILE}"]
        return []

    @property
    def commit(self) -> str | None:
        """The one on the hub that is read; None of a folder. OSError."""
        return None if Path(self.name).is_dir() else self._file.parent.name

    @cached_property
    def _file(self) -> Path:
        """tokenizer.json, asked for once, so that all is of one commit."""
        return _fetched(self.name, FILE, self.revision)

    def load(self) -> TextTokenizer:
        """OSError or ValueError if there is no readable tokenizer.json."""
        tokenizer = _parsed(self._file.read_text())
        try:
            config = json.loads(_fetched(self.name, CONFIG, self.commit).read_text())
        except OSError:  # tokenizer_config.json is optional
            config = {}
        if not isinstance(config, dict):
            raise ValueError(f"{CONFIG} holds no mapping")
        given = {role: config[role] for role in ROLES if config.get(role)}
        named = {role: token if isinstance(token, str) else token["content"] for role, token in given.items()}
        return TextTokenizer.of(tokenizer, {**_usual_roles(tokenizer), **named})


def _fetched(name: str, file: str, revision: str | None) -> Path:
    """A file of a local folder, or of the hub. OSError if it is not there."""
    if Path(name).is_dir():
        return Path(name) / file
    from huggingface_hub import hf_hub_download  # costs half a second: only for names

    return Path(hf_hub_download(name, file, revision=revision))


def _usual_roles(tokenizer: Tokenizer) -> dict[str, str]:
    """Roles told by the usual spelling, for tokenizers without a configuration."""
    known = tokenizer.get_vocab(with_added_tokens=True)
    found = {role: [token for token in spelled if token in known] for role, spelled in ROLES.items()}
    return {role: present[0] for role, present in found.items() if present}

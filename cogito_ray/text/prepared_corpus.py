"""A prepared corpus: what a trial needs of its data, rows, weights, the vocabulary, and how frequent each token is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ValidationError

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.object_storage.storage_mirror import fetch
from cogito_ray.text.data_digests import MADE_AGAIN, ChangedData, DataDigests, NotPrepared
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.order.block_shuffle import WindowPlan
from cogito_ray.text.order.row_order import Indices, RowPlan, permuted
from cogito_ray.text.shards.token_shards import MANIFEST, TokenShards
from cogito_ray.text.tokenizer import FACTS, TextTokenizer, tokenizer_folder
from cogito_ray.text.vocabulary_info import Vocabulary

UNSEEN = 0.5
"""Added to every token's count (Krichevsky and Trofimov, doi:10.1109/TIT.1981.1056331)."""
HELD_OUT_KEY = (0x4E1D,)
"""Names the order in which held-out rows are chosen: the same for every trial."""
Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


@dataclass(frozen=True)
class Source:
    """One source of a corpus, and its weight in the mixture."""

    name: str
    weight: float
    shards: TokenShards


class DataIndex(BaseModel):
    """Where data lies in a storage, and what it was made from: a file `corpora/<digest of the data>.json`."""

    digests: DataDigests
    shards: dict[str, str]
    """Folder of each source's shards."""
    identities: dict[str, dict[str, object]]
    """What each source's shards were made from."""
    tokenizer_commit: str | None = None
    """Of the hub, where the tokenizer was read from there."""

    def write(self, storage: Path) -> None:
        """To its file in this storage, whole or not at all."""
        file = index_of(self.digests, storage)
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, digests: DataDigests, storage: Path) -> Self | None:
        """None where no such data was ever prepared in this storage."""
        fetch(file := index_of(digests, storage))
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as fault:
            raise ValueError(f"{file}: damaged; delete it and prepare the text again") from fault


@dataclass(frozen=True)
class Corpus:
    """The rows of some sources, in shards that were verified to be those of `digests`."""

    length: int
    sources: tuple[Source, ...]
    digests: DataDigests
    tokenizer_folder: Path
    """Holds tokenizer.json and vocabulary.json (see TextTokenizer.load)."""

    @classmethod
    def open(cls, data: DataSpec, storage: Path, digests: DataDigests) -> Self:
        """Exactly the rows and the tokenizer of these digests, whatever the sources hold by now.

        NotPrepared if they are not there; DamagedShards if files are torn; ChangedData if there is something else in
        their place.
        """
        index = DataIndex.read(digests, storage)
        if index is None:
            named = f"data {digests.digest()} ({', '.join(data.sources)})"
            raise NotPrepared(f"{storage}: {named} is not there; {MADE_AGAIN}")
        return cls.of(data, storage, digests, index.shards)

    @classmethod
    def of(cls, data: DataSpec, storage: Path, digests: DataDigests, shards: Mapping[str, str]) -> Self:
        """The same, from these folders of each source's shards."""
        opened = {name: _shards(storage, shards[name], digests.sources[name]) for name in data.sources}
        sizes = {name: shards_of.manifest.rows("train") for name, shards_of in opened.items()}
        sources = tuple(
            Source(name, sizes[name] if source.weight == "size" else source.weight, opened[name])
            for name, source in data.sources.items()
        )
        fetch(folder := tokenizer_folder(storage, digests.tokenizer), last=FACTS)
        if not TextTokenizer.is_saved(folder):
            raise NotPrepared(f"{folder}: the tokenizer of data {digests.digest()} is not there; {MADE_AGAIN}")
        return cls(data.length, sources, digests, folder)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The one that made the rows. ValueError where its files were altered."""
        return TextTokenizer.open(self.tokenizer_folder.parents[1], self.digests.tokenizer)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the ids in shards."""
        return np.dtype(self.sources[0].shards.manifest.dtype)

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the tokenizer."""
        return self.tokenizer.vocabulary

    def text_plan(self, seed: int) -> WindowPlan:
        """The order of train rows under this seed, where they are read from text."""
        return WindowPlan(self.plan(seed), tuple(source.shards.manifest.part_rows for source in self.sources))

    def plan(self, seed: int) -> RowPlan:
        """The order of train rows under this seed, where they are read from shards."""
        rows = tuple(source.shards.manifest.rows("train") for source in self.sources)
        return RowPlan(rows, tuple(source.weight for source in self.sources), seed)

    @cached_property
    def log_unigram(self) -> Floats:
        """(V,) float32: log frequency of each token in the mixture that training reads; special tokens are rare, not
        impossible. Where rows were not kept, counted in a sample of the parts."""
        weights = np.array([source.weight for source in self.sources])
        smooth = np.stack([source.shards.counts[0] + UNSEEN for source in self.sources])  # (sources, V)
        frequencies = smooth / smooth.sum(axis=1, keepdims=True)
        return np.log(np.average(frequencies, axis=0, weights=weights)).astype(np.float32)

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """Documents that cleaning left out of each source, by reason; empty where there was none."""
        manifests = {source.name: source.shards.manifest for source in self.sources}
        return {name: made.removed for name, made in manifests.items() if "cleaned" in made.identity}

    @property
    def train_rows(self) -> int:
        """Of all sources: an epoch."""
        return sum(source.shards.manifest.rows("train") for source in self.sources)

    @property
    def held_out_available(self) -> dict[str, int]:
        """Held-out rows of each source."""
        return {source.name: source.shards.manifest.rows("held_out") for source in self.sources}

    def shortfall(self, count: int) -> str:
        """What is wrong with asking for so many held-out rows; empty if there are as many."""
        have = self.held_out_available
        if sum(have.values()) >= count:
            return ""
        each = ", ".join(f"{rows} of {name}" for name, rows in have.items())
        return (
            f"evaluation.rows: {count} held-out rows are asked for, but there are {sum(have.values())} ({each}); ask "
            "for fewer, put more documents aside (data.held_out), or add text"
        )

    def held_out_rows(self, count: int) -> Indices:
        """(count, N) int64: the same rows for every trial, as many of one source as of any other.

        Of a source that has fewer than its share all are taken, and what is missing comes from the others in equal
        parts. ValueError where all sources together have fewer than `count`.
        """
        if fault := self.shortfall(count):
            raise ValueError(fault)
        available = list(self.held_out_available.values())
        chosen = [
            source.shards.held_out(permuted(np.arange(each), rows, HELD_OUT_KEY))
            for source, rows, each in zip(self.sources, available, equal_shares(count, available), strict=True)
        ]
        return np.concatenate(chosen).astype(np.int64)


def equal_shares(count: int, available: Sequence[int]) -> list[int]:
    """`count` shared equally, none more than is available; what cannot be divided goes to those that have most."""
    shares = [0] * len(available)
    ascending = sorted(range(len(available)), key=lambda index: available[index])
    for place, index in enumerate(ascending):
        shares[index] = min(available[index], (count - sum(shares)) // (len(available) - place))
    return shares


def shard_folder(storage: Path, name: str) -> Path:
    """Where the shards of a source lie; `name`: the digest of what they were made from."""
    return storage / "tokens" / name


def index_of(digests: DataDigests, storage: Path) -> Path:
    """The file that says where data of these digests lies. Preparing changed data writes another one."""
    return storage / "corpora" / f"{digests.digest()}.json"


def _shards(storage: Path, name: str, digest: str) -> TokenShards:
    fetch(folder := shard_folder(storage, name), last=MANIFEST)
    try:
        shards = TokenShards.open(folder)
    except FileNotFoundError as gone:
        raise NotPrepared(f"{folder}: rows {digest} are not there; {MADE_AGAIN}") from gone
    if (found := shards.manifest.digest()) != digest:
        raise ChangedData(
            f"{folder}: holds rows {found}, not {digest}: they were made again from other text; put the old text back "
            "and run `cogito-ray prepare`, or train on the new one under another name"
        )
    return shards

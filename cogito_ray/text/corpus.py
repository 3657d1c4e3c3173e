"""What a trial needs of the prepared data: rows, weights, the vocabulary, and how frequent each token is. No Ray."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from cogito_ray.spec import digest
from cogito_ray.text.plan import Indices, RowPlan, permuted
from cogito_ray.text.shards import TokenShards, write_json
from cogito_ray.text.spec import DataSpec
from cogito_ray.text.tokenizer import TextTokenizer
from cogito_ray.text.vocabulary import Vocabulary
from cogito_ray.text.windows import WindowPlan

UNSEEN = 0.5
"""Added to every token's count (Krichevsky and Trofimov, doi:10.1109/TIT.1981.1056331)."""
HELD_OUT_KEY = (0x4E1D,)
"""Names the order in which held-out rows are chosen: the same for every trial."""
Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


class NotPrepared(FileNotFoundError):
    """The data a run names was never prepared in this storage."""


@dataclass(frozen=True)
class Source:
    name: str
    weight: float
    shards: TokenShards


@dataclass(frozen=True)
class Corpus:
    length: int
    sources: tuple[Source, ...]
    tokenizer_folder: Path
    """Holds tokenizer.json and vocabulary.json (see TextTokenizer.load)."""

    @classmethod
    def open(cls, data: DataSpec, storage: Path) -> Self:
        """NotPrepared if `prepare` never ran for this data; DamagedShards if its files are torn."""
        index_file = index_of(data, storage)
        if not index_file.exists():
            raise NotPrepared(
                f"{storage}: the data of this run ({', '.join(data.sources)}) is not prepared there; "
                "run `cogito-ray prepare` with the same file first"
            )
        index = json.loads(index_file.read_text())
        sources = tuple(
            Source(name, source.weight, TokenShards.open(shard_folder(storage, index["sources"][name])))
            for name, source in data.sources.items()
        )
        return cls(data.length, sources, tokenizer_folder(storage, index["tokenizer"]))

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        return TextTokenizer.load(self.tokenizer_folder)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the ids in shards."""
        return np.dtype(self.sources[0].shards.manifest.dtype)

    @property
    def vocabulary(self) -> Vocabulary:
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
        impossible."""
        weights = np.array([source.weight for source in self.sources])
        smooth = np.stack([source.shards.counts[0] + UNSEEN for source in self.sources])  # (sources, V)
        return np.log(_mixture(smooth, weights)).astype(np.float32)

    @cached_property
    def held_out_entropy(self) -> float:
        """Unigram entropy in nats of the held-out rows, every source alike: what ignoring all context can reach."""
        counts = np.stack([source.shards.counts[1] for source in self.sources])  # (sources, V)
        share = _mixture(counts, np.ones(len(counts)))
        seen = share[share > 0]
        return float(-(seen * np.log(seen)).sum())

    def held_out_rows(self, count: int) -> Indices:
        """(R, N) int64, R <= count: the same rows for every trial, as many of one source as of any other."""
        available = [source.shards.manifest.rows("held_out") for source in self.sources]
        each = min(count // len(self.sources), *available)
        chosen = [
            source.shards.held_out(permuted(np.arange(each), rows, HELD_OUT_KEY))
            for source, rows in zip(self.sources, available, strict=True)
        ]
        return np.concatenate(chosen).astype(np.int64)


def shard_folder(storage: Path, name: str) -> Path:
    return storage / "tokens" / name


def tokenizer_folder(storage: Path, name: str) -> Path:
    return storage / "tokenizers" / name


def index_of(data: DataSpec, storage: Path) -> Path:
    """The file that says which shards and tokenizer were prepared for this data; mixing weights do not matter."""
    aside: dict[str, Any] = {"bad_documents": True, "keep": True, "sources": {"__all__": {"weight"}}}
    wanted = data.model_dump(mode="json", exclude=aside)
    return storage / "corpora" / f"{digest(wanted)}{data.keeping.suffix}.json"


def write_index(data: DataSpec, storage: Path, *, tokenizer: str, sources: dict[str, str]) -> None:
    file = index_of(data, storage)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"tokenizer": tokenizer, "sources": sources})


def _mixture(counts: Floats | Indices, weights: Sequence[float] | Floats) -> Floats:
    """(V,) mean of each source's frequencies (sources, V) by weight."""
    frequencies = counts / counts.sum(axis=1, keepdims=True)
    return np.average(frequencies, axis=0, weights=weights)

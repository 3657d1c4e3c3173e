"""Turns one part of a source into shards: read, hold out, tokenise, pack, write. Knows nothing of the cluster."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cogito_ray.text.document import Bad, Found, Part, fraction
from cogito_ray.text.pack import PACKERS, Ids
from cogito_ray.text.plan import Indices
from cogito_ray.text.shards import (
    SHARD_BYTES,
    SIDES,
    BadDocument,
    Counted,
    Counts,
    Shard,
    Side,
    Verified,
    map_shard,
    write_json,
    write_shard,
)
from cogito_ray.text.tokenizer import TextTokenizer

BATCH = 2**20
"""Characters tokenised at a time."""
EXAMPLES = 100
"""Bad documents named in a manifest."""
CHUNK = 2**20  # tokens counted at a time
FAIR_CHOICE = 4
"""Characters looked at for each character sampled."""
SAMPLED = b"sample"


@dataclass(frozen=True)
class Recipe:
    """What all parts of a source have in common."""

    folder: Path
    tokenizer: Path
    length: int
    held_out: float
    packing: str


def build_part(part: Part, number: int, recipe: Recipe) -> tuple[Counted, Counts]:
    """Writes the part's shards and a record of them, unless they stand; returns the record and counts (2, V)."""
    tokenizer = TextTokenizer.load(recipe.tokenizer)
    record = _standing(number, recipe)
    if record is None:
        recipe.folder.mkdir(parents=True, exist_ok=True)
        record = _build(part, number, recipe, tokenizer)
        write_json(_record_file(number, recipe), record.model_dump(mode="json"))
    counts = [_count(record.shards[side], recipe, tokenizer) for side in SIDES]
    return record, np.stack(counts)  # (2, V)


def usable(part: Part, bad: "BadTally") -> Iterator[str]:
    """The part's documents that hold text; the others are tallied."""
    for found in part.read():
        text = found.text() if isinstance(found, Found) else found
        if isinstance(text, Bad):
            bad.add(text)
        else:
            yield text


def sample(parts: Sequence[Part], *, characters: int, held_out: float) -> Iterator[str]:
    """About `characters` of the train documents, chosen by hash, from as few parts as give a fair choice."""
    shuffled = sorted(enumerate(parts), key=lambda numbered: fraction(str(numbered[0]).encode(), SAMPLED))
    chosen: list[Part] = []
    for _, part in shuffled:
        if sum(each.size for each in chosen) < FAIR_CHOICE * characters:
            chosen.append(part)
    share = characters / max(sum(part.size for part in chosen), 1)
    for part in chosen:
        for text in usable(part, BadTally()):
            encoded = text.encode()
            if fraction(encoded) >= held_out and fraction(encoded, SAMPLED) < share:
                yield text
                characters -= len(text)
            if characters <= 0:
                return


class BadTally:
    def __init__(self) -> None:
        self.documents = self.files = 0
        self.examples: list[BadDocument] = []

    def add(self, bad: Bad) -> None:
        self.documents += 1
        self.files += bad.whole_file
        if len(self.examples) < EXAMPLES:
            self.examples.append(BadDocument(place=bad.place, reason=bad.reason))


class _SideWriter:
    """Tokenises, packs and writes the documents of one side."""

    def __init__(self, side: Side, number: int, recipe: Recipe, tokenizer: TextTokenizer):
        self.stem, self.recipe, self.tokenizer = f"{side}-{number:05d}", recipe, tokenizer
        self.packer = PACKERS[recipe.packing](recipe.length, tokenizer.vocabulary, tokenizer.dtype)
        self.texts: list[str] = []
        self.waiting: list[Ids] = []
        self.shards: list[Shard] = []
        self.characters = self.documents = self.tokens = 0

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.characters += len(text)
        if self.characters >= BATCH:
            self._tokenise()

    def close(self) -> None:
        self._tokenise()
        self._keep(self.packer.close())
        self._write()

    def _tokenise(self) -> None:
        encoded = self.tokenizer.encode(self.texts)
        self.documents += len(encoded)
        self.tokens += sum(map(len, encoded))
        self.texts, self.characters = [], 0
        self._keep(self.packer.add(encoded))

    def _keep(self, rows: Ids) -> None:
        self.waiting.append(rows)
        if sum(rows.nbytes for rows in self.waiting) >= SHARD_BYTES:
            self._write()

    def _write(self) -> None:
        rows = np.concatenate(self.waiting)
        self.waiting = []
        if len(rows):
            name = f"{self.stem}-{len(self.shards):03d}.parquet"
            self.shards.append(write_shard(self.recipe.folder / name, rows))


def _build(part: Part, number: int, recipe: Recipe, tokenizer: TextTokenizer) -> Counted:
    train, held_out = (_SideWriter(side, number, recipe, tokenizer) for side in SIDES)
    bad = BadTally()
    for text in usable(part, bad):
        (held_out if fraction(text.encode()) < recipe.held_out else train).add(text)
    train.close()
    held_out.close()
    return Counted(
        documents={"train": train.documents, "held_out": held_out.documents},
        tokens={"train": train.tokens, "held_out": held_out.tokens},
        shards={"train": tuple(train.shards), "held_out": tuple(held_out.shards)},
        bad_documents=bad.documents,
        bad_files=bad.files,
        files=len(part.pieces),
        examples=tuple(bad.examples),
    )


def _record_file(number: int, recipe: Recipe) -> Path:
    return recipe.folder / f"part-{number:05d}.json"


def _standing(number: int, recipe: Recipe) -> Counted | None:
    """The part's record, if an earlier run left it and every shard is still what it says."""
    file = _record_file(number, recipe)
    if not file.exists():
        return None
    record = Counted.model_validate_json(file.read_bytes())
    verified = Verified(recipe.folder)
    return record if all(verified.holds(shard) for shard in record.every_shard) else None


def _count(shards: Iterable[Shard], recipe: Recipe, tokenizer: TextTokenizer) -> Indices:
    """(V,) occurrences of each token in the shards' rows; special tokens 0."""
    vocabulary = tokenizer.vocabulary
    counts = np.zeros(vocabulary.size, np.int64)
    for shard in shards:
        ids = map_shard(recipe.folder / shard.file, recipe.length, tokenizer.dtype).reshape(-1)
        for start in range(0, len(ids), CHUNK):
            counts += np.bincount(ids[start : start + CHUNK], minlength=vocabulary.size)
    counts[list(vocabulary.special_ids)] = 0
    return counts

"""Token shards: Parquet files of fixed-length rows that can also be memory-mapped.

A shard is one column `ids` of fixed-width binary values (N little-endian unsigned integers each), uncompressed and in
a single plain page, so its rows lie one after the other in the file: any Parquet reader can read it, and a memory map
gives (R, N) without copying. `manifest.json`, written last, names every shard with its size and SHA-256.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from cogito_ray.atomic_files import atomic_write, write_json
from cogito_ray.base_spec import digest
from cogito_ray.text.order.row_order import Indices
from cogito_ray.text.shards.row_packing import Ids

SHARD_BYTES = 48 * 2**20
MANIFEST, COUNTS, VERIFIED, PARTS = "manifest.json", "unigram_counts.npy", "verified.json", "parts.jsonl"
EXAMPLES = 100
"""Bad documents named in a manifest."""
ONE_PAGE = 2**31 - 1
LONGEST_PAGE_HEADER = 64  # bytes; one page's header takes about 27
Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("train", "held_out")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Stored):
    """One file of rows, and what it must hold."""

    file: str
    rows: int
    size: int
    """Bytes of the file."""
    sha256: str


class BadDocument(_Stored):
    """A document that could not be used, for the manifest."""

    place: str
    reason: str


class ShardSummary(_Stored):
    """What one part, or a whole source, came to."""

    documents: dict[Split, int]
    tokens: dict[Split, int]
    """Real tokens: separators and padding not counted."""
    words: dict[Split, int] = {"train": 0, "held_out": 0}
    """What spaces separate; 0 where an earlier version did not count."""
    padding: dict[Split, int]
    """Places in rows that hold nothing."""
    cut_documents: dict[Split, int]
    """Documents that do not stand whole in one row."""
    shards: dict[Split, tuple[Shard, ...]]
    bad_documents: int
    bad_files: int
    without_text: int = 0
    """Records that lack the field that holds text: no fault unless all do."""
    files: int
    """Pieces of files, when a file was read in several."""
    examples: tuple[BadDocument, ...]
    """The first bad documents."""
    part_rows: tuple[int, ...] = ()
    """Train rows of each part, where they were counted and not kept."""
    part_digests: dict[Split, tuple[str, ...]]
    """Of each part's rows (see `RowsDigest`), kept or not."""
    counts: tuple[Shard, ...] = ()
    """Files of how often each token occurs in train rows of some parts, where rows were not kept."""

    removed: dict[str, int] = {}
    """Of a whole source: documents that cleaning left out, by reason."""

    @classmethod
    def joined(cls, records: Sequence["ShardSummary"]) -> Self:
        """What these came to together, in this order."""

        def joined(values: Sequence[Any]) -> Any:
            if isinstance(values[0], dict):
                return {key: joined([value[key] for value in values]) for key in values[0]}
            return sum(values) if isinstance(values[0], int) else tuple(chain.from_iterable(values))

        names = ShardSummary.model_fields.keys() - {"removed"}
        fields = {name: joined([getattr(one, name) for one in records]) for name in names}
        return cls(**fields | {"examples": fields["examples"][:EXAMPLES]})

    def rows(self, side: Split) -> int:
        """Of this split, kept in shards or counted."""
        counted = {"train": sum(self.part_rows), "held_out": 0}
        return sum(shard.rows for shard in self.shards[side]) + counted[side]

    @property
    def every_shard(self) -> list[Shard]:
        """All files that the manifest names but itself."""
        return [*(shard for side in SPLITS for shard in self.shards[side]), *self.counts]

    @property
    def fertility(self) -> float:
        """Tokens per word, 0 where words were not counted."""
        return sum(self.tokens.values()) / words if (words := sum(self.words.values())) else 0.0

    @property
    def bad_share(self) -> float:
        """Share of documents, or of files where that is more, that could not be used."""
        documents = sum(self.documents.values()) + sum(self.removed.values()) + self.bad_documents
        return max(self.bad_documents / max(documents, 1), self.bad_files / max(self.files, 1))


class Manifest(ShardSummary):
    """All there is to know about one source's shards."""

    identity: dict[str, object]
    """What the shards were made from; its digest names the folder."""
    length: int
    dtype: str
    versions: dict[str, str]
    counts_sha256: str
    """Of unigram_counts.npy."""
    overlaps: dict[str, int] = {}
    """Documents left out that hold a text of each evaluation set; one may hold texts of several."""
    removed_examples: tuple[BadDocument, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """FileNotFoundError where there is none, DamagedShards where it is torn or altered."""
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except ValidationError as fault:
            raise DamagedShards(
                f"{folder / MANIFEST}: torn or altered; run `cogito-ray prepare` to build the shards again"
            ) from fault

    def digest(self) -> str:
        """Twelve hex digits that name the rows of both sides and their tokens' counts, whatever files they are in."""
        return digest([self.length, self.dtype, self.part_digests, self.counts_sha256])


class DamagedShards(ValueError):
    """Shards that are missing, torn or altered."""

    @classmethod
    def naming(cls, folder: Path, files: Sequence[str]) -> Self:
        """The error for these files of a source."""
        return cls(
            f"{folder}: {len(files)} shards are missing, torn or altered ({', '.join(files[:3])}); "
            "run `cogito-ray prepare` to build them again"
        )


def write_shard(file: Path, rows: Ids) -> Shard:
    """Writes (R, N) `rows` so that a reader sees all of the file or nothing."""
    count, width = len(rows), rows.shape[1] * rows.itemsize
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), count, [None, pa.py_buffer(np.ascontiguousarray(rows))]
    )
    schema = pa.schema([pa.field("ids", pa.binary(width), nullable=False)])
    with atomic_write(file) as stream:
        pq.write_table(
            pa.table([values], schema=schema),
            stream,
            row_group_size=count,
            write_batch_size=count,
            data_page_size=ONE_PAGE,
            max_rows_per_page=ONE_PAGE,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            store_schema=False,
        )
        stream.flush()
        draft = Path(stream.name)
        map_shard(draft, rows.shape[1], rows.dtype)
        return Shard(file=file.name, rows=count, size=draft.stat().st_size, sha256=file_sha256(draft))


def map_shard(file: Path, length: int, dtype: np.dtype[np.unsignedinteger]) -> Ids:
    """(R, N) view of a shard's rows; nothing is read until it is used. ValueError if the layout is another."""
    try:
        parquet = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DamagedShards.naming(file.parent, [file.name]) from error
    chunk = parquet.metadata.row_group(0).column(0)
    rows = parquet.metadata.num_rows
    header = chunk.total_compressed_size - rows * length * dtype.itemsize
    if parquet.metadata.num_row_groups != 1 or not 0 < header <= LONGEST_PAGE_HEADER:
        raise ValueError(f"{file}: rows of {length} tokens do not lie in one page; prepare the data again")
    return np.memmap(file, dtype, "r", offset=chunk.data_page_offset + header, shape=(rows, length))


class RowsDigest:
    """Names rows (R, N) by their ids in order, however they come in pieces."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, rows: Ids) -> None:
        """The next rows (R, N)."""
        self._hash.update(np.ascontiguousarray(rows).tobytes())

    def hex(self) -> str:
        """32 hex digits for all rows so far."""
        return self._hash.hexdigest()


def file_sha256(file: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class TokenShards:
    """The shards of one prepared source.

    Opening checks that every file is there in full; it reads no rows. Preparing, which every sweep and run does first,
    also compares the hashes of files that were touched since they were last compared, and builds anew what differs.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, folder: Path) -> Self:
        """FileNotFoundError without a manifest; DamagedShards if a file is missing or has another size."""
        manifest = Manifest.read(folder)
        torn = [shard.file for shard in manifest.every_shard if not has_size(folder, shard)]
        if torn:
            raise DamagedShards.naming(folder, torn)
        return cls(folder, manifest)

    def __reduce__(self) -> tuple[type, tuple[Path, Manifest]]:
        """Another process maps the files again instead of receiving their content."""
        return type(self), (self.folder, self.manifest)

    def train(self, rows: Indices) -> Ids:
        """(B, N) the train rows with these numbers."""
        return self._gather("train", rows)

    def held_out(self, rows: Indices) -> Ids:
        """(B, N) the held-out rows with these numbers."""
        return self._gather("held_out", rows)

    @cached_property
    def counts(self) -> Counts:
        """(2, V) how often each token occurs in the train and in the held-out rows; special tokens 0."""
        return np.asarray(np.load(self.folder / COUNTS), np.int64)

    def _gather(self, side: Split, rows: Indices) -> Ids:
        """Shard by shard in ascending order of rows, which is how disks read fastest."""
        shards = self.manifest.shards[side]
        starts = np.cumsum([0, *(shard.rows for shard in shards)])
        order = np.argsort(rows)
        ascending = rows[order]
        bounds = np.searchsorted(ascending, starts)
        result = np.empty(len(rows), self._whole_row)
        for index in np.flatnonzero(np.diff(bounds)):
            mine = slice(bounds[index], bounds[index + 1])
            result[order[mine]] = np.take(self._map(shards[index].file), ascending[mine] - starts[index])
        return result.view(self.manifest.dtype).reshape(len(rows), self.manifest.length)

    def _map(self, file: str) -> np.ndarray:
        if file not in self._maps:
            mapped = map_shard(self.folder / file, self.manifest.length, np.dtype(self.manifest.dtype))
            self._maps[file] = mapped.view(np.ndarray).view(self._whole_row)[:, 0]
        return self._maps[file]

    @cached_property
    def _maps(self) -> dict[str, np.ndarray]:
        """(R,) of every shard in use."""
        return {}

    @cached_property
    def _whole_row(self) -> np.dtype[np.void]:
        """A row as one value: gathering those is several times as fast as gathering rows of numbers."""
        return np.dtype((np.void, self.manifest.length * np.dtype(self.manifest.dtype).itemsize))


def has_size(folder: Path, shard: Shard) -> bool:
    """Is the file there, with as many bytes as the manifest says?"""
    file = folder / shard.file
    return file.is_file() and file.stat().st_size == shard.size


class VerifiedFiles:
    """Which shards were hashed, and how the files looked then: a file that was not touched since is not read again."""

    def __init__(self, folder: Path):
        self.folder = folder
        file = folder / VERIFIED
        self.seen: dict[str, list[int]] = json.loads(file.read_text()) if file.exists() else {}

    def holds(self, shard: Shard) -> bool:
        """Whether the file is what the manifest says; reads it only if it may have changed."""
        if not has_size(self.folder, shard):
            return False
        if self.seen.get(shard.file) == self._look(shard):
            return True
        return file_sha256(self.folder / shard.file) == shard.sha256

    def save(self, shards: Sequence[Shard]) -> None:
        """All of these were hashed and hold."""
        seen = {shard.file: self._look(shard) for shard in shards}
        write_json(self.folder / VERIFIED, seen)

    def _look(self, shard: Shard) -> list[int]:
        status = (self.folder / shard.file).stat()
        return [status.st_size, status.st_mtime_ns]

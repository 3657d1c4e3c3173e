"""Documents in Parquet, JSON Lines or plain text files, on any file system that pyarrow or fsspec reaches."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Annotated, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, PositiveFloat

from cogito_ray.base_spec import PLAIN, Spec
from cogito_ray.text.sources.documents import LARGEST_PART, Part, Piece, RawDocument, Rejected, parts_of, target_size
from cogito_ray.text.sources.filesystem_access import File, fingerprints_of, list_files

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
EXPANSION = 4
"""Bytes of text per byte of a compressed file, roughly."""
OPENERS = 16
"""Footers read at a time: on remote file systems each costs a round trip."""


class FilesSpec(Spec):
    """Files that hold documents, each in a row, a line, or whole."""

    kind: Literal["files"] = "files"
    path: Annotated[str, Field(min_length=1), PLAIN]
    """A file, a folder (read recursively) or a glob; local or a URL such as s3://bucket/folder. Files count by their
    ending: .parquet, .jsonl, .ndjson, .txt, .md, the text ones also compressed (.gz, .bz2, .zst)."""
    column: str = "text"
    """Field that holds a document's text (Parquet and JSON Lines; a .txt or .md file is one document)."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""

    def faults(self) -> list[str]:
        """What is wrong with the path or the column, each as `field: fault`, found without reading the documents."""
        try:
            files = self._files()
        except (OSError, ValueError, ImportError) as error:
            return [f"path: {self.path!r} cannot be listed ({error}); give a file, a folder, a glob or a URL"]
        if not files:
            return [f"path: {self.path!r} holds no file that ends in {', '.join(FORMATS)}"]
        wanted = (columns_of(file) for file in files)
        columns = next((names for names in wanted if names is not None), {self.column})
        return [] if self.column in columns else [f"column: {self.column!r} is not among {sorted(columns)}"]

    def fingerprint(self) -> dict[str, object]:
        """Changes when a file comes, goes, or is written to; not when the folder is moved."""
        return {"column": self.column, "files": fingerprints_of(self._files())}

    def is_gathered(self, scratch: Path) -> bool:
        """Files are read where they are."""
        return True

    def gather(self, scratch: Path) -> None:
        """Nothing to do."""

    def parts(self, scratch: Path, largest: int = LARGEST_PART) -> list[Part]:
        """How independent tasks share the reading; `largest`: bytes of text in a part, about."""
        return parts_of_files(self._files(), self.column, largest)

    def places(self, scratch: Path) -> set[str]:
        """Where the files of its parts lie now."""
        return {file.path for file in self._files()}

    def _files(self) -> list[File]:
        return [file for file in list_files(self.path) if _ending(file) in FORMATS]


def parts_of_files(files: Sequence[File], column: str, largest: int) -> list[Part]:
    """The files cut at rows or lines, and small ones joined."""
    target = target_size(sum(file.size for file in files), largest)
    with ThreadPoolExecutor(OPENERS) as pool:
        pieces = pool.map(lambda file: FORMATS[_ending(file)](file, column, target), files)
        return parts_of([piece for of_file in pieces for piece in of_file], largest)


@dataclass(frozen=True)
class ParquetPiece:
    """Some row groups of a Parquet file, or some of their rows: a document a row."""

    file: File
    column: str
    groups: tuple[int, ...]
    first_row: int
    """Of these groups, in the file."""
    size: int
    rows: tuple[int, int] | None = None
    """The rows [start, stop) of these groups alone; None = all."""
    kind: Literal["parquet"] = "parquet"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a row; rows that follow an unreadable one are told as one fault."""
        row = self.first_row
        start, stop = (row + bound for bound in self.rows) if self.rows else (row, sys.maxsize)
        try:
            with self.file.open() as stream:
                batches = pq.ParquetFile(stream).iter_batches(1024, row_groups=self.groups, columns=[self.column])
                for batch in batches:
                    mine = batch.column(0)[max(start - row, 0) : stop - row]
                    yield from _values(mine, self.file.path, max(start, row))
                    row += len(batch)
                    if row >= stop:
                        return
        except (OSError, pa.ArrowException) as error:
            yield Rejected(f"{self.file.path}:row {row}", f"unreadable from here: {error}", whole_file=True)


@dataclass(frozen=True)
class JsonLinesPiece:
    """The lines that start in bytes [start, stop); stop None = all of a compressed file."""

    file: File
    column: str
    start: int
    stop: int | None
    size: int
    kind: Literal["json-lines"] = "json-lines"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a line."""
        try:
            with self.file.open(_compression(self.file)) as stream:
                place = self._first_line(stream)
                while (self.stop is None or place < self.stop) and (line := stream.readline()):
                    if line.strip():
                        yield _json_value(line, self.column, f"{self.file.path}:byte {place}")
                    place += len(line)
        except OSError as error:
            yield Rejected(self.file.path, f"unreadable: {error}", whole_file=True)

    def _first_line(self, stream: IO[bytes]) -> int:
        """Moves to the first line that starts at `start` or after, and says where that is."""
        if self.start == 0:
            return 0
        stream.seek(self.start - 1)
        return self.start - 1 + len(stream.readline())


@dataclass(frozen=True)
class TextPiece:
    """A whole text file: one document."""

    file: File
    size: int
    kind: Literal["text"] = "text"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """The file as one document."""
        try:
            with self.file.open(_compression(self.file)) as stream:
                yield RawDocument(self.file.path, stream.read())
        except OSError as error:
            yield Rejected(self.file.path, f"unreadable: {error}", whole_file=True)


@dataclass(frozen=True)
class UnreadablePiece:
    """A file that cannot be opened, kept as a piece so that it is counted among the bad ones."""

    file: File
    reason: str
    size: int = 0
    kind: Literal["unreadable"] = "unreadable"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """Tells what is wrong."""
        yield Rejected(self.file.path, self.reason, whole_file=True)


def parquet_pieces(file: File, column: str, target: int) -> list[Piece]:
    """One piece per run of row groups of about `target` bytes; of a group that is much larger, several."""
    try:
        with file.open() as stream:
            parquet = pq.ParquetFile(stream)
    except (OSError, pa.ArrowException) as error:
        return [UnreadablePiece(file, f"unreadable: {error}")]
    if column not in parquet.schema_arrow.names:
        return [UnreadablePiece(file, f"no column {column!r} among {parquet.schema_arrow.names}")]
    pieces: list[Piece] = []
    groups, size, row, first_row = [], 0, 0, 0
    for group in range(parquet.num_row_groups):
        groups.append(group)
        size += _column_bytes(parquet.metadata.row_group(group), column)
        row += parquet.metadata.row_group(group).num_rows
        if size >= target or group == parquet.num_row_groups - 1:
            whole = ParquetPiece(file, column, tuple(groups), first_row, size)
            pieces += _cut(whole, row - first_row, into=size // target if target else 1)
            groups, size, first_row = [], 0, row
    return pieces


def _cut(whole: ParquetPiece, rows: int, *, into: int) -> list[ParquetPiece]:
    """`rows`: how many it has."""
    count = min(into, rows)
    if count < 2:
        return [whole]
    stops = [rows * number // count for number in range(count + 1)]
    return [replace(whole, size=whole.size // count, rows=bounds) for bounds in pairwise(stops)]


def _json_pieces(file: File, column: str, target: int) -> list[Piece]:
    if _compression(file):
        return [JsonLinesPiece(file, column, 0, None, file.size * EXPANSION)]
    stops = [*range(target, file.size, target), file.size]
    return [
        JsonLinesPiece(file, column, start, stop, stop - start)
        for start, stop in zip([0, *stops[:-1]], stops, strict=True)
    ]


def _text_pieces(file: File, column: str, target: int) -> list[Piece]:
    return [TextPiece(file, file.size * (EXPANSION if _compression(file) else 1))]


FORMATS: dict[str, Callable[[File, str, int], list[Piece]]] = {
    ".parquet": parquet_pieces,
    ".jsonl": _json_pieces,
    ".ndjson": _json_pieces,
    ".txt": _text_pieces,
    ".md": _text_pieces,
}


def _ending(file: File) -> str:
    """The ending that says the format: .jsonl of a.jsonl and of a.jsonl.gz."""
    return next((s for s in reversed(file.suffixes) if s not in COMPRESSIONS), "")


def _compression(file: File) -> str | None:
    return COMPRESSIONS.get(file.suffixes[-1])


def columns_of(file: File) -> set[str] | None:
    """Fields of the file's documents; None when the format has none or the file cannot say."""
    try:
        if _ending(file) == ".parquet":
            with file.open() as stream:
                return set(pq.ParquetFile(stream).schema_arrow.names)
        if FORMATS[_ending(file)] is _json_pieces:
            with file.open(_compression(file)) as stream:
                first = json.loads(stream.readline())
                return set(first) if isinstance(first, dict) else None
    except (OSError, ValueError, pa.ArrowException):
        return None  # counted and named when the documents are read
    return None


def _column_bytes(group: pq.RowGroupMetaData, column: str) -> int:
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column)


def _values(column: pa.Array, file: str, first_row: int) -> Iterator[RawDocument]:
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:  # as bytes, so that one bad value does not hide the batch
        values = column.cast(pa.binary()).to_pylist()
    return (RawDocument(f"{file}:row {row}", value) for row, value in enumerate(values, first_row))


def _json_value(line: bytes, column: str, place: str) -> RawDocument | Rejected:
    try:
        value = json.loads(line)
    except ValueError as error:
        return Rejected(place, f"not JSON: {error}")
    if not isinstance(value, dict) or column not in value:
        return Rejected(place, f"no field {column!r}")
    return RawDocument(place, value[column])

"""Documents in JSON Lines and plain text files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Literal

from cogito_ray.text.sources.documents import MOST_CUTS, Piece, RawDocument, Rejected, field_splits, until
from cogito_ray.text.sources.filesystem_access import UNREADABLE, File, skip

SampleBy = Literal["document", "paragraph", "line"]
"""What is a document of a plain text file, in the words of `datasets`."""
SLOW, SLOWER = ("xz", "bz2"), 4
"""Compressions that are cut less often: decompressing takes a tenth of the time of tokenising, not a hundredth."""
NESTING = "not JSON Lines but one JSON value; write a record a line, or name the data alone (path: folder/*.parquet)"


@dataclass(frozen=True, slots=True)
class JsonLinesPiece:
    """The lines that start in bytes [start, stop), of the text where the file is compressed; stop None = to its end."""

    file: File
    column: str
    start: int
    stop: int | None
    size: int
    kind: Literal["json-lines"] = "json-lines"

    @property
    def cut_from(self) -> object:
        """What it shares with other pieces, which is decompressed from its start for each; None where it is alone."""
        return self.file if self.file.compression and (self.start or self.stop) else None

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a line."""
        return until(self.stop, self.from_start())

    def from_start(self) -> Iterator[tuple[int, RawDocument | Rejected]]:
        """The lines from its first to the file's last, each with its place."""
        place = self.start
        try:
            with self.file.open() if self.start else self.file.open_text() as stream:
                for place, line in lines_from(stream, self.start, None):
                    if place == 0 and self._is_one_value(line):
                        yield place, Rejected(self.file.path, NESTING, whole_file=True)
                        return
                    if line.strip():
                        yield place, _json_value(line, self.column, f"{self.file.path}:byte {place}")
        except UNREADABLE as error:
            yield place, Rejected(self.file.path, f"unreadable: {error}", whole_file=True)

    def _is_one_value(self, first: bytes) -> bool:
        """Does the file begin otherwise than with a record? Of a .json that says what it is; a .jsonl may be torn."""
        if self.file.ending == ".json":
            return bool(first.strip()) and not _is_object(first)
        return first.strip(b"\xef\xbb\xbf \r\n") in (b"[", b"{")


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A text file whole, or those of its paragraphs or lines that start in bytes [start, stop)."""

    file: File
    size: int
    sample_by: SampleBy = "document"
    start: int = 0
    stop: int | None = None
    kind: Literal["text"] = "text"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """Its documents, in order."""
        try:
            with self.file.open() if self.start else self.file.open_text() as stream:
                if self.sample_by == "document":
                    yield RawDocument(self.file.path, stream.read())
                elif self.sample_by == "line":
                    found = ((at, line.rstrip(b"\r\n")) for at, line in lines_from(stream, self.start, self.stop))
                    yield from (RawDocument(f"{self.file.path}:byte {at}", line) for at, line in found if line.strip())
                else:
                    yield from self._paragraphs(stream)
        except UNREADABLE as error:
            yield Rejected(self.file.path, f"unreadable: {error}", whole_file=True)

    def _paragraphs(self, stream: IO[bytes]) -> Iterator[RawDocument]:
        """Runs of lines that are not blank; each is of the piece in which the blank line before it starts."""
        begun, first, paragraph = self.start == 0, 0, b""
        for place, line in lines_from(stream, self.start, None):
            if line.strip():
                first = first if paragraph else place
                paragraph += line if begun else b""
                continue
            if paragraph:
                yield RawDocument(f"{self.file.path}:byte {first}", paragraph.rstrip())
            if self.stop is not None and place >= self.stop:
                return
            begun, paragraph = True, b""
        if paragraph:
            yield RawDocument(f"{self.file.path}:byte {first}", paragraph.rstrip())


def lines_from(stream: IO[bytes], start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in bytes [start, stop), each with its place. Lines end in line feeds alone: U+2028 and its
    like may stand within JSON."""
    place = 0
    if start:
        skip(stream, start - 1)
        place = start - 1 + len(stream.readline())
    while (stop is None or place < stop) and (line := stream.readline()):
        yield place, line
        place += len(line)


def json_pieces(file: File, column: str, target: int) -> list[Piece]:
    """Stretches of about `target` bytes; of a compressed file, whose size is estimated, the last to its end."""
    size = file.measured_size() if file.compression and file.expanded_size >= target else file.expanded_size
    cuts = MOST_CUTS // SLOWER if file.compression in SLOW else MOST_CUTS
    bounds = list(_stretches(size, max(target, -(-size // cuts)) if file.compression else target))
    pieces = [JsonLinesPiece(file, column, start, stop, stop - start) for start, stop in bounds]
    return [*pieces[:-1], replace(pieces[-1], stop=None)] if file.compression else [*pieces]


def text_pieces(file: File, sample_by: SampleBy, target: int) -> list[Piece]:
    """Stretches of about `target` bytes; a compressed file, or one that is a document, whole."""
    if file.compression or sample_by == "document":
        return [TextPiece(file, file.expanded_size, sample_by)]
    return [TextPiece(file, stop - start, sample_by, start, stop) for start, stop in _stretches(file.size, target)]


def json_fields(file: File, records: int = 100) -> set[str]:
    """Fields of the first records; ValueError where they are not JSON, UNREADABLE."""
    with file.open_text() as stream:
        lines = iter(partial(stream.readline), b"")
        values = [json.loads(line) for line, _ in zip(lines, range(records), strict=False) if line.strip()]
    return {name for value in values if isinstance(value, dict) for name in _names(value)}


def _names(record: Mapping[str, object], above: str = "") -> Iterator[str]:
    for name, value in record.items():
        yield above + name
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")


def _stretches(size: int, target: int) -> Iterator[tuple[int, int]]:
    stops = [*range(target, size, target), size]
    return zip([0, *stops[:-1]], stops, strict=True)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _json_value(line: bytes, column: str, place: str) -> RawDocument | Rejected:
    try:
        value = json.loads(line)
    except ValueError as error:
        return Rejected(place, f"not JSON: {error}")
    missing = Rejected(place, f"no field {column!r}", is_missing=isinstance(value, dict))
    found = value_at(value, column) if isinstance(value, dict) else None
    return missing if found is None else RawDocument(place, *found)


def value_at(record: Mapping[str, object], column: str) -> tuple[object] | None:
    """What stands in a field, which is that of an inner record where its name is dotted; None without it."""
    if column in record:
        return (record[column],)
    for field, inside in field_splits(column):
        inner = record.get(field)
        if isinstance(inner, Mapping) and (found := value_at(inner, inside)):
            return found
    return None

"""Which files hold documents, told by their endings, and how each is cut into pieces.

Neighbouring pieces are read one after the other: what several share is decoded once, not from its start for each.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pyarrow as pa

from cogito_ray.text.sources.columnar_files import (
    ParquetPiece,
    arrow_pieces,
    arrow_schema,
    column_path,
    csv_header,
    csv_pieces,
    parquet_pieces,
    parquet_schema,
)
from cogito_ray.text.sources.documents import Part, Piece, RawDocument, Rejected, parts_of, target_size
from cogito_ray.text.sources.filesystem_access import UNREADABLE, File
from cogito_ray.text.sources.line_files import JsonLinesPiece, SampleBy, json_fields, json_pieces, text_pieces

OPENERS = 16
"""Footers read at a time: on remote file systems each costs a round trip."""
RECORDS: dict[str, Callable[[File, str, int], list[Piece]]] = {
    ".parquet": parquet_pieces,
    ".arrow": arrow_pieces,
    ".feather": arrow_pieces,
    ".jsonl": json_pieces,
    ".ndjson": json_pieces,
    ".json": json_pieces,
    ".csv": csv_pieces,
    ".tsv": csv_pieces,
}
"""Formats of records with named fields, one of which holds a document."""
TEXTS = (".txt", ".text", ".md")
ABOUT_DATA = {"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation", "contributing"}
"""Names, up to the first dot, of files that people put beside data: no documents."""
OF_DATASETS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Names of the files that `datasets` puts beside data."""
LOOKED_AT = 16
"""Files looked at for a column before it is said to be in none."""


def is_data(file: File) -> bool:
    """Whether a file among others holds documents."""
    name = PurePosixPath(file.path).name.lower()
    return is_readable(file) and name not in OF_DATASETS and name.split(".")[0] not in ABOUT_DATA


def is_readable(file: File) -> bool:
    """Whether its format is known."""
    return file.ending in RECORDS or file.ending in TEXTS


def left_out(unread: Collection[File]) -> str:
    """How many files are not read, by ending; empty where none are."""
    about = sum(map(is_readable, unread))
    counts = Counter(file.ending or "without an ending" for file in unread if not is_readable(file)).most_common()
    counts += [("about the data, such as README.md", about)] if about else []
    return ", ".join(f"{count} {what}" for what, count in counts)


def parts_of_files(files: Sequence[File], column: str, largest: int, sample_by: SampleBy = "document") -> list[Part]:
    """The files cut at rows or lines, and small ones joined."""
    target = target_size(sum(file.size for file in files), largest)

    def pieces_of(file: File) -> list[Piece]:
        if file.ending in TEXTS:
            return text_pieces(file, sample_by, target)
        return RECORDS[file.ending](file, column, target)

    with ThreadPoolExecutor(OPENERS) as pool:
        return parts_of([piece for pieces in pool.map(pieces_of, files) for piece in pieces], largest)


def lacking(files: Sequence[File], column: str) -> list[str]:
    """`column: fault` where none of the first files has such a field, as far as they can say."""
    seen: set[str] = set()
    for file in files[:LOOKED_AT]:
        fields = _fields(file, column)
        if fields is None or column in fields:
            return []
        seen |= fields
    return [f"column: {column!r} is not among {sorted(seen)}"]


def _fields(file: File, column: str) -> set[str] | None:
    """Of the file's records, and the column if it lies within one; None when the format has none or the file cannot
    say."""
    try:
        if file.ending == ".parquet":
            return _of_schema(parquet_schema(file), column)
        if file.ending in (".arrow", ".feather"):
            return _of_schema(arrow_schema(file), column)
        if file.ending in (".csv", ".tsv"):
            return set(csv_header(file))
        if file.ending in RECORDS:
            return json_fields(file) or None
    except (*UNREADABLE, ValueError):
        return None  # counted and named when the documents are read
    return None


def _of_schema(schema: pa.Schema, column: str) -> set[str]:
    return {*schema.names, *([column] if column_path(schema, column) else [])}


class SequentialReader:
    """For the pieces of a row group, and of a compressed file."""

    def __init__(self) -> None:
        self.shared: object = None
        """What the last piece was cut from."""
        self.stop: int | None = 0
        """Where the last piece ended in it."""
        self.rest: Iterator[tuple[int, RawDocument | Rejected]] = iter(())
        self.waiting: tuple[int, RawDocument | Rejected] | None = None

    def read(self, piece: Piece) -> Iterator[RawDocument | Rejected]:
        """What `piece.read` yields; what stands after an unreadable place is told once for all of them."""
        if not isinstance(piece, ParquetPiece | JsonLinesPiece) or piece.cut_from is None:
            yield from piece.read()
            return
        if self.shared != piece.cut_from or self.stop != piece.start:
            self.rest = piece.from_start()
            self.waiting = next(self.rest, None)
        self.shared, self.stop = piece.cut_from, piece.stop
        while self.waiting is not None and (piece.stop is None or self.waiting[0] < piece.stop):
            found = self.waiting[1]
            self.waiting = next(self.rest, None)
            yield found

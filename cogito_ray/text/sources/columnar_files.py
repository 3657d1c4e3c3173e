"""Documents in the rows of Parquet, Arrow (Feather) and CSV files."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain, pairwise
from typing import IO, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from cogito_ray.text.sources.documents import MOST_CUTS, Piece, RawDocument, Rejected, field_splits, until
from cogito_ray.text.sources.filesystem_access import UNREADABLE, File

ROWS = 1024
"""Turned into text at a time."""
CSV_BLOCK = 2**24
"""Bytes of a CSV file read at a time; no row may be longer."""
IPC_FILE = b"ARROW1"
"""How an Arrow file begins that has a directory of its record batches; others are streams."""
ArrowReader: TypeAlias = pa.RecordBatchFileReader | pa.RecordBatchStreamReader


@dataclass(frozen=True, slots=True)
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

    @property
    def cut_from(self) -> object:
        """What it shares with other pieces, which is decoded from its start for each; None where it is alone."""
        return (self.file, self.groups) if self.rows else None

    @property
    def start(self) -> int:
        """Its first row in the file."""
        return self.first_row + (self.rows[0] if self.rows else 0)

    @property
    def stop(self) -> int | None:
        """The first row after it; None = it ends with its groups."""
        return self.first_row + self.rows[1] if self.rows else None

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a row; rows that follow an unreadable one are told as one fault."""
        return until(self.stop, self.from_start())

    def from_start(self) -> Iterator[tuple[int, RawDocument | Rejected]]:
        """The rows from its first to the last of its groups, each with its number in the file."""
        row = self.first_row
        try:
            with self.file.open() as stream:
                batches = pq.ParquetFile(stream).iter_batches(ROWS, row_groups=self.groups, columns=[self.column])
                for batch in batches:
                    mine, first = _field(batch, self.column)[max(self.start - row, 0) :], max(self.start, row)
                    yield from enumerate(_values(mine, self.file.path, first), first)
                    row += len(batch)
        except UNREADABLE as error:
            yield row, Rejected(f"{self.file.path}:row {row}", f"unreadable from here: {error}", whole_file=True)


@dataclass(frozen=True, slots=True)
class ArrowPiece:
    """The record batches [start, stop) of an Arrow file, or all of an Arrow stream: a document a row."""

    file: File
    column: str
    size: int
    batches: tuple[int, int] | None = None
    kind: Literal["arrow"] = "arrow"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a row; rows that follow an unreadable one are told as one fault."""
        number = self.batches[0] if self.batches else 0
        try:
            with self.file.open() as stream:
                for number, batch in self._record_batches(_arrow_reader(self.file, stream)):
                    values = _field(batch, self.column)
                    for start in range(0, len(batch), ROWS):
                        place = f"{self.file.path}:batch {number}"
                        yield from _values(values[start : start + ROWS], place, start)
        except UNREADABLE as error:
            yield Rejected(f"{self.file.path}:batch {number}", f"unreadable from here: {error}", whole_file=True)

    def _record_batches(self, reader: ArrowReader) -> Iterator[tuple[int, pa.RecordBatch]]:
        if isinstance(reader, pa.RecordBatchStreamReader):
            return enumerate(reader)
        return ((number, reader.get_batch(number)) for number in range(*(self.batches or ())))


@dataclass(frozen=True, slots=True)
class CsvPiece:
    """A whole CSV file with a header, values separated by commas, or tabs where it ends in .tsv: a document a row."""

    file: File
    column: str
    size: int
    kind: Literal["csv"] = "csv"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """A document a row; values may hold line breaks within quotes."""
        short: list[Rejected] = []

        def told(row: pa.csv.InvalidRow) -> str:
            reason = f"{row.actual_columns} values, but the header has {row.expected_columns}"
            short.append(Rejected(f"{self.file.path}:row {row.number}", reason))
            return "skip"

        row = 0
        try:
            with self.file.open_text() as stream:
                for batch in _open_csv(self.file, stream, told, column=self.column):
                    yield from chain(short, _values(batch.column(0), self.file.path, row))
                    short.clear()
                    row += len(batch)
                yield from short
        except (*UNREADABLE, KeyError) as error:
            place = f"{self.file.path}:row {row}" if row else self.file.path
            yield Rejected(place, f"unreadable{' from here' if row else ''}: {error}", whole_file=True)


@dataclass(frozen=True, slots=True)
class UnreadablePiece:
    """A file that cannot be opened, kept as a piece so that it is counted among the bad ones."""

    file: File
    reason: str
    size: int = 0
    kind: Literal["unreadable"] = "unreadable"

    def read(self) -> Iterator[RawDocument | Rejected]:
        """Tells what is wrong."""
        yield Rejected(self.file.path, self.reason, whole_file=True)


def _open_csv(file: File, stream: IO[bytes], told: object, column: str) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        stream,
        pa.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
        pa.csv.ParseOptions(
            delimiter="\t" if file.ending == ".tsv" else ",", newlines_in_values=True, invalid_row_handler=told
        ),
        pa.csv.ConvertOptions(include_columns=[column], column_types={column: pa.binary()}),
    )


def parquet_pieces(file: File, column: str, target: int) -> list[Piece]:
    """One piece per run of row groups of about `target` bytes; of a group that is much larger, several."""
    try:
        with file.open() as stream:
            parquet = pq.ParquetFile(stream)
    except UNREADABLE as error:
        return [UnreadablePiece(file, f"unreadable: {error}")]
    if column_path(parquet.schema_arrow, column) is None:
        return [UnreadablePiece(file, f"no column {column!r} among {parquet.schema_arrow.names}")]
    pieces: list[Piece] = []
    groups, size, row, first_row = [], 0, 0, 0
    for group in range(parquet.num_row_groups):
        groups.append(group)
        size += _column_bytes(parquet.metadata.row_group(group), column)
        row += parquet.metadata.row_group(group).num_rows
        if size >= target or group == parquet.num_row_groups - 1:
            whole = ParquetPiece(file, column, tuple(groups), first_row, size)
            pieces += _cut(whole, row - first_row, into=min(size // target, MOST_CUTS) if target else 1)
            groups, size, first_row = [], 0, row
    return pieces


def _cut(whole: ParquetPiece, rows: int, *, into: int) -> list[ParquetPiece]:
    """`rows`: how many it has."""
    count = min(into, rows)
    if count < 2:
        return [whole]
    stops = [rows * number // count for number in range(count + 1)]
    return [replace(whole, size=whole.size // count, rows=bounds) for bounds in pairwise(stops)]


def arrow_pieces(file: File, column: str, target: int) -> list[Piece]:
    """One piece per run of record batches of about `target` bytes; an Arrow stream, which has no directory, whole."""
    try:
        with file.open() as stream:
            reader = _arrow_reader(file, stream)
            batches = 0 if isinstance(reader, pa.RecordBatchStreamReader) else reader.num_record_batches
    except UNREADABLE as error:
        return [UnreadablePiece(file, f"unreadable: {error}")]
    if column_path(reader.schema, column) is None:
        return [UnreadablePiece(file, f"no column {column!r} among {reader.schema.names}")]
    if not batches:
        return [ArrowPiece(file, column, file.expanded_size)]
    count = max(1, min(batches, file.size // target if target else 1))
    stops = [batches * number // count for number in range(count + 1)]
    return [ArrowPiece(file, column, file.size // count, bounds) for bounds in pairwise(stops)]


def csv_pieces(file: File, column: str, target: int) -> list[Piece]:
    """The whole file: where a row begins, only those before tell."""
    return [CsvPiece(file, column, file.expanded_size)]


def parquet_schema(file: File) -> pa.Schema:
    """UNREADABLE, as the two below."""
    with file.open() as stream:
        return pq.ParquetFile(stream).schema_arrow


def arrow_schema(file: File) -> pa.Schema:
    """Of an Arrow file or stream."""
    with file.open() as stream:
        return _arrow_reader(file, stream).schema


def csv_header(file: File) -> list[str]:
    """The first row."""
    with file.open_text() as stream:
        return [*pa.csv.open_csv(stream, parse_options=pa.csv.ParseOptions(newlines_in_values=True)).schema.names]


def _arrow_reader(file: File, stream: IO[bytes]) -> ArrowReader:
    if file.compression is None:  # else it can be read only once
        is_file = stream.read(len(IPC_FILE)) == IPC_FILE
        stream.seek(0)
        if is_file:
            return pa.ipc.open_file(stream)
    return pa.ipc.open_stream(stream)


def column_path(schema: pa.Schema | pa.StructType, column: str) -> list[str] | None:
    """The fields that lead to a column: itself, or those of structs where its name is dotted; None without it."""
    names = {field.name: field.type for field in schema}
    if column in names:
        return [column]
    for field, inside in field_splits(column):
        inner = names.get(field)
        if inner is not None and pa.types.is_struct(inner) and (rest := column_path(inner, inside)):
            return [field, *rest]
    return None


def _field(batch: pa.RecordBatch, column: str) -> pa.Array:
    first, *inner = column_path(batch.schema, column) or [column]
    return reduce(pc.struct_field, inner, batch.column(first))


def _column_bytes(group: pq.RowGroupMetaData, column: str) -> int:
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in chunks if f"{c.path_in_schema}.".startswith(f"{column}."))


def _values(column: pa.Array, file: str, first_row: int) -> Iterator[RawDocument | Rejected]:
    for row, value in enumerate(column, first_row):
        place = f"{file}:row {row}"
        try:
            yield RawDocument(place, value.as_py())
        except UnicodeDecodeError as error:
            yield Rejected(place, f"not UTF-8: {error}")

"""The same documents come from every format that people keep text in; what holds none is left out and told."""

import bz2
import csv
import gzip
import json
import lzma
import re
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from corpora import data_spec, texts, two_sources

from cogito_ray.text.preparation_plan import Progress, Result, prepare_with, serially
from cogito_ray.text.sources.documents import MOST_CUTS, Part, Piece, RawDocument, Rejected
from cogito_ray.text.sources.file_formats import RECORDS, SequentialReader
from cogito_ray.text.sources.filesystem_access import File, list_files
from cogito_ray.text.sources.hugging_face_hub import HubSpec
from cogito_ray.text.sources.line_files import text_pieces
from cogito_ray.text.sources.text_files import FilesSpec

REAL = [*list(topics.values())[:30], 'Said "so",\tin\u2028one\u0085row', "naïve 文 \U0001f600"]
"""Prose of the language's reference, with line breaks, quotes, and what ends a line for some readers."""
RECORDS_OF_REAL = [{"id": 0, "text": text} for text in REAL]


def read(parts: Sequence[Part]) -> list[str | Rejected]:
    every = (found for part in parts for found in part.read())
    return [found.text() if isinstance(found, RawDocument) else found for found in every]


def documents(path: Path, **settings: object) -> list[str | Rejected]:
    return read(FilesSpec.model_validate({"path": str(path), **settings}).parts(Path()))


def table(column: pa.Array | None = None) -> pa.Table:
    return pa.table({"id": range(len(REAL)), "text": REAL if column is None else column})


def parquet(rows: pa.Table) -> bytes:
    pq.write_table(rows, sink := pa.BufferOutputStream(), row_group_size=7)
    return bytes(sink.getvalue())


def arrow(rows: pa.Table, opened: Callable[..., pa.ipc.RecordBatchStreamWriter] = pa.ipc.new_file) -> bytes:
    with opened(sink := pa.BufferOutputStream(), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=7)
    return bytes(sink.getvalue())


def feather() -> bytes:
    pa.feather.write_feather(table(), sink := pa.BufferOutputStream(), compression="zstd", chunksize=7)
    return bytes(sink.getvalue())


def lines(records: Sequence[object] = RECORDS_OF_REAL) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def separated(delimiter: str) -> bytes:
    csv.writer(written := StringIO(), delimiter=delimiter).writerows([("id", "text"), *enumerate(REAL)])
    return written.getvalue().encode()


def compressed(codec: str, content: bytes) -> bytes:
    with pa.CompressedOutputStream(sink := pa.BufferOutputStream(), codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def twice(compress: Callable[[bytes], bytes]) -> bytes:
    """In two frames, as several writers or appending leave them."""
    half = len(lines()) // 2
    return compress(lines()[:half]) + compress(lines()[half:])


large = pa.array(REAL, pa.large_string())
FILES = {
    "a.parquet": parquet(table()),
    "large.parquet": parquet(table(large)),
    "dictionary.parquet": parquet(table(pa.array(REAL).dictionary_encode())),
    "bytes.parquet": parquet(table(pa.array([text.encode() for text in REAL]))),
    "data-00000-of-00001.arrow": arrow(table(), pa.ipc.new_stream),
    "file.arrow": arrow(table()),
    "a.feather": feather(),
    "a.jsonl": lines(),
    "A.NDJSON": lines(),
    "marked.json": b"\xef\xbb\xbf" + lines(),
    "c4-train.00000-of-01024.json.gz": twice(gzip.compress),
    "a.jsonl.bz2": twice(bz2.compress),
    "a.jsonl.xz": twice(lzma.compress),
    "a.jsonl.zst": twice(lambda content: compressed("zstd", content)),
    "a.jsonl.zstd": compressed("zstd", lines()),
    "a.jsonl.lz4": compressed("lz4", lines()),
    "a.csv": separated(","),
    "marked.csv": b"\xef\xbb\xbf" + separated(","),
    "a.csv.gz": gzip.compress(separated(",")),
    "a.tsv": separated("\t"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert FilesSpec(path=str(tmp_path)).faults() == []
    assert documents(tmp_path) == REAL
    [file] = list_files(str(tmp_path))
    assert read([Part((piece,)) for piece in RECORDS[file.ending](file, "text", 2000)]) == REAL


@pytest.mark.parametrize(
    ("column", "values"),
    [("text.en", [{"en": text, "de": None} for text in REAL]), ("text", [text.splitlines() for text in REAL])],
    ids=["nested", "list"],
)
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl"])
def test_fields_within_fields_and_lists_of_lines_are_read(
    tmp_path: Path, name: str, column: str, values: list[object]
) -> None:
    rows = pa.table({"text": values})
    content = {"a.parquet": parquet(rows), "a.arrow": arrow(rows), "a.jsonl": lines(rows.to_pylist())}
    (tmp_path / name).write_bytes(content[name])
    assert FilesSpec(path=str(tmp_path), column=column).faults() == []
    expected = REAL if column == "text.en" else ["\n".join(text.splitlines()) for text in REAL]
    assert documents(tmp_path, column=column) == expected
    [fault] = FilesSpec(path=str(tmp_path), column="text.fr.x").faults()
    assert fault.startswith("column: 'text.fr.x' is not among ['text'")


def test_a_field_whose_name_has_a_dot_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet(pa.table({"my.text": REAL})))
    (tmp_path / "b.jsonl").write_bytes(lines([{"my.text": text} for text in REAL]))
    assert documents(tmp_path, column="my.text") == REAL * 2


@pytest.mark.parametrize("target", [1, 40, 333, 10**6])
def test_paragraphs_and_lines_come_once_wherever_a_file_is_cut(tmp_path: Path, target: int) -> None:
    text = "\n" + "\r\n \n\n".join(REAL[:4]) + "\n\n"
    (tmp_path / "a.txt").write_text(text, newline="")
    [file] = list_files(str(tmp_path))
    found = {by: read([Part((p,)) for p in text_pieces(file, by, target)]) for by in ("paragraph", "line")}
    rows = text.replace("\r\n", "\n").split("\n")
    assert found["line"] == [row for row in rows if row.strip()]
    blocks = "\n".join(row if row.strip() else "" for row in rows).split("\n\n")
    assert found["paragraph"] == [block.strip("\n").rstrip() for block in blocks if block.strip()]
    assert documents(tmp_path, sample_by="paragraph") == found["paragraph"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a source, apart from where it is prepared."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def test_records_without_text_are_counted_and_no_fault_unless_all_are(folder: Path, tmp_path: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines([{"meta": 1}, {"text": None}, *({"text": text} for text in texts(80, 1))]))
    source = {"kind": "files", "path": str(folder)}
    [made] = prepare_with(serially, data_spec({"a": source}), tmp_path / "s").sources
    manifest = made.shards.manifest
    assert (manifest.without_text, manifest.bad_documents, sum(manifest.documents.values())) == (2, 0, 80)
    faults = ({"meta": 1}, "'text' is not among ['meta']"), ({"text": None}, "none of 200 records has text")
    for record, said in faults:
        (folder / "a.jsonl").write_bytes(lines([record] * 200))
        with pytest.raises(ValueError, match=re.escape(f"data.sources.a.column: {said}")):
            prepare_with(serially, data_spec({**two_sources(tmp_path / said), "a": source}), tmp_path / "s")


def test_files_beside_data_are_left_out_and_told_once(folder: Path, tmp_path: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines([{"text": text} for text in texts(80, 1)]))
    for name in ("README.md", "LICENSE.txt", "dataset_info.json", "state.json", "a.pdf", "b.pdf", "Makefile"):
        (folder / name).write_text("No document.")
    told: list[Progress] = []
    data = data_spec({"a": {"kind": "files", "path": str(folder)}})
    prepare_with(serially, data, tmp_path / "s", told.append)
    said = [each.stage for each in told if "left out" in each.stage]
    assert said == ["a: files left out: 2 .pdf, 1 without an ending, 4 about the data, such as README.md"]
    assert documents(folder / "README.md") == ["No document."]        # what is named is meant
    (folder / "a.jsonl").unlink()
    [fault] = FilesSpec(path=str(folder)).faults()
    assert fault.endswith("(2 .pdf, 1 without an ending, 4 about the data, such as README.md)")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_utf_16_is_refused_by_name_for_the_whole_file(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes('{"text": "some words"}\n{"text": "more words"}\n'.encode(encoding))
    [bad] = documents(tmp_path)
    assert isinstance(bad, Rejected)
    assert (bad.whole_file, bad.reason) == (
        True, "unreadable: UTF-16, not UTF-8; convert it, as with iconv -f UTF-16 -t UTF-8",
    )


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffwords")
    assert documents(tmp_path) == ["words"]


@pytest.mark.parametrize(
    "content",
    ['[\n{"text": "one"}\n]', '{\n"text": "one"\n}', '[{"text": "one"}]',
     '{"text": "one",\n"n": 1}', '[{"n": 1},\n{"n": 2}]'],
)
def test_a_json_value_that_is_no_lines_of_records_is_named_whole(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    [bad] = documents(tmp_path)
    assert isinstance(bad, Rejected)
    assert (bad.whole_file, "not JSON Lines" in bad.reason) == (True, True)


def test_a_large_text_that_would_be_one_document_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with (tmp_path / "books.txt").open("wb") as large:
        large.truncate(300 * 2**20)
    (tmp_path / "short.txt").write_text("words")
    [fault] = FilesSpec(path=str(tmp_path)).faults()
    assert fault.startswith(f"sample_by: {tmp_path}/books.txt holds 300 MB, which as one document takes gigabytes")
    assert fault.endswith("write sample_by: paragraph (or line), or cut the file up")
    assert FilesSpec(path=str(tmp_path), sample_by="paragraph").faults() == []


def test_csv_rows_of_other_widths_are_named_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,one\n2,two,too much\n3\n4,"four\nlines"\n')
    found = documents(tmp_path)
    assert [each for each in found if isinstance(each, str)] == ["one", "four\nlines"]
    assert [each.reason for each in found if isinstance(each, Rejected)] == [
        "3 values, but the header has 2", "1 values, but the header has 2",
    ]


@pytest.mark.parametrize("url", ["{}", "file://{}", "{}/*.jsonl", "{}/**", "{}/a.jsonl"])
def test_links_are_followed_however_files_are_named(tmp_path: Path, url: str) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0a1b").write_bytes(lines())
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.jsonl").symlink_to(tmp_path / "blobs" / "0a1b")
    assert read(FilesSpec(path=url.format(tmp_path / "linked")).parts(Path())) == REAL


def test_linked_folders_are_read_once_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jsonl").write_bytes(lines())
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "root")
    (tmp_path / "root").mkdir()
    for name in ("one", "two"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "real")
    (tmp_path / "root" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert documents(tmp_path / "root") == REAL


def test_a_folder_of_the_hubs_cache_is_the_snapshot_that_the_revision_names(tmp_path: Path) -> None:
    for commit, values in (("0a" * 20, REAL), ("1b" * 20, ["older"])):
        file = tmp_path / "snapshots" / commit / "data" / "train-00000-of-00001.parquet"
        file.parent.mkdir(parents=True)
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / "blobs" / commit).write_bytes(parquet(pa.table({"text": values})))
        file.symlink_to(tmp_path / "blobs" / commit)
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("0a" * 20)
    assert read(HubSpec(name=str(tmp_path)).parts(Path())) == REAL
    assert read(HubSpec(name=str(tmp_path), revision="1b" * 20).parts(Path())) == ["older"]


def test_a_dataset_of_compressed_json_lines_is_read_by_its_card(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "c4-train.00000-of-01024.json.gz").write_bytes(gzip.compress(lines()))
    card = "---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: en/c4-train.*.json.gz}\n---\n"
    (tmp_path / "README.md").write_text(card)
    assert read(HubSpec(name=str(tmp_path), config="en").parts(Path())) == REAL


BRACKETED = "text [x] {y}"


@pytest.mark.parametrize("path", [BRACKETED, f"{BRACKETED}/*.jsonl", f"{BRACKETED}/a.jsonl", "text [[]x] {y}/?.jsonl"])
def test_brackets_in_a_name_that_exists_are_no_glob(tmp_path: Path, path: str) -> None:
    (tmp_path / "text [x] {y}").mkdir()
    (tmp_path / "text [x] {y}" / "a.jsonl").write_bytes(lines())
    spec = FilesSpec(path=str(tmp_path / path))
    assert read(spec.parts(Path())) == REAL
    assert [name.rpartition("/")[2] for name in spec.fingerprint()["files"]] == ["a.jsonl"]  # type: ignore[attr-defined]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: compressed("zstd", content),
    ".lz4": lambda content: compressed("lz4", content),
}


def cut_pieces(folder: Path, ending: str, values: list[str], torn: int = 0) -> list[Piece]:
    """Of compressed JSON Lines, cut as often as can be; `torn`: bytes lacking at the end."""
    content = COMPRESS[ending](lines([{"text": value} for value in values]))
    (folder / f"a.jsonl{ending}").write_bytes(content[: len(content) - torn])
    [file] = list_files(str(folder))
    return RECORDS[".jsonl"](file, "text", 1)


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_is_cut_at_lines_and_decompressed_once_in_a_row(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = texts(2000, seed=4)
    pieces = cut_pieces(tmp_path, ending, values)
    assert len(pieces) == (MOST_CUTS // 4 if ending in (".bz2", ".xz") else MOST_CUTS)
    alone = [read([Part((piece,))]) for piece in pieces]
    assert [text for few in alone for text in few] == values
    assert sum(map(bool, alone)) > len(pieces) / 2              # none holds most, though the size is estimated
    opened = []
    monkeypatch.setattr(File, "open", lambda self, opening=File.open: opened.append(1) or opening(self))
    reader = SequentialReader()
    assert [[one.text() for one in reader.read(piece) if isinstance(one, RawDocument)] for piece in pieces] == alone
    assert len(opened) == 1
    assert [one.text() for one in reader.read(pieces[3]) if isinstance(one, RawDocument)] == alone[3]


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_what_stands_before_the_tear_of_a_compressed_file_is_read_from_every_piece(tmp_path: Path, ending: str) -> None:
    values = texts(2000, seed=4)
    found = read([Part((piece,)) for piece in cut_pieces(tmp_path, ending, values, torn=2000)])
    good = [each for each in found if isinstance(each, str)]
    assert 500 < len(good) < 2000
    assert good == values[: len(good)]
    assert all(each.whole_file for each in found if isinstance(each, Rejected))


def test_a_small_compressed_file_is_one_piece(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines()))
    [file] = list_files(str(tmp_path))
    assert len(RECORDS[".jsonl"](file, "text", 10**6)) == 1


def test_a_large_compressed_file_is_prepared_by_several_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted preparation keeps what those that ended have written."""
    monkeypatch.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 4000)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.json.gz").write_bytes(gzip.compress(lines([{"text": each} for each in texts(900, seed=5)])))
    data = data_spec({"web": {"kind": "files", "path": str(tmp_path / "text")}})

    def interrupted(work: Sequence[Callable[[], Result]]) -> Iterator[tuple[int, Result]]:
        yield from islice(serially(work), 5)
        if len(work) > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_with(interrupted, data, tmp_path / "s")
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "s" / "tokens").rglob("train-*")}
    assert len(written) == 5
    corpus = prepare_with(serially, data, tmp_path / "s")
    assert written.items() <= {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("train-*")}.items()
    assert sum(corpus.sources[0].shards.manifest.documents.values()) == 900

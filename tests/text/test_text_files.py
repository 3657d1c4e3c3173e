"""Every document of every file format is read once, wherever parts are cut; what is broken is named."""

import gzip
import json
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import texts

from cogito_ray.text.sources.documents import MOST_CUTS, Part, RawDocument, Rejected
from cogito_ray.text.sources.file_formats import RECORDS, SequentialReader
from cogito_ray.text.sources.filesystem_access import list_files
from cogito_ray.text.sources.text_files import FilesSpec


def read(parts: list[Part]) -> list[str | Rejected]:
    every = (found for part in parts for found in part.read())
    return [found.text() if isinstance(found, RawDocument) else found for found in every]


def documents(spec: FilesSpec) -> list[str | Rejected]:
    return read(spec.parts(Path()))


def json_lines(values: list[str]) -> bytes:
    return "".join(json.dumps({"text": value}, ensure_ascii=False) + "\n" for value in values).encode()


def write_parquet(file: Path, values: pa.Array, groups: int = 1000) -> None:
    pq.write_table(pa.table({"text": values}), file, row_group_size=groups)


def test_formats_are_told_by_their_endings(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pa.array(["one", "two"]))
    (tmp_path / "b.jsonl").write_bytes(json_lines(["three", "four"]))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(json_lines(["five"])))
    with pa.CompressedOutputStream(str(tmp_path / "c2.jsonl.zst"), "zstd") as stream:
        stream.write(json_lines(["five and a half"]))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.txt").write_text("six\nstill six")
    (tmp_path / "e.pdf").write_text("no document")
    (tmp_path / ".hidden.txt").write_text("no document")
    expected = ["one", "two", "three", "four", "five", "five and a half", "six\nstill six"]
    assert documents(FilesSpec(path=str(tmp_path))) == expected


@pytest.mark.parametrize("target", [1, 50, 333, 10_000])
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_pieces_of_any_size_hold_every_document_once(tmp_path: Path, ending: str, target: int) -> None:
    values = [f"täxt {text}" for text in texts(40, seed=1)]
    file = tmp_path / f"a{ending}"
    file.write_bytes(json_lines(values))
    if ending == ".parquet":
        write_parquet(file, pa.array(values), groups=7)
    [listed] = list_files(str(file))
    assert read([Part((piece,)) for piece in RECORDS[ending](listed, "text", target)]) == values


def test_a_large_row_group_is_cut_at_rows_which_keep_their_places(tmp_path: Path) -> None:
    values = [f"text {number}" for number in range(5000)]
    write_parquet(tmp_path / "a.parquet", pa.array(values), groups=4000)
    [listed] = list_files(str(tmp_path / "a.parquet"))
    size = sum(piece.size for piece in RECORDS[".parquet"](listed, "text", 0))
    pieces = RECORDS[".parquet"](listed, "text", size // 10)
    found = [list(piece.read()) for piece in pieces]
    assert [(each.place.rsplit("row ", 1)[1], each.value) for few in found for each in few] == [
        (str(number), value) for number, value in enumerate(values)
    ]
    assert all(400 < len(few) < 600 for few in found)
    assert sum(piece.size for piece in pieces) == pytest.approx(size, rel=0.01)


def test_a_row_group_that_many_parts_share_is_decoded_once_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [f"text {number}" for number in range(50_000)]
    write_parquet(tmp_path / "a.parquet", pa.array(values), groups=40_000)
    [listed] = list_files(str(tmp_path / "a.parquet"))
    pieces = RECORDS[".parquet"](listed, "text", 100)
    assert len(pieces) == 2 * MOST_CUTS
    opened = []
    monkeypatch.setattr(pq, "ParquetFile", lambda stream, opening=pq.ParquetFile: opened.append(1) or opening(stream))
    reader = SequentialReader()
    found = [[each.text() for each in reader.read(piece) if isinstance(each, RawDocument)] for piece in pieces]
    assert len(opened) == 2                     # row groups
    assert found == [read([Part((piece,))]) for piece in pieces]
    assert [text for few in found for text in few] == values
    alone = [each.text() for each in reader.read(pieces[40]) if isinstance(each, RawDocument)]
    assert alone == found[40]


@pytest.mark.parametrize("url", ["file://{}", "simplecache::file://{}", "{}/*.jsonl", "{}/a.jsonl"])
def test_any_way_to_name_files_reads_the_same(tmp_path: Path, url: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines(["one", "two"]))
    assert documents(FilesSpec(path=url.format(tmp_path))) == ["one", "two"]


def test_any_fsspec_file_system_will_do() -> None:
    with fsspec.open("memory://corpus/a.jsonl", "wb") as stream:
        stream.write(json_lines(["one"]))
    assert documents(FilesSpec(path="memory://corpus")) == ["one"]


def test_bad_documents_are_named_and_the_others_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pa.array([b"good", b"\xff\xfe", b"  \n", None], pa.binary()))
    lines = [b'{"text": "fine"}', b"{broken", b'{"other": 1}', b'{"text": 3}', b'{"text": "\\ud800"}']
    (tmp_path / "b.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "c.txt").write_bytes(b"\xff")
    found = documents(FilesSpec(path=str(tmp_path)))
    assert [each for each in found if isinstance(each, str)] == ["good", "fine"]
    named = [(Path(bad.place).name, bad.reason.split(":")[0]) for bad in found if isinstance(bad, Rejected)]
    assert named == [
        ("a.parquet:row 1", "not UTF-8"),
        ("a.parquet:row 2", "empty"),
        ("a.parquet:row 3", "not text but NoneType"),
        ("b.jsonl:byte 17", "not JSON"),
        ("b.jsonl:byte 25", "no field 'text'"),
        ("b.jsonl:byte 38", "not text but int"),
        ("b.jsonl:byte 50", "not UTF-8"),
        ("c.txt", "not UTF-8"),
    ]


def test_text_columns_that_lie_about_utf8_lose_only_the_bad_value(tmp_path: Path) -> None:
    lying = pa.array([b"good", b"\xff", b"also good"], pa.binary()).cast(pa.large_binary())
    text = pa.LargeStringArray.from_buffers(3, *lying.buffers()[1:])
    write_parquet(tmp_path / "a.parquet", text)
    good, bad, also_good = documents(FilesSpec(path=str(tmp_path)))
    assert (good, also_good) == ("good", "also good")
    assert isinstance(bad, Rejected)


def test_unreadable_files_are_named_whole(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    write_parquet(tmp_path / "b.parquet", pa.array(texts(2000, seed=0)), groups=500)
    torn = bytearray((tmp_path / "b.parquet").read_bytes())
    torn[4:2000] = bytes(1996)
    (tmp_path / "b.parquet").write_bytes(torn)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(json_lines(["x"] * 1000))[:-12])
    bad = [each for each in documents(FilesSpec(path=str(tmp_path))) if isinstance(each, Rejected)]
    assert [Path(each.place.split(":")[0]).name for each in bad] == ["a.parquet", "b.parquet", "c.jsonl.gz"]
    assert all(each.whole_file for each in bad)


def test_faults_name_field_value_and_way_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pa.array(["one"]))
    (tmp_path / "empty").mkdir()
    assert FilesSpec(path=str(tmp_path)).faults() == []
    assert FilesSpec(path=str(tmp_path), column="body").faults() == ["column: 'body' is not among ['text']"]
    [nowhere] = FilesSpec(path="/nowhere/at/all").faults()
    assert nowhere.startswith("path: '/nowhere/at/all' cannot be listed")
    [nothing] = FilesSpec(path=str(tmp_path / "empty")).faults()
    assert "holds no file that ends in .parquet" in nothing


def test_the_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("same")
    here, there = (FilesSpec(path=str(tmp_path / folder)) for folder in ("here", "there"))
    now = 1_700_000_000
    for folder in ("here", "there"):
        os.utime(tmp_path / folder / "a.txt", (now, now))
    assert here.fingerprint() == there.fingerprint()
    (tmp_path / "here" / "a.txt").write_text("also")
    assert here.fingerprint() != there.fingerprint()

"""The hub's own loading code, on a local dataset folder."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cogito_ray.text.document import Found
from cogito_ray.text.sources.hub import HubSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number in range(3):
        table = pa.table({"id": [number] * 2, "text": [f"document {number}-0", f"document {number}-1"]})
        pq.write_table(table, tmp_path / "data" / f"train-{number:05d}-of-00003.parquet")
    pq.write_table(pa.table({"text": ["for testing"]}), tmp_path / "data" / "test-00000-of-00001.parquet")
    return tmp_path


def test_every_document_of_the_split_is_in_one_part(folder: Path) -> None:
    parts = HubSpec(name=str(folder)).parts(Path())
    found = [each.text() for part in parts for each in part.read() if isinstance(each, Found)]
    assert len(parts) == 3
    assert found == [f"document {file}-{row}" for file in range(3) for row in range(2)]


def test_faults_name_the_field(folder: Path) -> None:
    assert HubSpec(name=str(folder)).faults() == []
    assert HubSpec(name=str(folder), column="body").faults() == ["column: 'body' is not among ['id', 'text']"]
    [split] = HubSpec(name=str(folder), split="dev").faults()
    assert split.startswith(f"name: {str(folder)!r} cannot be loaded")


def test_the_fingerprint_changes_with_the_files(folder: Path) -> None:
    before = HubSpec(name=str(folder)).fingerprint()
    pq.write_table(pa.table({"id": [0], "text": ["changed"]}), folder / "data" / "train-00000-of-00003.parquet")
    assert HubSpec(name=str(folder)).fingerprint() != before

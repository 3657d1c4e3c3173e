"""Layouts of well-known datasets of the hub, in a local folder and behind an hf:// file system."""

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry

from cogito_ray.text.sources.documents import RawDocument
from cogito_ray.text.sources.hugging_face_hub import HubSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WIKIPEDIA = ["20231101.en/train-00000-of-00002.parquet", "20231101.en/train-00001-of-00002.parquet"]
LAYOUTS = {
    "wikimedia/wikipedia": [*WIKIPEDIA, "20231101.de/train-00000-of-00001.parquet"],
    "Skylion007/openwebtext": [f"plain_text/train-{n:05d}-of-00002.parquet" for n in range(2)],
    "JeanKaddour/minipile": [
        "data/train-00000-of-00002-6936735be46f2d.parquet",
        "data/train-00001-of-00002-2a1ce24eb2ba.parquet",
        "data/validation-00000-of-00001-a2192e61a0.parquet",
        "data/test-00000-of-00001-010a6231c4b5.parquet",
    ],
    "HuggingFaceFW/fineweb-edu": [
        "data/CC-MAIN-2013-20/train-00000-of-00001.parquet",
        "data/CC-MAIN-2025-26/000_00000.parquet",
        "sample/10BT/000_00000.parquet",
    ],
}
README = """---
language: [en]
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*/*
- config_name: sample-10BT
  data_files:
  - split: train
    path: sample/10BT/*
---
# FineWeb-Edu
"""


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    """Every layout below owner/name; each document says which file it is of."""
    for name, paths in LAYOUTS.items():
        for path in paths:
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"id": [0, 1], "text": [f"{path} 0", f"{path} 1"]}), file, row_group_size=1)
    (tmp_path / "HuggingFaceFW/fineweb-edu/README.md").write_text(README)
    return tmp_path


@pytest.fixture
def hub(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serves `datasets` as hf://datasets/<owner>/<name>@<commit>/..."""

    class Hub(LocalFileSystem):  # type: ignore[misc]
        protocol = "hf"
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str | os.PathLike[str]) -> str:
            place = os.fspath(path).removeprefix("hf://").removeprefix("datasets/").replace(f"@{COMMIT}", "")
            return place if place.startswith("/") else str(datasets / place)

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            return super().info(self._strip_protocol(path), **options)

    monkeypatch.setitem(_registry, "hf", Hub)


def read(spec: HubSpec) -> list[str]:
    parts = spec.parts(Path())
    return [str(each.text()) for part in parts for each in part.read() if isinstance(each, RawDocument)]


def documents(*paths: str) -> list[str]:
    return [f"{path} {row}" for path in paths for row in range(2)]


CHOICES = [
    ("wikimedia/wikipedia", {"config": "20231101.en"}, WIKIPEDIA),
    ("Skylion007/openwebtext", {}, LAYOUTS["Skylion007/openwebtext"]),
    ("JeanKaddour/minipile", {}, LAYOUTS["JeanKaddour/minipile"][:2]),
    ("JeanKaddour/minipile", {"split": "validation"}, LAYOUTS["JeanKaddour/minipile"][2:3]),
    ("HuggingFaceFW/fineweb-edu", {}, LAYOUTS["HuggingFaceFW/fineweb-edu"][:2]),
    ("HuggingFaceFW/fineweb-edu", {"config": "sample-10BT"}, LAYOUTS["HuggingFaceFW/fineweb-edu"][2:]),
]


@pytest.mark.parametrize(("name", "chosen", "paths"), CHOICES)
@pytest.mark.usefixtures("hub")
def test_config_and_split_choose_the_files(name: str, chosen: dict[str, str], paths: list[str]) -> None:
    assert read(HubSpec(name=name, revision=COMMIT, **chosen)) == documents(*paths)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "chosen", "paths"), CHOICES)
def test_a_local_copy_gives_the_same_documents(
    datasets: Path, name: str, chosen: dict[str, str], paths: list[str]
) -> None:
    assert read(HubSpec(name=str(datasets / name), **chosen)) == documents(*paths)  # type: ignore[arg-type]


@pytest.mark.usefixtures("hub")
def test_what_is_prepared_is_named_by_the_commit() -> None:
    spec = HubSpec(name="wikimedia/wikipedia", config="20231101.en", revision=COMMIT)
    assert spec.fingerprint() == {
        "config": "20231101.en",
        "split": "train",
        "column": "text",
        "name": "wikimedia/wikipedia",
        "commit": COMMIT,
    }


FAULTS = [
    ({"name": "wikimedia/wikipedia"}, "config: none is given of those of the dataset: 20231101.de, 20231101.en"),
    ({"name": "wikimedia/wikipedia", "config": "en"}, "config: 'en' is not among .*: 20231101.de, 20231101.en"),
    ({"name": "HuggingFaceFW/fineweb-edu", "config": "10BT"}, "config: '10BT' is not among .*: default, sample-10BT"),
    ({"name": "JeanKaddour/minipile", "split": "dev"}, "split: 'dev' is not among .*minipile: test, train, validation"),
    ({"name": "JeanKaddour/minipile", "column": "body"}, r"column: 'body' is not among \['id', 'text'\]"),
    ({"name": "JeanKaddour/nothing"}, "name: 'JeanKaddour/nothing' cannot be listed"),
]


@pytest.mark.parametrize(("chosen", "said"), FAULTS)
@pytest.mark.usefixtures("hub")
def test_faults_name_the_field_and_what_there_is(chosen: dict[str, str], said: str) -> None:
    [fault] = HubSpec(revision=COMMIT, **chosen).faults()  # type: ignore[arg-type]
    assert re.match(said, fault)


def test_a_dataset_without_parquet_files_names_the_converted_copy(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text("")
    [fault] = HubSpec(name=str(tmp_path)).faults()
    assert fault.endswith("most datasets at revision: refs/convert/parquet")


def test_the_fingerprint_changes_with_the_files(datasets: Path) -> None:
    folder = datasets / "Skylion007" / "openwebtext"
    before = HubSpec(name=str(folder)).fingerprint()
    pq.write_table(pa.table({"id": [0], "text": ["changed"]}), folder / LAYOUTS["Skylion007/openwebtext"][0])
    assert HubSpec(name=str(folder)).fingerprint() != before


def test_a_hub_that_cannot_be_reached_is_told_with_the_name_that_was_asked_for(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (fault,) = HubSpec(name="wikimedia/wikipedia").faults()
    assert "'wikimedia/wikipedia' cannot be listed (the hub was asked for its commit: " in fault


@pytest.mark.parametrize(
    "card",
    [
        "---\nconfigs: [{config_name: default\n---\n",
        "---\n- configs\n---\n",
        "---\nconfigs: {default: data/*}\n---\n",
        "---\nconfigs:\n- config_name: default\n  data_files: [{split: train}]\n---\n",
        b"---\nlanguage: \xff\n---\n",
    ],
    ids=["no YAML", "a list", "no list of configs", "no path", "no UTF-8"],
)
def test_a_card_that_cannot_be_read_is_a_fault_that_names_it(datasets: Path, card: str | bytes) -> None:
    folder = datasets / "JeanKaddour/minipile"
    (folder / "README.md").write_bytes(card if isinstance(card, bytes) else card.encode())
    [fault] = HubSpec(name=str(folder)).faults()
    assert fault.startswith(f"name: the README.md of '{folder}' does not say in YAML which files there are (")
    assert fault.endswith("mend it there, or use the hub's converted copy, revision: refs/convert/parquet")


@pytest.mark.parametrize("files", ["data/*", "[data/*]", "{split: train, path: [data/*]}"])
def test_a_card_may_say_its_files_in_any_of_the_hubs_ways(datasets: Path, files: str) -> None:
    folder = datasets / "JeanKaddour/minipile"
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: 2024\n  data_files: {files}\n---\n")
    assert len(HubSpec(name=str(folder), config="2024").files) == 4

"""Runs that name data sets of the Hugging Face hub, read from folders laid out as the hub has them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cogito_ray.sweeps.yaml_io.yaml_loader import load, load_run
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.sources.documents import RawDocument

ROOT, COMMIT = Path(__file__).parents[2], "0a" * 20
TEXTS = ["A few words of a document.", "Others, in another one.", "naïve 文\n\nand a second paragraph"]
CONFIGS = "---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: train\n    path: {path}\n---\n"
LAYOUTS = {  # source -> its Parquet file, its README.md, and its columns
    "wikipedia": (
        "20231101.en/train-00000-of-00041.parquet",
        CONFIGS.format(config="20231101.en", path="20231101.en/train-*"),
        {"id": "12", "url": "https://en.wikipedia.org/wiki/Anarchism", "title": "Anarchism", "text": ""},
    ),
    "openwebtext": ("plain_text/train-00000-of-00080.parquet", "", {"text": ""}),
    "minipile": ("data/train-00000-of-00012-6fbcb5959bd6941c.parquet", "", {"text": ""}),
    "fineweb_edu": (
        "sample/10BT/000_00000.parquet",
        CONFIGS.format(config="sample-10BT", path="sample/10BT/*"),
        {"text": "", "id": "<urn:uuid:0>", "dump": "CC-MAIN-2024-10", "url": "https://example.org", "score": 3.5},
    ),
}


SOURCES = {"openwebtext": {"wikipedia", "openwebtext"}, "minipile": {"minipile"}, "fineweb_edu": {"fineweb_edu"}}


def cached(folder: Path, name: str) -> Path:
    """The data set with a few rows, as the hub's cache has it: a snapshot of links."""
    file, readme, columns = LAYOUTS[name]
    table = pa.table({column: TEXTS if column == "text" else [value] * len(TEXTS) for column, value in columns.items()})
    repository = folder / f"datasets--owner--{name}"
    snapshot = repository / "snapshots" / COMMIT
    for parent in (repository / "refs", repository / "blobs", (snapshot / file).parent):
        parent.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    pq.write_table(table, repository / "blobs" / "1")
    (repository / "blobs" / "2").write_text(readme)
    (snapshot / file).symlink_to(repository / "blobs" / "1")
    (snapshot / "README.md").symlink_to(repository / "blobs" / "2")
    return repository


def of_sweep(name: str) -> DataSpec:
    [data] = load(ROOT / "search_spaces" / f"{name}.yaml").search_space.corpora()
    return data


def of_run(name: str) -> DataSpec:
    return load_run(ROOT / "jobs" / f"{name}.yaml").data


@pytest.mark.parametrize("data_of", [of_sweep, of_run])
@pytest.mark.parametrize("name", SOURCES)
def test_sweeps_and_runs_find_their_text_in_the_hubs_own_layout(
    tmp_path: Path, name: str, data_of: Callable[[str], DataSpec]
) -> None:
    data = data_of(name)
    assert data.sources.keys() == SOURCES[name]
    for source_name, source in data.sources.items():
        local = source.model_copy(update={"name": str(cached(tmp_path, source_name))})
        assert local.faults() == []
        found = [document for part in local.parts(tmp_path) for document in part.read()]
        assert [document.text() for document in found if isinstance(document, RawDocument)] == TEXTS


def test_a_sweep_and_its_full_run_read_the_same_text() -> None:
    for name in SOURCES:
        sweep, run = (
            {key: source.model_copy(update={"weight": 1.0}) for key, source in data_of(name).sources.items()}
            for data_of in (of_sweep, of_run)
        )
        assert sweep == run

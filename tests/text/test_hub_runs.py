"""Runs that name data sets of the Hugging Face hub, read from folders laid out as the hub has them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cogito_ray.sweeps.yaml_io.yaml_loader import load_run

JOBS = Path(__file__).parents[2] / "jobs"
TEXT = "A few words of a document."
CONFIGS = "---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: train\n    path: {path}\n---\n"
LAYOUTS = {  # source -> its Parquet file, its README.md, and its columns
    "wikipedia": (
        "20231101.en/train-00000-of-00041.parquet",
        CONFIGS.format(config="20231101.en", path="20231101.en/train-*"),
        {"id": "12", "url": "https://en.wikipedia.org/wiki/Anarchism", "title": "Anarchism", "text": TEXT},
    ),
    "openwebtext": ("plain_text/train-00000-of-00080.parquet", "", {"text": TEXT}),
    "minipile": ("data/train-00000-of-00012-6fbcb5959bd6941c.parquet", "", {"text": TEXT}),
    "fineweb_edu": (
        "sample/10BT/000_00000.parquet",
        CONFIGS.format(config="sample-10BT", path="sample/10BT/*"),
        {"text": TEXT, "id": "<urn:uuid:0>", "dump": "CC-MAIN-2024-10", "url": "https://example.org", "score": 3.5},
    ),
}


@pytest.mark.parametrize(
    ("job", "sources"),
    [("openwebtext", {"wikipedia", "openwebtext"}), ("minipile", {"minipile"}), ("fineweb_edu", {"fineweb_edu"})],
)
def test_a_run_finds_its_text_in_the_hubs_own_layout(tmp_path: Path, job: str, sources: set[str]) -> None:
    run = load_run(JOBS / f"{job}.yaml")
    assert run.data.sources.keys() == sources
    for name, source in run.data.sources.items():
        file, readme, columns = LAYOUTS[name]
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / "README.md").write_text(readme)
        pq.write_table(pa.table({column: [value] for column, value in columns.items()}), tmp_path / name / file)
        local = source.model_copy(update={"name": str(tmp_path / name)})
        assert local.faults() == []
        assert [document.text() for part in local.parts(tmp_path) for document in part.read()] == [TEXT]

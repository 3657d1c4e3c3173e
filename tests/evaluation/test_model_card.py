"""What an export says of itself is what the ledger says, and the Hub's own library reads it."""

import shutil
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer
from huggingface_hub import ModelCard, parse_eval_result_entries

import cogito_ray as cr
from cogito_ray.records.ledger import Evaluated, TaskScore


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory) -> Path:
    """The run, of which the ledger tells a score of stsb, and a baseline's."""
    run, folder, _ = trained
    storage = tmp_path_factory.mktemp("evaluated") / "storage"
    shutil.copytree(folder.parent, storage)
    scores = [
        TaskScore(vectors=vectors, baseline=baseline, metric="spearman", value=value, low=value - 0.1, high=value + 0.1)
        for vectors, baseline, value in (("mean", False, 0.25), ("tfidf", True, 0.5))
    ]
    event = Evaluated(
        at=0, trial=run.digest(), step=20, key="k", checkpoint="c", code="c", task="stsb", protocol="zero-shot",
        settings={}, seed=0, examples=7, seconds=1, scores=tuple(scores),
    )  # fmt: skip
    with (storage / folder.name / "ledger.jsonl").open("a") as ledger:
        ledger.write(event.model_dump_json() + "\n")
    return storage / folder.name


def test_the_card_tells_scores_with_intervals_data_and_settings(trained, evaluated: Path, tmp_path: Path):
    cr.export(evaluated, tmp_path / "out", license="mit", verbose=False)
    card = ModelCard((tmp_path / "out" / "README.md").read_text())
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_type, result.metric_value) == ("nyu-mll/glue", "spearman", 0.25)
    assert "0.1500 to 0.3500" in result.metric_name
    assert card.data.license == "mit"
    assert "| stsb | zero-shot | tfidf (baseline) | spearman | 0.5000 | 0.4000 | 0.6000 | 7 |" in card.text
    said = card.text.partition("```yaml\n")[2].partition("```")[0]
    assert cr.RunSpec.model_validate(yaml.safe_load(said)) == trained[0]
    (entry,) = parse_eval_result_entries(yaml.safe_load((tmp_path / "out" / ".eval_results" / "stsb.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("nyu-mll/glue", "stsb", 0.25)


def test_an_export_is_pushed_to_a_private_repository(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "a-token")
        cr.push(evaluated, "someone/encoder")
    assert server.created == [{"name": "encoder", "organization": "someone", "visibility": "private"}]
    assert server.tokens == {"Bearer a-token"}
    out = cr.export(evaluated, tmp_path / "out", verbose=False)
    assert server.files.keys() == {each.relative_to(out).as_posix() for each in out.rglob("*") if each.is_file()}
    assert server.files["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert b'SentenceTransformer("someone/encoder"' in server.files["README.md"]


def test_without_a_token_nothing_is_pushed(evaluated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ValueError, match="HF_TOKEN is not set"):
        cr.push(evaluated, "someone/encoder")

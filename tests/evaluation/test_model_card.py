"""What an export says of itself is what the ledger says, and the Hub's own library reads it."""

import shutil
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer
from huggingface_hub import ModelCard, parse_eval_result_entries

import cogito_ray as cr
from cogito_ray.records.ledger import NAME, PROMOTED, Evaluated, ForecastSealed, Ledger, Promoted, TaskScore
from cogito_ray.records.pages.model_card import model_card
from cogito_ray.run_spec import RunSpec


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


def lines_of(run: RunSpec, ledger: Path) -> list[str]:
    """What its card says of where it comes from."""
    card = model_card(run, 20, ledger, {"data": "d1", "tokenizer": "t1"}, name="x", license=None)["README.md"]
    return [line for line in card.partition("## Where it comes from")[2].splitlines() if line.startswith("- ")]


def test_the_card_of_a_full_run_tells_its_sweep_and_what_was_foretold_of_it_alone(trained, tmp_path: Path):
    run: RunSpec = trained[0]
    sweep = tmp_path / "storage" / "search"
    ledger = sweep / PROMOTED / run.digest() / NAME
    sealed = [
        ForecastSealed(
            at=0, trial="t", run=each, goal=goal, parameters=1, tokens=1, value=value, low=value and value - 1.0,
            high=value and value + 2.0, law="", ladder=(), code="", data="",
        ).sealed()
        for each, goal, value in ((run.digest(), "eval/reconstruction_nats", 4.0), (run.digest(), "a", None),
                                  ("another", "b", 3.0))
    ]  # fmt: skip
    ended = Promoted(at=0, trial="t", run=run.digest(), folder="", changes=(), complete=True, metrics={})
    with Ledger(sweep / NAME) as record:
        for event in (*sealed, ended, ended.model_copy(update={"run": "another", "trial": "u"})):
            record.append(event)
    ledger.parent.mkdir(parents=True)
    ledger.touch()
    assert lines_of(run, ledger) == [
        "- data: d1", "- tokenizer: t1",
        "- foretold before it began: eval/reconstruction_nats 4.000, 3.000 to 6.000 in nine of ten cases",
        "- full run of trial t of search",
    ]  # fmt: skip


def test_a_card_without_scores_has_no_empty_table(trained, tmp_path: Path):
    cr.export(trained[1], tmp_path / "out", verbose=False)
    assert "## Scores\n\nNone yet.\n\n## Where" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_tells_with_whose_weights_a_run_began(trained, tmp_path: Path):
    start = {"kind": "checkpoint", "folder": "/a/step-00000100", "parts": ["encoder"]}
    run = RunSpec.model_validate(trained[0].model_dump(mode="json") | {"start_from": start})
    (ledger := tmp_path / "storage" / "mine" / "run" / NAME).parent.mkdir(parents=True)
    ledger.touch()
    (line,) = lines_of(run, ledger)[2:]
    assert line.startswith("- began from {")
    assert "folder: /a/step-00000100" in line


def test_without_a_token_nothing_is_pushed(evaluated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ValueError, match="HF_TOKEN is not set"):
        cr.push(evaluated, "someone/encoder")

"""MTEB's own tasks of a checkpoint, on data in a folder."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy.stats import spearmanr

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.protocols.zero_shot_similarity import cosines

PAIRS = [("concept token", "token"), ("a radius", "delta delta"), ("moment", "a concept"), ("delta", "radius token")]


def test_a_task_by_its_name_scores_the_cosines_of_mean_concepts(trained, tmp_path: Path, monkeypatch):
    pytest.importorskip("mteb", reason="mteb is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    from mteb_tasks import evaluate

    one, two = map(list, zip(*PAIRS, strict=True))
    (folder := tmp_path / "mteb" / "stsbenchmark-sts").mkdir(parents=True)
    grades = [3.0, 1.0, 0.0, 2.0]
    parquet.write_table(pa.table({"sentence1": one, "sentence2": two, "score": grades}), folder / "test.parquet")
    told = evaluate(str(trained[1]), ["STSBenchmark"], data=tmp_path, out=tmp_path / "results")
    encoder = TrainedModel.open(trained[1]).sentence_encoder
    ours = cosines(encoder.pooled(one, "mean"), encoder.pooled(two, "mean"))
    assert told["STSBenchmark"] == pytest.approx(spearmanr(ours, grades).statistic, abs=1e-4)
    written = json.loads((tmp_path / "results" / "STSBenchmark.json").read_text())
    assert written["scores"]["test"][0]["main_score"] == pytest.approx(told["STSBenchmark"])

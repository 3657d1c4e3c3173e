"""Measuring two corners for a forecast, without Ray."""

import json

import pytest
from corpora import tiny_run

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.train_worker import Job
from cogito_ray.runtime.tune.cost_measurement import SAMPLE_CHARACTERS, forecast, measure
from cogito_ray.sweeps.statistics.cost_forecast import micro
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.preparation_plan import prepare_with, serially


def test_what_is_measured_is_what_the_run_took_and_left(tmp_path):
    run = micro(RunSpec.model_validate(tiny_run(tmp_path)), steps=8)
    corpus = prepare_with(serially, run.data, tmp_path)
    found = measure(Job(run, tmp_path, corpus.digests, tmp_path / "run"))
    left = sum(path.stat().st_size for path in (tmp_path / "run" / "checkpoints").rglob("*") if path.is_file())
    assert found.checkpoint_bytes == left > 0
    assert 0 < found.step_s < 5
    assert found.peak_bytes > 50e6


@pytest.mark.chaos
def test_a_forecast_without_prepared_text_says_so_and_writes_nothing(tmp_path):
    text, storage = tmp_path / "text", tmp_path / "runs"
    text.mkdir()
    spec = SweepSpec.model_validate(
        {
            "name": "tiny",
            "run": tiny_run(text),
            "space": {"model.concepts": {"choice": [2, 8]}},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "budget": {"trials": 4},
        }
    )
    found = forecast(spec, storage)
    assert found.note.startswith(f"a sample of {SAMPLE_CHARACTERS:,} characters")
    assert (found.cheapest.run.model.concepts, found.dearest.run.model.concepts) == (2, 8)
    assert found.trial_s.low > 0
    assert json.dumps(found.figures())
    assert not storage.exists()

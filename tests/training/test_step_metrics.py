"""What a run says that it will report, before it starts, is what it reports."""

import pytest
import torch
from checkpoints import untrained
from pydantic import ValidationError

from cogito_ray.evaluation.validation.validation_metrics import report_metrics
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import merged
from cogito_ray.testing.tiny_runs import run as tiny
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.preparation_plan import prepared
from cogito_ray.training.training_loop import CorpusFacts, fit

UNTRAINED = {"training": {"steps": 1, "batch": 4}}
RUNS = {
    "rebuilds": {},
    "rebuilds under pressure": {"loss": {"regularisers": [{"kind": "variance"}, {"kind": "orthogonality"}]}},
    "contrasts": {"model": {"decoder": None}, "loss": {"contrast": {"kind": "halves"}}},
    "asked no words": {"evaluation": {"word_probes": None}},
    "asked too few rows": {"evaluation": {"rows": 16}},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("metrics"))


@pytest.mark.parametrize("over", RUNS.values(), ids=RUNS)
def test_each_report_has_the_metrics_that_were_announced(plain, over):
    run, storage = plain
    run = RunSpec.model_validate(merged(merged(run.model_dump(mode="json"), UNTRAINED), over))
    corpus, reports = prepared(run.data, storage), []
    fit(
        run,
        CorpusFacts(corpus.vocabulary, torch.from_numpy(corpus.log_unigram)),
        feed=lambda done: map(torch.from_numpy, MappedReader(corpus, corpus.plan(0)).batches(range(1), batch=4)),
        evaluate=report_metrics(run, corpus, corpus.vocabulary),
        on_report=reports.append,
    )
    assert sorted(reports[0].metrics) == sorted(run.metrics)


@pytest.mark.parametrize(
    ("metric", "way_out"),
    [
        ("eval/reconstruction_nat", "did you mean eval/reconstruction_nats"),
        ("loss/variance", "did you mean loss/contrast|write one of eval/reconstruction_nats, "),
        ("eval/typo", "write one of eval/reconstruction_nats, "),
    ],
)
def test_checkpoints_are_not_chosen_by_what_no_report_has(metric, way_out):
    with pytest.raises(ValidationError, match=rf"best\.metric: no report of this run has '{metric}'; ({way_out})"):
        tiny(training={"checkpoints": {"best": {"metric": metric}}})


def test_checkpoints_are_not_chosen_by_words_of_rows_that_hold_too_few(plain):
    run, storage = plain
    best = {"training": {"checkpoints": {"best": {"metric": "eval/word_content_auc", "mode": "max"}}}}
    rare = {"evaluation": {"word_probes": {"min_share": 0.49}}}
    run = RunSpec.model_validate(merged(merged(run.model_dump(mode="json"), best), rare))
    corpus = prepared(run.data, storage)
    with pytest.raises(ValueError, match="eval/word_content_auc is not measured, because"):
        report_metrics(run, corpus, corpus.vocabulary)

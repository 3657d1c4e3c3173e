"""The line that models are held against is what always predicting the training text's tokens would score."""

import torch
from checkpoints import untrained

from cogito_ray.analysis.metrics_by_name import concept_metrics
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.evaluation.validation.concept_analysis import ConceptAnalysis
from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.evaluation.validation.validation_metrics import report_metrics
from cogito_ray.testing import tiny_runs
from cogito_ray.text.preparation_plan import prepared

NATS, LINE = "eval/reconstruction_nats", "eval/unigram_nats"


def test_a_model_that_always_predicts_training_frequencies_scores_exactly_the_line(tmp_path):
    run, storage = untrained(tmp_path)
    corpus = prepared(run.data, storage)
    log_unigram = torch.from_numpy(corpus.log_unigram)
    model = run.model.build(corpus.vocabulary, run.data.length, log_unigram)
    with torch.no_grad():
        model.head.weight.zero_()                       # so that its bias alone is left
    told = report_metrics(run, corpus, corpus.vocabulary)(model)
    torch.testing.assert_close(told[NATS], told[LINE], rtol=1e-5, atol=0)


def test_the_line_knows_nothing_of_how_often_held_out_rows_have_a_token(tmp_path):
    run, storage = untrained(tmp_path)
    corpus = prepared(run.data, storage)
    rows = torch.from_numpy(corpus.held_out_rows(run.evaluation.rows))
    counts = torch.bincount(rows[~torch.isin(rows, torch.tensor(corpus.vocabulary.special_ids))])
    share = counts[counts > 0] / counts.sum()
    in_sample = -(share * share.log()).sum()
    line = report_metrics(run, corpus, corpus.vocabulary)(run.model.build(corpus.vocabulary, run.data.length))[LINE]
    assert line > in_sample + 0.01


def test_what_analyses_hold_against_thresholds_is_reported_where_a_run_asks_for_it(tmp_path):
    run, storage = untrained(tmp_path)
    asking = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"analysis": True})})
    corpus = prepared(run.data, storage)
    words, rows = corpus.vocabulary, torch.from_numpy(corpus.held_out_rows(run.evaluation.rows))
    model = run.model.build(words, run.data.length)
    told, plain = (report_metrics(each, corpus, words)(model) for each in (asking, run))
    assert told.keys() - plain.keys() == {name for name in asking.metrics if name.startswith("analysis/")}
    expected = concept_metrics(encode(model, rows, words.pad_id))
    assert told["analysis/cosine_mean"] == expected["cosine_mean"]
    assert told["analysis/mean_nuclear_rank_share"] == expected["mean_nuclear_rank_share"]


def test_texts_are_corrupted_alike_for_every_model_and_those_without_a_second_half_are_not_cut():
    words, run = tiny_runs.VOCABULARY, tiny_runs.run(objective={"kind": "tsdae"})
    rows, model = tiny_runs.rows(), tiny_runs.build(run).model
    rows[1, 4:] = words.pad_id
    asked, again = (ConceptAnalysis(rows, run.reference, words) for _ in range(2))
    assert asked(model) == again(model)
    assert torch.equal(torch.cat(asked.halves, dim=1), rows[[0, *range(2, len(rows))]])


def test_documents_that_share_a_row_are_measured_as_they_are_trained_and_single_ones_as_ever():
    run, words = tiny_runs.run(model={"attention": "document"}), tiny_runs.VOCABULARY
    models = [tiny_runs.build(each).model for each in (tiny_runs.run(), run)]            # of equal weights
    for texts, same in ((tiny_runs.rows(), True), (tiny_runs.two_documents(), False)):
        whole, apart = map(HeldOutLoss(texts, run.reference, words), models)
        assert (whole == apart) == same
        assert torch.equal(*(encode(model, texts, words.pad_id) for model in models)) == same

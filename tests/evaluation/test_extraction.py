"""Answers and summaries of a document's own sentences: what is selected, and how it is scored."""

import json
from pathlib import Path

import numpy as np
import pytest

from cogito_ray.evaluation import bootstrap_metrics
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.protocols.extraction import _oracle, scores, selected
from cogito_ray.evaluation.protocols.retrieval_and_choice import document_questions
from cogito_ray.evaluation.tasks.document_tasks import (
    DOCUMENT_TASKS,
    DocumentQuestion,
    Extraction,
    extracted_answers,
)

DOCUMENT = "The concept comes first. A token follows it.\nThe radius of 7 is last! Nobody asked."


@pytest.fixture(scope="module")
def encoder(trained):
    return TrainedModel.open(trained[1]).sentence_encoder


def write(data: Path, name: str, rows: list[dict[str, object]]) -> Path:
    (file := data / name).parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


def test_f1_compares_words_as_squad_does_under_the_best_answer():
    asked = Extraction(["d"] * 4, [0, 1, 2, 3], ["q"] * 4, [["dog and cat"], ["cat"], ["a"], ["dog", "cat"]], False)
    said = ["The cat, a DOG!", "", "the", "a cat"]
    assert scores(asked, said)["f1"].tolist() == pytest.approx([2 * 2 / 5, 0, 0, 1])


def test_the_oracle_takes_what_the_answer_lacks_after_what_it_shares_most():
    sentences = ["one two three", "one two", "three four", "five"]
    ranks = _oracle(sentences, ["nothing", "one two three four"], words=4)
    assert np.argsort(-ranks, kind="stable")[:2].tolist() == [0, 2]
    assert ranks[1] == ranks[3] == 0


def test_the_nearest_sentences_are_taken_in_the_documents_order_until_there_are_words_enough():
    sentences, near = ["one two", "three", "four five six", "seven"], np.array([0.3, 0.1, 0.9, 0.4])
    assert selected(sentences, near, 1) == "four five six"
    assert selected(sentences, near, 4) == "four five six seven"
    assert selected(sentences, near, 5) == "one two four five six seven"
    assert selected(sentences, near, 99) == "one two three four five six seven"


@pytest.mark.parametrize("layout", ["scrolls", "longbench"])
def test_every_answer_to_a_question_counts_in_either_layout(tmp_path, layout):
    answers = ["the concept", "a token"]
    if layout == "scrolls":
        rows = [{"id": "0", "pid": "0_0", "input": f"What?\n\n{DOCUMENT}", "output": answer} for answer in answers]
        write(tmp_path, "scrolls/qasper/validation.jsonl", rows)
    else:
        told = {"length": 14, "dataset": "qasper", "language": "en", "all_classes": None, "_id": "x"}
        rows = [{"input": "What?", "context": DOCUMENT, "answers": answers} | told]
        write(tmp_path, "longbench/qasper.jsonl", rows)
    asked = DOCUMENT_TASKS["qasper"].read(tmp_path)
    assert (asked.documents, asked.questions, asked.answers) == ([DOCUMENT], ["What?"], [answers])
    assert asked.words == 2


def test_the_oracle_finds_what_the_document_holds_and_words_find_what_a_question_shares(encoder, tmp_path):
    rows = [{"input": f"Which radius?\n\n{DOCUMENT}", "output": "the radius of 7 is last"}]
    (question,) = document_questions([DOCUMENT_TASKS["qasper"]])
    told = question.ask(encoder, write(tmp_path, "scrolls/qasper/validation.jsonl", rows))
    scored = {(one.vectors, one.metric): one.score.value for one in told}
    assert scored["oracle", "f1"] == scored["tf_idf", "f1"] == 1
    assert scored["lead", "f1"] == 0
    assert {one.vectors for one in told if not one.is_baseline} == {"mean", "mean_centred"}


def test_a_document_is_read_to_the_end_of_what_a_model_reads(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("cogito_ray.evaluation.document_encoder.LONGEST", 8)
    monkeypatch.setattr("cogito_ray.evaluation.protocols.extraction.LONGEST", 8)
    rows = [{"input": f"Which radius?\n\n{DOCUMENT}", "output": "the radius of 7 is last"}]
    (question,) = document_questions([DOCUMENT_TASKS["qasper"]])
    told = question.ask(encoder, write(tmp_path, "scrolls/qasper/validation.jsonl", rows))
    assert {one.truncated for one in told} == {1}
    assert max(one.score.value for one in told if one.vectors == "oracle") < 1


def test_summaries_have_rouge_and_its_geometric_mean_over_all_of_them(tmp_path):
    pytest.importorskip("rouge_score", reason="rouge-score is not installed")
    asked = Extraction(["d", "e"], [0, 1], ["", ""], [["the cat sat on the mat"], ["a dog barked"]], summaries=True)
    found = scores(asked, ["the cat sat on a mat", "a dog barked"])
    assert found["rouge_1"].tolist() == pytest.approx([5 / 6, 1])
    assert found["rouge_2"].tolist() == pytest.approx([3 / 5, 1])
    assert found["rouge_l"].tolist() == pytest.approx([5 / 6, 1])
    told = bootstrap_metrics.cluster_bootstrap(found["rouge_geometric_mean"], np.array(asked.about))
    assert told.value == pytest.approx((11 / 12 * 8 / 10 * 11 / 12) ** (1 / 3))


def test_a_question_without_an_answer_is_named():
    with pytest.raises(ValueError, match="row 3 holds no answer"):
        extracted_answers([DocumentQuestion("d", "who?", " ", row=3)])

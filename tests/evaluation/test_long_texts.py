"""Questions about whole documents: three collections' layouts, ranks, choices, and what is read of a document."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.cli import main
from cogito_ray.evaluation import scores
from cogito_ray.evaluation.long_answers import RetrievalSpec, _accuracy, _chosen, _ranked, long_questions
from cogito_ray.evaluation.long_texts import LAYOUTS, LONG_TASKS, Asked, Choices, Queries, choices_of_options
from cogito_ray.evaluation.trained import Trained
from cogito_ray.evaluation.windows import token_windows, whole, windows

QUESTION = "Which word comes first?\n\n (A) concept\n (B) token\n (C) moment\n (D) radius"
WORDS = ("concept", "token", "moment", "radius")
DOCUMENTS = [f"{word} comes first. " * 30 for word in WORDS[:3]]


@pytest.fixture(scope="module")
def reader(trained):
    return Trained.open(trained[1]).reader


def lines(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path) -> Path:
    """L-Eval's columns for QuALITY, LongBench's for GovReport, SCROLLS' for QASPER and ContractNLI."""
    (tmp_path / "long").mkdir()
    answers = ["(A) concept", "(B) token", "(C) moment"]
    columns = {"input": DOCUMENTS, "instructions": [[QUESTION]] * 3, "outputs": [[answer] for answer in answers]}
    parquet.write_table(pa.table(columns), tmp_path / "long" / "quality.parquet")
    summaries = [f"{document[:7]} first" for document in DOCUMENTS]
    lines(tmp_path / "longbench" / "gov_report.jsonl",
          [{"context": one, "input": "", "answers": [other]} for one, other in zip(DOCUMENTS, summaries, strict=True)])
    lines(tmp_path / "scrolls" / "qasper" / "validation.jsonl",
          [{"id": "0", "input": f"What comes?\n\n{document}", "output": "a word"} for document in DOCUMENTS])
    lines(tmp_path / "scrolls" / "contract_nli" / "validation.jsonl",
          [{"input": f"A word comes.\n\n{document}", "output": "Entailment"} for document in DOCUMENTS])
    return tmp_path


def test_every_layout_tells_the_same_question():
    whole = Asked("the text\nends", QUESTION, "(B) token")
    rows = {
        "L-Eval": {"input": whole.document, "instructions": [QUESTION], "outputs": [whole.answer]},
        "LongBench": {"context": whole.document, "input": QUESTION, "answers": [whole.answer], "length": 3},
        "SCROLLS": {"id": "7", "input": f"{QUESTION}\n\n{whole.document}", "output": whole.answer},
    }
    assert {layout.name: list(layout.read(rows[layout.name], True)) for layout in LAYOUTS} == {
        layout.name: [whole] for layout in LAYOUTS
    }


def test_a_question_is_asked_without_its_options_and_an_option_with_its_question(data):
    queries = LONG_TASKS["quality-retrieval"].read(data)
    assert (queries.texts, queries.right) == (["Which word comes first?"] * 3, [0, 1, 2])
    choices = LONG_TASKS["quality"].read(data)
    assert choices.options[0] == [f"Which word comes first? {word}" for word in WORDS]
    assert (choices.right, choices.about) == ([0, 1, 2], [0, 1, 2])


def test_questions_without_four_options_or_without_a_letter_are_no_choices():
    asked = [Asked("d", QUESTION, "(C) moment"), Asked("d", "Who?", "(A) she"), Asked("e", QUESTION, "none of them")]
    choices = choices_of_options(asked)
    assert (choices.documents, choices.about, choices.right) == (["d"], [0], [2])


def test_a_file_of_which_nothing_can_be_asked_is_an_error(data):
    lines(data / "longbench" / "quality.jsonl", [{"context": "d", "input": "Who?", "answers": ["she"]}])
    (data / "long" / "quality.parquet").unlink()
    with pytest.raises(ValueError, match="none of 1 rows can be asked as quality"):
        LONG_TASKS["quality"].read(data)


def test_a_document_of_two_questions_is_one(data):
    lines(data / "scrolls" / "nq" / "validation.jsonl",
          [{"input": f"{question}\n\n{DOCUMENTS[0]}", "output": "x"} for question in ("who?", "what?")])
    asked = LONG_TASKS["nq-retrieval"].read(data)
    assert (len(asked.documents), asked.texts, asked.right) == (1, ["who?", "what?"], [0, 0])


def test_verdicts_are_options_too(data):
    asked = LONG_TASKS["contract-nli"].read(data)
    assert asked.options[0][0] == "A word comes. Entailment"
    assert asked.right == [0, 0, 0]


def test_a_missing_file_is_named_with_all_that_would_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of long/quality\.parquet, scrolls/quality/v"):
        LONG_TASKS["quality"].read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"give a folder that holds long/quality\.parquet"):
        LONG_TASKS["quality"].read(None)


def test_columns_of_no_collection_are_an_error_that_names_them(tmp_path):
    lines(tmp_path / "longbench" / "gov_report.jsonl", [{"text": "a"}])
    with pytest.raises(ValueError, match=r"columns \['text'\], which are those of no collection"):
        LONG_TASKS["govreport-retrieval"].read(tmp_path)


def test_equally_near_documents_share_their_mean_rank():
    asked = Queries(["a", "b", "c"], ["x", "y", "z"], [0, 1, 2])
    told = _ranked(np.array([[0.9, 0.1, 0.1], [0.5, 0.5, 0.1], [0.7, 0.7, 0.7]]), asked)
    assert told["recall_at_1"].tolist() == [1, 0, 0]
    assert told["mrr"].tolist() == pytest.approx([1, 1 / 1.5, 1 / 2])


def test_equally_good_options_share_the_point():
    asked = Choices(["d"], [0, 0], [["a", "b"], ["c", "d"]], [1, 0])
    assert _accuracy(np.array([[0.2, 0.9], [0.5, 0.5]]), asked)["accuracy"].tolist() == [1, 0.5]
    assert _chosen(np.array([[0.2], [0.9], [0.1], [0.3]]), asked)["accuracy"].tolist() == [1, 0]


def test_questions_of_one_document_are_resampled_together():
    """Four documents whose questions all agree vary as four values, not as four hundred."""
    groups, values = np.repeat(np.arange(4), 100), np.repeat([0.0, 1, 1, 0], 100)
    told = scores.clustered(values, groups)
    assert told.value == 0.5
    assert told.high - told.low >= 0.75
    alone = scores.clustered(values, np.arange(400))
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)


def test_a_document_is_the_mean_of_its_windows(reader):
    text = "concept token moment radius delta " * 12
    told = windows(reader, [text, "moment"])
    cut = reader.tokenizer.encode([text])[0]
    assert np.bincount(told.of).tolist() == [-(-len(cut) // reader.length), 1]
    np.testing.assert_allclose(told.mean()[1], reader.pooled(["moment"], "mean")[0], rtol=1e-5)
    np.testing.assert_allclose(told.mean()[0], told.vectors[told.of == 0].mean(axis=0), rtol=1e-5)


def test_token_windows_read_no_concepts(reader):
    told = token_windows(reader, ["concept token", "moment"])
    np.testing.assert_allclose(told.mean(), reader.token_means(["concept token", "moment"]), rtol=1e-5)


def test_a_text_without_a_token_has_a_vector(reader):
    assert windows(reader, ["", "moment"]).mean().shape == (2, 16)


def test_reading_a_long_document_whole_leaves_the_model_as_it_was(reader):
    before = reader.pooled(["concept token"], "mean")
    vectors = whole(reader, ["concept token moment " * 30, "concept token"])
    np.testing.assert_allclose(vectors[1], before[0], rtol=1e-5)
    np.testing.assert_array_equal(reader.pooled(["concept token"], "mean"), before)


def test_each_task_is_answered_beside_chance(reader, data):
    names = ("govreport-retrieval", "quality", "contract-nli")
    questions = long_questions([LONG_TASKS[name] for name in names])
    told = {(question.task.name, question.protocol.kind): question.ask(reader, data) for question in questions}
    assert [kind for _, kind in told] == ["retrieval", *["choice", "choice-probe"] * 2]
    for results in told.values():
        assert results[-1].vectors == "chance"
        assert {result.examples for result in results} == {3}
    by_words = [one.score.value for one in told["govreport-retrieval", "retrieval"] if one.vectors == "tf_idf"]
    assert by_words == [1, 1]


def test_a_question_reaches_other_processes_as_it_is():
    for question in long_questions(LONG_TASKS.values()):
        assert pickle.loads(pickle.dumps(question)) == question


def test_a_question_keeps_its_key_until_its_file_changes(data):
    (question,) = long_questions([LONG_TASKS["govreport-retrieval"]])
    assert question.protocol == RetrievalSpec()
    before = question.key(data)
    assert question.key(data) == before
    file = data / "longbench" / "gov_report.jsonl"
    file.write_text(file.read_text() + "\n")
    assert question.key(data) != before


def test_a_missing_file_ends_the_command_before_a_cluster_starts(trained, tmp_path, monkeypatch, capsys):
    arguments = ["evaluate", str(trained[1]), "--tasks", "quality,govreport-retrieval", "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["cogito-ray", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "holds none of long/quality.parquet" in capsys.readouterr().err

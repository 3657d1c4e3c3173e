"""Questions about whole documents: three collections' layouts, ranks, choices, and what is read of a document."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.cli import main
from cogito_ray.evaluation import bootstrap_metrics
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.document_encoder import encode_token_windows, encode_whole, encode_windows
from cogito_ray.evaluation.protocols.retrieval_and_choice import (
    RetrievalSpec,
    _accuracy,
    _chosen,
    _ranked,
    document_questions,
)
from cogito_ray.evaluation.tasks.document_tasks import (
    DOCUMENT_TASKS,
    LAYOUTS,
    DocumentQuestion,
    MultipleChoice,
    RetrievalQueries,
    choices_of_options,
)

QUESTION = "Which word comes first?\n\n (A) concept\n (B) token\n (C) moment\n (D) radius"
WORDS = ("concept", "token", "moment", "radius")
DOCUMENTS = [f"{word} comes first. " * 30 for word in WORDS[:3]]


@pytest.fixture(scope="module")
def encoder(trained):
    return TrainedModel.open(trained[1]).sentence_encoder


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
    whole = DocumentQuestion("the text\nends", QUESTION, "(B) token")
    rows = {
        "L-Eval": {"input": whole.document, "instructions": [QUESTION], "outputs": [whole.answer]},
        "LongBench": {"context": whole.document, "input": QUESTION, "answers": [whole.answer], "length": 3},
        "SCROLLS": {"id": "7", "input": f"{QUESTION}\n\n{whole.document}", "output": whole.answer},
    }
    assert {layout.name: list(layout.read(rows[layout.name], True)) for layout in LAYOUTS} == {
        layout.name: [whole] for layout in LAYOUTS
    }


def test_a_question_is_asked_without_its_options_and_an_option_with_its_question(data):
    queries = DOCUMENT_TASKS["quality-retrieval"].read(data)
    assert (queries.texts, queries.right) == (["Which word comes first?"] * 3, [0, 1, 2])
    choices = DOCUMENT_TASKS["quality"].read(data)
    assert choices.options[0] == [f"Which word comes first? {word}" for word in WORDS]
    assert (choices.right, choices.about) == ([0, 1, 2], [0, 1, 2])


REAL = Path(__file__).parent / "real"
NUMBERS = {letter: number for number, letter in enumerate("ABCD")}


def real(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (REAL / f"{name}.jsonl").read_text().splitlines()]


def as_l_eval(data: Path, name: str) -> None:
    """The file as L-Eval has it, in Parquet."""
    parquet.write_table(pa.Table.from_pylist(real(name)), data / "long" / f"{name}.parquet")


def as_scrolls(data: Path, name: str) -> None:
    """The same questions as SCROLLS has them: options stand with the question, the answer is the right one's text."""
    rows = [
        {"input": f"{question}\n\n\n{row['input']}", "output": answer.partition(") ")[2]}
        for row in real("quality")
        for question, answer in zip(row["instructions"], row["outputs"], strict=True)
    ]
    lines(data / "scrolls" / name / "validation.jsonl", rows)


@pytest.fixture
def no_data(tmp_path) -> Path:
    (tmp_path / "long").mkdir()
    return tmp_path


@pytest.mark.parametrize("layout", [as_l_eval, as_scrolls])
def test_real_questions_are_labelled_as_their_authors_did_in_either_layout(no_data, layout):
    layout(no_data, "quality")
    choices = DOCUMENT_TASKS["quality"].read(no_data)
    answers = [answer for row in real("quality") for answer in row["outputs"]]
    assert choices.right == [NUMBERS[answer[1]] for answer in answers]
    assert len(set(choices.right)) > 1
    for options, right, answer in zip(choices.options, choices.right, answers, strict=True):
        assert options[right].endswith(answer[4:].strip())
    assert (len(choices.documents), choices.about) == (2, [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("layout", [as_l_eval, as_scrolls])
def test_real_questions_look_for_their_documents_without_their_options(no_data, layout):
    layout(no_data, "quality")
    queries = DOCUMENT_TASKS["quality-retrieval"].read(no_data)
    assert queries.texts[0] == "Why did the Tr'en leave Korvin's door unlocked and a weapon nearby?"
    assert not any("(A)" in text or "\n" in text for text in queries.texts)
    assert [document[:20] for document in queries.documents] == [row["input"][:20] for row in real("quality")]


def test_a_real_question_that_two_people_answered_is_asked_once(no_data):
    as_l_eval(no_data, "scientific_qa")
    told = [question for row in real("scientific_qa") for question in row["instructions"]]
    assert len(told) == len(set(told)) + 1
    assert DOCUMENT_TASKS["qasper-retrieval"].read(no_data).texts == list(dict.fromkeys(told))


BY_TEXT = [("govreport-retrieval", "gov_report_summ"), ("nq-retrieval", "natural_question")]


@pytest.mark.parametrize(("task", "name"), BY_TEXT)
def test_real_summaries_and_questions_look_for_the_document_they_are_about(no_data, task, name):
    as_l_eval(no_data, name)
    queries = DOCUMENT_TASKS[task].read(no_data)
    texts = "outputs" if task == "govreport-retrieval" else "instructions"
    about = {text: number for number, row in enumerate(real(name)) for text in row[texts]}
    assert [about[text] for text in queries.texts] == queries.right
    assert set(queries.right) == {0, 1}


@pytest.mark.parametrize("answer", ["(C) moment", "(C)", "C", "C.", "moment", "  moment\n"])
def test_an_option_is_named_by_its_text_or_its_letter(answer):
    assert choices_of_options([DocumentQuestion("d", QUESTION, answer)]).right == [2]


ODD = {
    "text": ("A man", "is none of its options"),
    "of another option": ("(A) token", "is none of its options"),
    "secret": ("", "is none of its options"),
}


@pytest.mark.parametrize(("answer", "fault"), ODD.values(), ids=ODD)
def test_an_answer_that_names_no_option_is_an_error_that_names_its_row(no_data, answer, fault):
    rows = [{"context": "d", "input": QUESTION, "answers": [each]} for each in ("token", answer, answer)]
    lines(no_data / "longbench" / "quality.jsonl", rows)
    with pytest.raises(ValueError, match=rf"quality\.jsonl: row 2 has an answer that {fault}, and 1 more do"):
        DOCUMENT_TASKS["quality"].read(no_data)


def test_a_row_that_holds_no_choice_is_an_error_that_names_it(no_data):
    lines(no_data / "longbench" / "quality.jsonl", [{"context": "d", "input": "Who?", "answers": ["she"]}])
    with pytest.raises(ValueError, match=r"row 1 does not hold a question with the options .*'Who\?'"):
        DOCUMENT_TASKS["quality"].read(no_data)


SECRET = {
    "govreport-retrieval": ("gov_report", {"context": "d", "input": "", "answers": []}, "row 1 holds no summary"),
    "qasper-retrieval": ("qasper", {"context": "d", "input": " ", "answers": ["a"]}, "row 1 holds no question"),
    "contract-nli": ("contract_nli", {"input": "A word comes.\n\nd", "output": None}, "row 1 has an answer that"),
    "nq-retrieval": ("nq", {"input": "who?", "output": "x"}, "row 1 holds no document"),
}


@pytest.mark.parametrize(("task", "file", "row", "fault"), [(task, *rest) for task, rest in SECRET.items()])
def test_what_a_row_lacks_is_told_with_file_and_row(no_data, task, file, row, fault):
    lines(no_data / "longbench" / f"{file}.jsonl", [row])
    with pytest.raises(ValueError, match=rf"{file}\.jsonl: {fault}.* task {task} cannot be asked of it"):
        DOCUMENT_TASKS[task].read(no_data)


def test_a_line_ends_at_its_newline_whatever_else_the_text_holds(no_data):
    """U+2028, U+0085 and a carriage return may stand in JSON as they are, or escaped."""
    document = "one\u2028two\x85three\x0bfour"
    file = no_data / "longbench" / "nq.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps({"context": document, "input": "who?", "answers": ["x"]}, ensure_ascii=False) + "\n")
    assert DOCUMENT_TASKS["nq-retrieval"].read(no_data).documents == [document]


@pytest.mark.parametrize(("line", "fault"), [('{"a": ', "line 2 is no JSON "), ("[1]", "line 2 is no JSON object")])
def test_a_line_that_is_no_row_is_named(no_data, line, fault):
    lines(no_data / "longbench" / "nq.jsonl", [{"context": "d", "input": "who?", "answers": ["x"]}])
    with (no_data / "longbench" / "nq.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=rf"nq\.jsonl: {fault}"):
        DOCUMENT_TASKS["nq-retrieval"].read(no_data)


def test_a_probe_of_one_document_is_refused_with_the_reason(encoder, no_data):
    lines(no_data / "longbench" / "quality.jsonl", [{"context": "d", "input": QUESTION, "answers": ["B"]}])
    choice, probe = document_questions([DOCUMENT_TASKS["quality"]])
    assert choice.ask(encoder, no_data)[-1].vectors == "chance"
    with pytest.raises(ValueError, match=r"learns from other documents .* holds only one; put more there"):
        probe.ask(encoder, no_data)


def test_a_document_of_two_questions_is_one(data):
    lines(data / "scrolls" / "nq" / "validation.jsonl",
          [{"input": f"{question}\n\n{DOCUMENTS[0]}", "output": "x"} for question in ("who?", "what?")])
    asked = DOCUMENT_TASKS["nq-retrieval"].read(data)
    assert (len(asked.documents), asked.texts, asked.right) == (1, ["who?", "what?"], [0, 0])


def test_verdicts_are_options_too(data):
    asked = DOCUMENT_TASKS["contract-nli"].read(data)
    assert asked.options[0][0] == "A word comes. Entailment"
    assert asked.right == [0, 0, 0]


def test_a_missing_file_is_named_with_all_that_would_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of long/quality\.parquet, scrolls/quality/v"):
        DOCUMENT_TASKS["quality"].read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"give a folder that holds long/quality\.parquet"):
        DOCUMENT_TASKS["quality"].read(None)


def test_columns_of_no_collection_are_an_error_that_names_them(tmp_path):
    lines(tmp_path / "longbench" / "gov_report.jsonl", [{"text": "a"}])
    with pytest.raises(ValueError, match=r"columns \['text'\], which are those of no collection"):
        DOCUMENT_TASKS["govreport-retrieval"].read(tmp_path)


def test_equally_near_documents_share_their_mean_rank():
    asked = RetrievalQueries(["a", "b", "c"], ["x", "y", "z"], [0, 1, 2])
    told = _ranked(np.array([[0.9, 0.1, 0.1], [0.5, 0.5, 0.1], [0.7, 0.7, 0.7]]), asked)
    assert told["recall_at_1"].tolist() == [1, 0, 0]
    assert told["mrr"].tolist() == pytest.approx([1, 1 / 1.5, 1 / 2])


def test_equally_good_options_share_the_point():
    asked = MultipleChoice(["d"], [0, 0], [["a", "b"], ["c", "d"]], [1, 0])
    assert _accuracy(np.array([[0.2, 0.9], [0.5, 0.5]]), asked)["accuracy"].tolist() == [1, 0.5]
    assert _chosen(np.array([[0.2], [0.9], [0.1], [0.3]]), asked)["accuracy"].tolist() == [1, 0]


def test_questions_of_one_document_are_resampled_together():
    """Four documents whose questions all agree vary as four values, not as four hundred."""
    groups, values = np.repeat(np.arange(4), 100), np.repeat([0.0, 1, 1, 0], 100)
    told = bootstrap_metrics.cluster_bootstrap(values, groups)
    assert told.value == 0.5
    assert told.high - told.low >= 0.75
    alone = bootstrap_metrics.cluster_bootstrap(values, np.arange(400))
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)


def test_a_document_is_the_mean_of_its_windows(encoder):
    text = "concept token moment radius delta " * 12
    told = encode_windows(encoder, [text, "moment"])
    cut = encoder.tokenizer.encode([text])[0]
    assert np.bincount(told.document).tolist() == [-(-len(cut) // encoder.length), 1]
    np.testing.assert_allclose(told.mean()[1], encoder.pooled(["moment"], "mean")[0], rtol=1e-5)
    np.testing.assert_allclose(told.mean()[0], told.vectors[told.document == 0].mean(axis=0), rtol=1e-5)


def test_token_windows_read_no_concepts(encoder):
    told = encode_token_windows(encoder, ["concept token", "moment"])
    np.testing.assert_allclose(told.mean(), encoder.token_means(["concept token", "moment"]), rtol=1e-5)


def test_a_text_without_a_token_has_a_vector(encoder):
    assert encode_windows(encoder, ["", "moment"]).mean().shape == (2, 16)


def test_reading_a_long_document_whole_leaves_the_model_as_it_was(encoder):
    before = encoder.pooled(["concept token"], "mean")
    vectors = encode_whole(encoder, ["concept token moment " * 30, "concept token"])
    np.testing.assert_allclose(vectors[1], before[0], rtol=1e-5)
    np.testing.assert_array_equal(encoder.pooled(["concept token"], "mean"), before)


def test_each_task_is_answered_beside_chance(encoder, data):
    names = ("govreport-retrieval", "quality", "contract-nli")
    questions = document_questions([DOCUMENT_TASKS[name] for name in names])
    told = {(question.task.name, question.protocol.kind): question.ask(encoder, data) for question in questions}
    assert [kind for _, kind in told] == ["retrieval", *["choice", "choice-probe"] * 2]
    for results in told.values():
        assert results[-1].vectors == "chance"
        assert {result.examples for result in results} == {3}
    by_words = [one.score.value for one in told["govreport-retrieval", "retrieval"] if one.vectors == "tf_idf"]
    assert by_words == [1, 1]


def test_a_question_reaches_other_processes_as_it_is():
    for question in document_questions(DOCUMENT_TASKS.values()):
        assert pickle.loads(pickle.dumps(question)) == question


def test_a_question_keeps_its_key_until_its_file_changes(data):
    (question,) = document_questions([DOCUMENT_TASKS["govreport-retrieval"]])
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

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.evaluation.bootstrap_metrics import METRICS
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT, TASKS, read, tasks_of


def write(folder: Path, split: str = "train", **columns: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), folder / f"{split}.parquet")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_is_read_from_its_own_columns_and_scored_by_known_metrics(task, tmp_path):
    label = [0.5, 1.0] if task.graded else [0, 1]
    [column, *_] = task.labels
    texts = {column: [f"{column} 0", f"{column} 1"] for column in task.texts}
    for split in (task.train, task.scored):
        write(tmp_path / task.folder, split, **texts, **{column: label})
        examples = read(task, split, tmp_path)
        assert examples.one == texts[task.texts[0]]
        assert examples.two == (texts[task.texts[1]] if len(task.texts) == 2 else None)
        assert examples.labels.tolist() == label
    assert set(task.metrics) <= set(METRICS)
    assert task.graded == (set(task.metrics) == {"pearson", "spearman"})


def test_the_default_tasks_are_the_five_of_the_group():
    assert [task.name for task in tasks_of(DEFAULT)] == ["mrpc", "qqp", "stsb", "mnli-matched", "mnli-mismatched"]


def test_an_unknown_task_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"no task is called mrcp; there are mrpc, mrpc-test, qqp"):
        tasks_of(["stsb", "mrcp"])


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"glue/qnli/train\.parquet is missing"):
        read(TASKS["qnli"], "train", tmp_path)


def test_a_missing_column_is_an_error_that_names_it_and_those_there_are(tmp_path):
    write(tmp_path / "glue/stsb", sentence1=["a"], text=["b"], label=[1.0])
    with pytest.raises(ValueError, match=r"reads column 'sentence2', but there are \['label', 'sentence1', 'text'\]"):
        read(TASKS["stsb"], "train", tmp_path)


RTE = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"]}
SECRET = {
    "-1": ([0, -1, -1], "2 of 3 .* row 1, which has -1"),
    "null": ([None, 1, 0], "1 of 3 .* row 0, which has None"),
    "nan": ([0.0, 1.0, math.nan], "1 of 3 .* row 2, which has nan"),
}


@pytest.mark.parametrize(("labels", "fault"), SECRET.values(), ids=SECRET)
def test_labels_that_are_kept_secret_are_an_error_that_names_file_and_row(tmp_path, labels, fault):
    write(tmp_path / "glue/rte", label=labels, **RTE)
    with pytest.raises(ValueError, match=rf"train\.parquet: {fault}; score another split"):
        read(TASKS["rte"], "train", tmp_path)


@pytest.mark.parametrize("label", [2, -2, 0.5, "maybe"])
def test_a_label_that_is_no_class_of_the_task_is_an_error_that_names_it(tmp_path, label):
    other = "entailment" if isinstance(label, str) else 0
    write(tmp_path / "glue/rte", label=[other, label, other], **RTE)
    with pytest.raises(ValueError, match=r"train\.parquet: 1 of 3 rows have no label of task rte, .*not_entailment"):
        read(TASKS["rte"], "train", tmp_path)


def test_a_grade_that_is_no_number_and_a_text_that_is_none_are_errors(tmp_path):
    write(tmp_path / "glue/stsb", label=["1", "high", "2"], **RTE)
    with pytest.raises(ValueError, match=r"have no label of task stsb, which is a number; the first is row 0"):
        read(TASKS["stsb"], "train", tmp_path)
    write(tmp_path / "glue/stsb", label=[1.0, 2.0, 3.0], sentence1=["a", None, "c"], sentence2=["d", "e", "f"])
    with pytest.raises(ValueError, match=r"1 of 3 rows have no text; the first is row 1"):
        read(TASKS["stsb"], "train", tmp_path)


def test_an_empty_file_is_an_error(tmp_path):
    write(tmp_path / "glue/cola", sentence=pa.array([], pa.string()), label=pa.array([], pa.int64()))
    with pytest.raises(ValueError, match="there are no rows in it"):
        read(TASKS["cola"], "train", tmp_path)


def test_classes_may_be_named_as_the_benchmarks_own_files_name_them(tmp_path):
    """SICK's own file says NEUTRAL where the hub says 1."""
    pairs = {"sentence_A": ["a", "b", "c"], "sentence_B": ["d", "e", "f"]}
    write(tmp_path / "sick", label=["NEUTRAL", "ENTAILMENT", "CONTRADICTION"], **pairs)
    assert read(TASKS["sick-entailment"], "train", tmp_path).labels.tolist() == [1, 0, 2]


def test_test_splits_whose_labels_are_public_are_tasks_of_their_own():
    scored = {name: (TASKS[name].train, TASKS[name].scored, TASKS[name].folder) for name in TASKS if "test" in name}
    assert scored == {"mrpc-test": ("train", "test", "glue/mrpc"), "stsb-test": ("train", "test", "glue/stsb")}
    assert (TASKS["stsb"].scored, TASKS["mrpc"].scored) == ("validation", "validation")


REAL = Path(__file__).parent / "real"


@pytest.mark.parametrize(("task", "split"), [("paws", "train"), ("qnli", "validation")])
def test_real_rows_keep_their_texts_and_labels(tmp_path, task, split):
    rows = [json.loads(line) for line in (REAL / f"{task}.jsonl").read_text().splitlines()]
    write(tmp_path / TASKS[task].folder, split, **{name: [row[name] for row in rows] for name in rows[0]})
    examples = read(TASKS[task], split, tmp_path)
    one, two = TASKS[task].texts
    assert (examples.one, examples.two) == ([row[one] for row in rows], [row[two] for row in rows])
    assert examples.labels.tolist() == [row["label"] for row in rows]
    assert set(examples.labels) == {0, 1}

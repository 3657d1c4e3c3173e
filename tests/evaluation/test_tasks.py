from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.evaluation.scores import METRICS
from cogito_ray.evaluation.tasks import DEFAULT, TASKS, read, tasks_of


def write(folder: Path, split: str = "train", **columns: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), folder / f"{split}.parquet")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_is_read_from_its_own_columns_and_scored_by_known_metrics(task, tmp_path):
    label = [0.5, 1.0] if task.graded else [0, 1]
    texts = {column: [f"{column} 0", f"{column} 1"] for column in task.texts}
    for split in (task.train, task.scored):
        write(tmp_path / task.folder, split, **texts, **{task.label: label})
        examples = read(task, split, tmp_path)
        assert examples.one == texts[task.texts[0]]
        assert examples.two == (texts[task.texts[1]] if len(task.texts) == 2 else None)
        assert examples.labels.tolist() == label
    assert set(task.metrics) <= set(METRICS)
    assert task.graded == (set(task.metrics) == {"pearson", "spearman"})


def test_the_default_tasks_are_the_five_of_the_group():
    assert [task.name for task in tasks_of(DEFAULT)] == ["mrpc", "qqp", "stsb", "mnli-matched", "mnli-mismatched"]


def test_an_unknown_task_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"no task is called mrcp; there are mrpc, qqp"):
        tasks_of(["stsb", "mrcp"])


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"glue/qnli/train\.parquet is missing"):
        read(TASKS["qnli"], "train", tmp_path)


def test_a_missing_column_is_an_error_that_names_it_and_those_there_are(tmp_path):
    write(tmp_path / "glue/stsb", sentence1=["a"], text=["b"], label=[1.0])
    with pytest.raises(ValueError, match=r"reads column 'sentence2', but there are \['label', 'sentence1', 'text'\]"):
        read(TASKS["stsb"], "train", tmp_path)


def test_secret_labels_are_an_error(tmp_path):
    write(tmp_path / "glue/rte", sentence1=["a", "b"], sentence2=["c", "d"], label=[-1, -1])
    with pytest.raises(ValueError, match="2 of 2 rows have no label"):
        read(TASKS["rte"], "train", tmp_path)

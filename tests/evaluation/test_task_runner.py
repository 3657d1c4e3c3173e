"""Questions: which there are, and what names them."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from huggingface_hub import constants
from pyarrow import parquet

from cogito_ray.base_spec import digest
from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.evaluation.protocols.linear_probe import ProbeSpec
from cogito_ray.evaluation.protocols.retrieval_and_choice import questions_of
from cogito_ray.evaluation.protocols.task_runner import Question, code_version, protocols_of, questions
from cogito_ray.evaluation.protocols.zero_shot_similarity import ZeroShotSpec
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, content_id, tasks_of


def write_rte(folder: Path, sentence: str) -> Path:
    (folder / "glue/rte").mkdir(parents=True, exist_ok=True)
    columns = {"sentence1": [sentence, "b"], "sentence2": ["c", "d"], "label": [0, 1]}
    for split in ("train", "validation"):
        parquet.write_table(pa.table(columns), folder / "glue/rte" / f"{split}.parquet")
    return folder


def test_a_cosine_is_asked_for_grades_alone_and_seeds_where_chance_enters():
    asked = questions(tasks_of(["stsb", "rte"]), protocols_of(["zero-shot", "probe", "fine-tune"]), seeds=2)
    of_every_task = [("probe", 0), ("fine-tune", 0), ("fine-tune", 1)]
    assert [(each.task.name, each.protocol.kind, each.seed) for each in asked] == [
        ("stsb", "zero-shot", 0),
        *((task, protocol, seed) for task in ("stsb", "rte") for protocol, seed in of_every_task),
    ]


def test_a_protocol_is_asked_once_for_every_one_of_its_settings():
    tuned = [{"kind": "fine-tune", "head": {"kind": "mean"}}, {"kind": "fine-tune", "epochs": 2}]
    probe, one, two = protocols_of(["probe", *tuned, "probe"])
    assert probe == ProbeSpec()
    assert (one.head.kind, two) == ("mean", FineTuneSpec(epochs=2))


def test_what_trains_takes_at_most_the_limit_of_examples_unless_it_says_how_many():
    asked = ["zero-shot", "probe", {"kind": "fine-tune", "rows": 7}]
    assert protocols_of(asked, limit=9) == [ZeroShotSpec(), ProbeSpec(rows=9), FineTuneSpec(rows=7)]


def test_an_unknown_protocol_settings_of_none_and_idle_seeds_are_errors():
    with pytest.raises(ValueError, match=r"no protocol is called 'finetune'; did you mean fine-tune\?"):
        protocols_of(["finetune"])
    with pytest.raises(ValueError, match="no protocol is called ''; write one of zero-shot, probe, fine-tune"):
        protocols_of([{"epochs": 2}])
    with pytest.raises(ValueError, match="3 seeds are asked, but no chance enters"):
        questions(tasks_of(["rte"]), protocols_of(["probe"]), seeds=3)


def test_a_key_names_task_data_protocol_and_seed(tmp_path):
    asked = Question(TASKS["rte"], ProbeSpec(), 0)
    key = asked.key(write_rte(tmp_path, "a"))
    assert asked.key(write_rte(tmp_path / "copy", "a")) == key
    others = [
        Question(TASKS["rte"], ProbeSpec(rows=9), 0).key(tmp_path),
        Question(TASKS["rte"], FineTuneSpec(), 0).key(tmp_path),
        Question(TASKS["rte"], FineTuneSpec(), 1).key(tmp_path),
        replace(asked, task=replace(asked.task, commit="c1")).key(None),
        replace(asked, task=replace(asked.task, commit="c2")).key(None),
        asked.key(write_rte(tmp_path, "another")),
    ]
    assert len({key, *others}) == 7


def test_the_version_of_the_code_is_named_by_twelve_digits_and_stays_while_it_is_read():
    assert code_version() == code_version()
    assert len(code_version()) == 12
    assert code_version() != digest({})                     # of some files, at least


@pytest.fixture
def cached_hub(tmp_path, monkeypatch):
    """The hub's local cache, of a machine that cannot reach the hub: moves a data set's main branch to a commit."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def move(name: str, commit: str) -> None:
        folder = tmp_path / f"datasets--{name.replace('/', '--')}"
        for file, content in {f"snapshots/{commit}/README.md": "", "refs/main": commit}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content)

    return move


def test_a_question_to_the_hub_is_bound_to_the_commit_that_its_key_names(cached_hub):
    asked = Question(TASKS["rte"], ProbeSpec(), 0)
    cached_hub("nyu-mll/glue", "1" * 40)
    first = asked.pinned(None)
    cached_hub("nyu-mll/glue", "2" * 40)
    second = asked.pinned(None)
    assert (first.task.commit, second.task.commit) == ("1" * 40, "2" * 40)
    assert first.key(None) != second.key(None)
    assert content_id(first.task, "train", None) == f"nyu-mll/glue@{'1' * 40}/rte/train"


def test_a_hub_that_cannot_be_asked_is_an_error_with_a_way_out(cached_hub):
    with pytest.raises(FileNotFoundError, match=r"nyu-mll/glue cannot be read from the hub .*; give a folder"):
        Question(TASKS["rte"], ProbeSpec(), 0).pinned(None)


def test_a_question_to_files_asks_no_hub(cached_hub, tmp_path):
    asked = Question(TASKS["rte"], ProbeSpec(), 0)
    assert asked.pinned(tmp_path) == asked


def test_secret_labels_are_found_before_a_model_is_asked(tmp_path):
    file = write_rte(tmp_path, "a") / "glue/rte/validation.parquet"
    parquet.write_table(parquet.read_table(file).drop(["label"]).append_column("label", pa.array([-1, -1])), file)
    [fault] = Question(TASKS["rte"], ProbeSpec(), 0).faults(tmp_path)
    assert "validation.parquet: 2 of 2 rows have no label" in fault


def test_every_question_is_asked_at_each_number_of_iterations_and_each_length():
    asked = questions_of(LabelledEvaluationSpec(
        tasks=("rte", "quality"), protocols=("probe",), iterations=(2, 4), lengths=(64,)
    ))
    told = [(one.protocol.kind, one.protocol.iterations, one.protocol.length) for one in asked]
    assert told == [(kind, times, 64) for kind in ("probe", "choice", "choice-probe") for times in (2, 4)]
    assert len({one.protocol.digest() for one in asked}) == 6


def test_what_has_no_training_split_is_asked_without_training_alone():
    asked = questions(tasks_of(["sts13"]), protocols_of(["zero-shot", "probe", "fine-tune"]))
    assert [each.protocol.kind for each in asked] == ["zero-shot"]

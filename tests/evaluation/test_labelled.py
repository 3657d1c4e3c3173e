"""Questions: which there are, and what names them."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.evaluation.fine_tune import FineTuneSpec
from cogito_ray.evaluation.labelled import Question, code_version, protocols_of, questions
from cogito_ray.evaluation.probe import ProbeSpec
from cogito_ray.evaluation.tasks import TASKS, tasks_of


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
    settings = {"fine-tune": [{"head": {"kind": "mean"}}, {"epochs": 2}]}
    probe, one, two = protocols_of(["probe", "fine-tune"], settings)
    assert probe == ProbeSpec()
    assert (one.head.kind, two) == ("mean", FineTuneSpec(epochs=2))


def test_an_unknown_protocol_settings_of_none_that_is_asked_and_idle_seeds_are_errors():
    with pytest.raises(ValueError, match="no protocol is called finetune; there are zero-shot, probe, fine-tune"):
        protocols_of(["finetune"])
    with pytest.raises(ValueError, match="settings were given for fine-tune, which was not asked"):
        protocols_of(["probe"], {"fine-tune": [{"epochs": 2}]})
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
        asked.key(None),
        asked.key(write_rte(tmp_path, "another")),
    ]
    assert len({key, *others}) == 6


def test_the_version_of_the_code_is_named_by_twelve_digits_and_stays_while_it_is_read():
    assert code_version() == code_version()
    assert len(code_version()) == 12

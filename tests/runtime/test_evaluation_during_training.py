"""Which checkpoint of a run is asked what, and when, while it trains; and what is refused before it does."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from corpora import tiny_run
from pyarrow import parquet

from cogito_ray.evaluation.checkpoint_loader import Checkpoint
from cogito_ray.records.ledger import NAME, Evaluated, Ledger
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.evaluation.evaluation_during_training import EvaluationQueue, panel_of, room
from cogito_ray.runtime.experiment_folder import ExperimentFolder, OtherSettings
from cogito_ray.runtime.trial_capacity import Shape
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.training.checkpoints.checkpoint_retention import CheckpointsSpec
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State

DATA = DataDigests("0a" * 6, {"first": "1b" * 6, "second": "2c" * 6})
SICK = ("sick-relatedness", "sick-entailment")
OF_EACH = ["sick-relatedness zero-shot", "sick-relatedness probe", "sick-entailment probe"]


def write_sick(data: Path, **changed: list[float] | None) -> str:
    columns = {"sentence_A": ["a", "b"], "sentence_B": ["c", "d"], "relatedness_score": [1.0, 2.0], "label": [0, 1]}
    there = {name: column for name, column in (columns | changed).items() if column is not None}
    (data / "sick").mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        parquet.write_table(pa.table(there), data / "sick" / f"{split}.parquet")
    return str(data)


def asking(folder: Path, **labelled: object) -> RunSpec:
    """A run whose checkpoints are asked, with made-up data below `folder`."""
    asked = {"tasks": SICK, "data": write_sick(folder / "data")} | labelled
    tree = tiny_run(folder)
    return RunSpec.model_validate(tree | {"evaluation": {"rows": 16, "labelled": asked}})


class Written:
    """The folder of a run that writes checkpoints, of which the newest alone stays."""

    def __init__(self, folder: Path):
        self.run, self.experiment = asking(folder), folder / "mine"
        Ledger(self.experiment / NAME).close()
        checkpoints = self.experiment / "checkpoints"
        self._checkpoints = Checkpoints(checkpoints, self.run.digest(), CheckpointsSpec(keep=1))

    def write(self, *steps: int) -> None:
        for step in steps:
            torch.manual_seed(step)
            module = torch.nn.Linear(2, 2)
            self._checkpoints.save(State(step=step, data=DATA), module, torch.optim.SGD(module.parameters()))

    def agenda(self) -> EvaluationQueue:
        """As a process that starts now has it."""
        panel = panel_of(self.run)
        assert panel is not None
        return EvaluationQueue(self.run, self.experiment / NAME, panel)

    def answered(self, unit) -> None:
        """The ledger has this answer."""
        asked = {"task": unit.question.task.name, "protocol": unit.question.protocol.kind, "settings": {}, "seed": 0}
        at = {"at": 0.0, "trial": self.run.digest(), "step": unit.checkpoint.step, "examples": 2, "seconds": 1.0}
        with Ledger(self.experiment / NAME) as ledger:
            names = {"key": unit.key, "checkpoint": unit.weights, "code": "c"}
            ledger.append(Evaluated.model_validate(asked | at | names | {"scores": []}))

    def held(self) -> list[Path]:
        return sorted(self.experiment.glob("checkpoints/.evaluated-*"))


@pytest.fixture
def written(tmp_path) -> Written:
    return Written(tmp_path)


def due(agenda: EvaluationQueue) -> list:
    """All that may be put now."""
    units = []
    while (unit := agenda.due()) is not None:
        units.append(unit)
    return units


def told(units: list) -> list[tuple[int, str]]:
    return [(unit.checkpoint.step, str(unit).partition(" ")[2].partition(",")[0]) for unit in units]


def test_one_checkpoint_is_asked_everything_then_the_newest_and_others_are_passed_over(written):
    agenda = written.agenda()
    assert due(agenda) == []                                                # nothing is written yet
    written.write(2)
    first = due(agenda)
    assert told(first) == [(2, asked) for asked in OF_EACH]
    written.write(4, 6, 8)
    agenda.settle(first[0])
    assert due(agenda) == []                                                # the first is still being asked
    for unit in first[1:]:
        agenda.settle(unit)
    assert told(due(agenda)) == [(8, asked) for asked in OF_EACH]


def test_a_question_that_has_failed_is_put_to_the_next_checkpoint_only(written):
    agenda = written.agenda()
    written.write(2)
    for unit in due(agenda):
        agenda.settle(unit)                                                 # no answer of it is in the ledger
    assert due(agenda) == []
    written.write(4)
    assert told(due(agenda)) == [(4, asked) for asked in OF_EACH]


def test_what_is_asked_outlives_its_deletion_and_is_gone_when_it_is_answered(written):
    agenda = written.agenda()
    written.write(2)
    weights = (written.experiment / "checkpoints/step-00000002/model.safetensors").read_bytes()
    units = due(agenda)
    written.write(4)
    assert not (written.experiment / "checkpoints/step-00000002").exists()
    [folder] = {unit.checkpoint.folder for unit in units}
    assert (folder / "model.safetensors").read_bytes() == weights
    assert not (folder / "optimizer.pt").exists()
    for unit in units:
        agenda.settle(unit)
    assert written.held() == []


def test_a_resumed_run_asks_what_its_ledger_does_not_have(written):
    written.write(2)
    [first, *others] = due(written.agenda())
    written.answered(first)
    written.write(4)                                                        # and then its process dies
    agenda = written.agenda()
    again = due(agenda)
    assert [unit.key for unit in again] == [unit.key for unit in others]
    for unit in again:
        written.answered(unit)
        agenda.settle(unit)
    assert told(due(written.agenda())) == [(4, asked) for asked in OF_EACH]


def test_an_agenda_that_was_sent_elsewhere_before_its_first_use_knows_what_was_answered_since(written):
    written.write(2)
    early, [first, *others] = written.agenda(), due(written.agenda())
    written.answered(first)
    assert [unit.key for unit in due(early)] == [unit.key for unit in others]


def test_when_training_has_ended_what_is_begun_and_the_last_checkpoint_are_left(written):
    agenda = written.agenda()
    written.write(2)
    [first, *_] = due(agenda)
    written.answered(first)
    written.write(4, 6)
    last = written.agenda()
    assert told(last.rest()) == [(2, asked) for asked in OF_EACH[1:]] + [(6, asked) for asked in OF_EACH]
    last.release()
    assert written.held() == []


def test_keys_are_those_of_the_evaluate_command(written):
    written.write(2)
    [unit, *_] = due(written.agenda())
    assert Checkpoint(unit.checkpoint.folder, written.run, 2, DATA, written.experiment / NAME).digest() == unit.weights


def test_answers_of_equal_weights_with_another_tokenizer_are_others(written):
    checkpoint = Checkpoint(written.experiment, written.run, 2, DATA, written.experiment / NAME)
    panel = panel_of(written.run)
    other = replace(checkpoint, data=replace(DATA, tokenizer="3d" * 6))
    keys, others = ({unit.key for unit in panel.units(one, "w")} for one in (checkpoint, other))
    assert len(keys) == len(others) == 3
    assert not keys & others


@pytest.mark.parametrize(("file", "content"), [("manifest.json", ""), ("manifest.json", "{}"), ("state.json", '{"st')])
def test_a_torn_checkpoint_is_not_asked_and_ends_nothing(written, file, content):
    written.write(2)
    (written.experiment / "checkpoints/step-00000002" / file).write_text(content)
    assert due(written.agenda()) == []


def test_a_checkpoint_without_a_manifest_is_not_asked(written):
    written.write(2)
    (written.experiment / "checkpoints/step-00000002/manifest.json").unlink()
    assert due(written.agenda()) == []


@pytest.mark.parametrize(
    ("nodes", "gpus"),
    [
        ([{"CPU": 4.0, "GPU": 1.0}], [0.5]),
        ([{"CPU": 9.0, "GPU": 1.2}], [0.5, 0.5, 0.0, 0.0]),                 # where no GPU is left the CPUs will do
        ([{"CPU": 2.0}, {"CPU": 3.0, "GPU": 0.5}], [0.5, 0.0]),
        ([{"CPU": 2.9, "GPU": 1.0}], []),                                   # one CPU is never given away
        ([{"CPU": 1.5}, {"CPU": 1.5}, {"GPU": 1.0}], []),                   # no node has enough
        ([], []),
    ],
)
def test_tasks_start_only_in_what_training_leaves(nodes: list[dict[str, float]], gpus: list[float], tmp_path):
    shape = {"cpus_per_worker": 2.0, "gpus_per_worker": 0.5, "workers": 2, "labels": {"gpu": "new"}}
    run = RunSpec.model_validate(tiny_run(tmp_path) | shape)
    taken = list(iter(lambda: room(run, nodes), None))
    assert taken == [Shape(1, 2.0, share, frozenset(), waits=False) for share in gpus]


def refused(run: RunSpec) -> list[str]:
    with pytest.raises(ValueError, match=r"evaluation\.labelled") as fault:
        panel_of(run)
    return str(fault.value).splitlines()


def test_all_that_is_missing_is_said_at_its_place(tmp_path):
    run = asking(tmp_path, tasks=("rte", *SICK, "quality"))
    write_sick(tmp_path / "data", label=None)
    rte, _, sick, _, long = refused(run)                                    # of train and scored splits
    assert rte.startswith("evaluation.labelled.data: ")
    assert rte.endswith("glue/rte/train.parquet is missing; put the hub's train.parquet there, or leave rte out")
    assert "task sick-entailment reads column 'label', but there are ['relatedness_score'," in sick
    assert "holds none of long/quality.parquet" in long


def test_questions_that_cannot_be_put_are_refused(tmp_path):
    assert refused(asking(tmp_path / "a", tasks=["sick-entailment"], protocols=["zero-shot"])) == [
        "evaluation.labelled.protocols: none of them suits these tasks; add probe"
    ]
    assert refused(asking(tmp_path / "b", protocols=["zero-shot"], limit=5)) == [
        "evaluation.labelled.limit: zero-shot trains nothing; leave it out"
    ]
    alone = asking(tmp_path / "c", protocols=["fine-tune"]).model_dump()
    alone["model"]["decoder"], alone["loss"]["contrast"] = None, {"kind": "halves"}
    [fault] = refused(RunSpec.model_validate(alone))
    assert fault.startswith("evaluation.labelled.protocols: head 'via_decoder' needs a model with a decoder")


def test_a_limit_is_of_training_examples(tmp_path):
    panel = panel_of(asking(tmp_path, limit=7))
    assert panel is not None
    assert [getattr(question.protocol, "rows", None) for question in panel.questions] == [None, 7, 7]


def test_a_run_is_taken_up_with_other_questions_but_no_other_settings(tmp_path):
    run = asking(tmp_path)
    experiment = ExperimentFolder.of_run(run, "mine", tmp_path)
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    unasked = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"labelled": None})})
    assert ExperimentFolder.of_run(unasked, "mine", tmp_path).recorded() is not None
    fewer = unasked.model_copy(update={"evaluation": unasked.evaluation.model_copy(update={"rows": 8})})
    with pytest.raises(OtherSettings, match=r"\n  run\.evaluation\.rows: 16 -> 8\n"):
        ExperimentFolder.of_run(fewer, "mine", tmp_path).recorded()

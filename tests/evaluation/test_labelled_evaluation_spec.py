"""What is asked of labelled tasks, by the evaluate command or beside training."""

import pytest
from corpora import tiny_run
from pydantic import ValidationError

from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.validation_messages import explain


def test_what_is_asked_by_default_is_what_the_evaluate_command_asks():
    asked = LabelledEvaluationSpec()
    assert (asked.tasks, asked.protocols, asked.data) == (DEFAULT, ("zero-shot", "probe"), None)


def test_what_is_no_task_no_protocol_or_no_whole_path_is_refused_at_its_place():
    tree = {"tasks": ["stsb", "mrcp"], "protocols": ["probe", "magic"], "data": "data"}
    with pytest.raises(ValidationError) as error:
        LabelledEvaluationSpec.model_validate(tree)
    task, protocol, data = explain(error.value, tree, LabelledEvaluationSpec)
    assert task == "tasks.1: no task is called mrcp; did you mean mrpc?"
    assert protocol == "protocols.1: 'magic' is not known here; write one of zero-shot, probe, fine-tune"
    assert data.startswith("data: 'data' is relative, but workers start in folders of their own")


def test_groups_stand_for_their_tasks_and_names_may_stand_between_commas():
    asked = LabelledEvaluationSpec.model_validate({"tasks": "mnli, stsb", "protocols": "zero-shot, fine-tune"})
    assert asked.tasks == ("mnli-matched", "mnli-mismatched", "stsb")
    assert asked.kinds == ["zero-shot", "fine-tune"]
    assert LabelledEvaluationSpec.model_validate({"tasks": ["sick"]}).tasks == ("sick-relatedness", "sick-entailment")
    for wrong in (3, [3], [["stsb"]]):
        with pytest.raises(ValidationError, match="tasks"):
            LabelledEvaluationSpec.model_validate({"tasks": wrong})


def test_what_its_checkpoints_are_asked_makes_a_run_no_other_run(tmp_path):
    run = tiny_run(tmp_path)
    asked = run | {"evaluation": {"rows": 16, "labelled": {"tasks": ["stsb"]}}}
    measured = run | {"evaluation": {"rows": 17}}
    one, two, three = (RunSpec.model_validate(tree).digest() for tree in (run, asked, measured))
    assert one == two != three


def test_settings_of_fine_tuning_are_asked_where_it_is_asked_and_refused_elsewhere():
    tuned = {"protocols": ["probe", "fine-tune"], "fine_tune": {"epochs": 2, "pairs": "concatenated"}}
    assert LabelledEvaluationSpec.model_validate(tuned).asked == [
        "probe", {"kind": "fine-tune", "epochs": 2, "pairs": "concatenated"}
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="protocols do not hold fine-tune"):
        LabelledEvaluationSpec.model_validate(tuned | {"protocols": ["probe"]})

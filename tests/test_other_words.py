"""Words of others are taken, or answered with ours and their place."""

import pytest

from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, expanded
from cogito_ray.sweeps.yaml_io.yaml_loader import Document
from cogito_ray.training.learning_rate_schedule import CosineSpec

PLACES = [
    ("training.epochs", 3, "did you mean steps (epochs x train rows / batch,"),
    ("epochs", 3, "did you mean training.steps (epochs x train rows / batch,"),
    ("objective.deletion_rate", 0.6, "did you mean rate (of objective tsdae)?"),
    ("training.schedule", {"kind": "linear"}, "did you mean wsd (with decay: 1.0)?"),
    ("training.warmup_steps", 9, "did you mean training.schedule.warmup_steps?"),
    ("model.encoder.recursive", True, "did you mean tied (with a depth)?"),
    ("loss.regularisers", [{"kind": "t_regs_mst"}], "did you mean mst (T-REGS)?"),
]


@pytest.mark.parametrize(("place", "value", "answer"), PLACES)
def test_a_word_of_others_is_answered_with_ours(place, value, answer):
    tree = {"data": {"sources": {"a": {"kind": "files", "path": "/a"}}}, "model": {}, "objective": {"kind": "tsdae"},
            "training": {}, "loss": {}}  # fmt: skip
    *above, key = place.split(".")
    here = tree
    for part in above:
        here = here.setdefault(part, {})
    here[key] = value
    with pytest.raises(ValueError, match="fault") as refused:
        Document.of(tree, ()).either()
    assert answer in str(refused.value)


def test_groups_of_tasks_are_written_out():
    assert expanded(["sick", "stsb", "mnli-mm", "stsb"]) == [
        "sick-relatedness", "sick-entailment", "stsb", "mnli-mismatched",
    ]  # fmt: skip
    glue = {"mrpc", "qqp", "stsb", "mnli-matched", "mnli-mismatched", "cola", "rte", "sst2", "qnli"}
    assert glue <= set(expanded(["glue"]))
    assert all(TASKS[name].folder.startswith("glue/") and TASKS[name].scored != "test" for name in expanded(["glue"]))
    assert set(expanded(["all"])) == set(TASKS)


def test_a_cosine_warms_up_by_steps_as_by_the_share_that_they_are():
    by_steps, by_share = CosineSpec(warmup_steps=30), CosineSpec(warmup=0.1)
    for step in range(1, 301):
        assert by_steps.factor(step, 300) == pytest.approx(by_share.factor(step, 300), rel=1e-12)
    assert by_steps.lengthened(2.0).warmup_steps == 60


def test_a_cosine_takes_one_warm_up_and_is_dumped_as_before_without_steps():
    with pytest.raises(ValueError, match="takes either warmup or warmup_steps"):
        CosineSpec(warmup=0.1, warmup_steps=30)
    assert CosineSpec().model_dump() == {"kind": "cosine", "warmup": 0.05, "floor": 0.0}
    assert CosineSpec.model_validate(CosineSpec(warmup_steps=9).model_dump()) == CosineSpec(warmup_steps=9)


def test_a_warm_up_longer_than_the_run_rises_to_its_end():
    assert CosineSpec(warmup_steps=100).factor(10, 10) == pytest.approx(1.0)

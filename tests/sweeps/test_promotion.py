"""Promotion: what may be scaled, and what is refused before anything is spent."""

import pytest
from corpora import unread_run
from pydantic import ValidationError

from cogito_ray.run import RunSpec
from cogito_ray.spec import explain
from cogito_ray.sweeps.files import diff
from cogito_ray.sweeps.promotion import PromoteSpec
from cogito_ray.sweeps.spec import SweepSpec


def sweep(promote, **changed):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=90, report_every=10, batch=8),
        "space": {"objective.rate": {"choice": [0.3, 0.5]}, "model.concepts": {"choice": [8, 16]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
        "promote": promote,
    }
    return SweepSpec.model_validate(tree | changed)


def test_full_runs_differ_from_their_trial_in_what_is_declared_and_in_the_seed():
    spec = sweep({"with": {"training.steps": 5000, "workers": 4}, "seeds": 2})
    trial = spec.trial({"objective.rate": 0.5, "model.concepts": 16}).model_dump(mode="json")
    one, two = (RunSpec.model_validate(tree) for tree in spec.promote.trees(trial))
    assert diff(trial, one.model_dump(mode="json")) == ["training.steps: 90 -> 5000", "workers: 1 -> 4"]
    assert (two.training.steps, two.model.concepts) == (5000, 16)
    assert two.seed != one.seed == trial["seed"]


def test_what_is_not_declared_is_found_among_the_changes():
    promote = PromoteSpec.model_validate({"with": {"training.steps": 5000, "model": {}}})
    lines = ["training.steps: 90 -> 5000", "seed: 0 -> 7", "model.width: 64 -> 128", "objective.rate: 0.5 -> 0.6"]
    assert promote.undeclared(lines) == ["objective.rate: 0.5 -> 0.6"]


@pytest.mark.parametrize(
    ("scaled", "said"),
    [
        ({"training.step": 500}, "promote.with.training.step: there is no such setting in a run; did you mean"),
        ({"model.concepts": 64}, "searches over model.concepts; a full run would lose what it found"),
        ({"model": {"width": 512}}, "searches over model.concepts"),
        ({"workers": 3}, "training.batch 8 cannot be shared by 3 workers"),
        ({"seed": 3}, "say how many seeds with promote.seeds"),
        ({"training.steps": 90}, "every trial has 90 there already"),
    ],
)
def test_promotions_that_cannot_be_are_refused_when_the_file_is_read(scaled, said):
    with pytest.raises(ValidationError) as fault:
        sweep({"with": scaled})
    assert said in str(fault.value)

@pytest.mark.parametrize("scaled", [{"workers": 3}, {"training.step": 500}], ids=["of every corner", "unknown"])
def test_what_follows_from_one_fault_is_not_told_besides(scaled):
    with pytest.raises(ValidationError) as fault:
        sweep({"with": scaled})
    assert len(explain(fault.value)[0].splitlines()) == 1


def test_a_promotion_that_scales_nothing_is_refused():
    with pytest.raises(ValidationError, match="at least 1 item"):
        sweep({"with": {}})


def test_a_promotion_reads_back_as_it_was_written_down():
    spec = sweep({"with": {"training.steps": 5000}})
    assert SweepSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_every_corner_is_tried_at_full_size():
    orthogonal = {"regularisers": [{"kind": "orthogonality"}], "weighting": {"kind": "fixed"}}
    run = sweep({"with": {"training.steps": 5000}}).run | {"loss": orthogonal}
    with pytest.raises(ValidationError, match="a full run would be none"):
        sweep({"with": {"model.width": 8, "model.heads": 2}}, run=run)


def test_full_runs_alone_may_be_asked_labelled_questions():
    asked = {"tasks": ["stsb"], "data": "/data"}
    spec = sweep({"with": {"training.steps": 5000, "evaluation.labelled": asked}})
    trial = spec.trial({"objective.rate": 0.5, "model.concepts": 16}).model_dump(mode="json")
    [full] = (RunSpec.model_validate(tree) for tree in spec.promote.trees(trial))
    assert full.evaluation.labelled.tasks == ("stsb",)
    assert spec.promote.undeclared(diff(trial, full.model_dump(mode="json"))) == []
    run = sweep({"with": {"training.steps": 5000}}).run
    with pytest.raises(ValidationError, match=r"run\.evaluation\.labelled: a sweep's trials are not asked;"):
        sweep({"with": {"training.steps": 5000}}, run=run | {"evaluation": {"labelled": asked}})

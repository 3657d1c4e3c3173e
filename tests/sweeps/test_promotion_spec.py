"""Promotion: what may be scaled, and what is refused before anything is spent."""

import pytest
from corpora import unread_run
from pydantic import ValidationError

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import diff

POINT = {"objective.rate": 0.5, "model.concepts": 16}


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


def full(spec, sample):
    """The first full run of this point, and how it differs from its trial."""
    run = RunSpec.model_validate(spec.promote.trees(spec.search_space, sample)[0])
    return run, diff(spec.trial(sample).model_dump(mode="json"), run.model_dump(mode="json"))


def test_full_runs_differ_from_their_trial_in_what_is_declared_and_in_the_seed():
    spec = sweep({"with": {"training.steps": 5000, "workers": 4}, "seeds": 2})
    one, two = (RunSpec.model_validate(tree) for tree in spec.promote.trees(spec.search_space, POINT))
    assert full(spec, POINT)[1] == ["training.steps: 90 -> 5000", "workers: 1 -> 4"]
    assert (two.training.steps, two.model.concepts) == (5000, 16)
    assert two.seed != one.seed == spec.trial(POINT).seed


RATIOS = {
    "model.token_width": {"ratio": {"of": "model.width", "choice": [0.25, 1.0]}},
    "model.concepts": {"ratio": {"of": "data.length", "choice": [0.125, 0.25]}},
}


@pytest.mark.parametrize(
    "promote",
    [{"with": {"model.width": 512, "model.heads": 8, "data.length": 512}}, {"scale": {"model.width": 8}}],
    ids=["with", "scale"],
)
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_a_number_is_the_same_share_of_it_at_full_size(promote, share):
    spec = sweep(promote, space=RATIOS)
    trial = spec.trial(point := {"model.token_width": share, "model.concepts": 0.125})
    run, changes = full(spec, point)
    assert run.model.width > trial.model.width
    assert run.model.token_width == share * run.model.width
    assert run.model.concepts * 8 == run.data.length
    assert f"model.token_width: {trial.model.token_width} -> {run.model.token_width}" in changes
    assert spec.promote.undeclared(changes, spec.search_space) == []


def test_numbers_that_the_sweep_searches_over_are_multiplied():
    spec = sweep({"scale": {"model.concepts": 2, "training.batch": 4}})
    for concepts in (8, 16):
        run, changes = full(spec, {"objective.rate": 0.5, "model.concepts": concepts})
        assert (run.model.concepts, run.training.batch) == (2 * concepts, 32)
        assert spec.promote.undeclared(changes, spec.search_space) == []


def test_a_number_inside_a_preset_is_multiplied_before_shares_of_it_are_taken():
    space = {
        "model.encoder": {"preset": {"flat": {"depth": 2}, "deep": {"depth": 3}}},
        "training.report_every": {"ratio": {"of": "model.encoder.depth", "choice": [5]}},
    }
    run, _ = full(sweep({"scale": {"model.encoder.depth": 2}}, space=space), dict.fromkeys(space) | {
        "model.encoder": "deep", "training.report_every": 5,
    })  # fmt: skip
    assert (run.model.encoder.depth, run.training.report_every) == (6, 30)


def test_what_is_not_declared_is_found_among_the_changes():
    spec = sweep({"with": {"training.steps": 5000, "model.width": 128}})
    lines = ["training.steps: 90 -> 5000", "seed: 0 -> 7", "model.width: 64 -> 128", "objective.rate: 0.5 -> 0.6"]
    assert spec.promote.undeclared(lines, spec.search_space) == ["objective.rate: 0.5 -> 0.6"]


@pytest.mark.parametrize(
    ("promote", "said"),
    [
        ({"with": {"training.step": 500}}, "promote.with.training.step: there is no such setting in a run; did you"),
        ({"with": {"model.concepts": 64}}, "searches over model.concepts, and a full run keeps what it found"),
        ({"with": {"workers": 3}}, "training.batch 8 cannot be shared by 3 workers"),
        ({"with": {"seed": 3}}, "say how many seeds with promote.seeds"),
        ({"with": {"training.steps": 90}}, "every trial has 90 there already"),
        ({"scale": {"model.widht": 2}}, "promote.scale.model.widht: there is no such setting in a run; did you mean"),
        ({"scale": {"objective.kind": 2}}, "promote.scale.objective.kind: is no number of a run"),
        ({"scale": {"model.width": 1}}, "promote.scale.model.width: 1 times a number is that number"),
        ({"scale": {"model.width": 2}, "with": {"model.width": 8}}, "promote.with.model.width sets it already"),
        ({"scale": {"model.heads": 3}}, "a full run would be none"),
        ({"scale": {"model.token_width": 3}}, "promote multiplies model.token_width, which is None; set a number"),
    ],
)
def test_promotions_that_cannot_be_are_refused_when_the_file_is_read(promote, said):
    with pytest.raises(ValidationError) as fault:
        sweep(promote)
    assert said in str(fault.value)


def test_a_share_is_not_multiplied_besides():
    with pytest.raises(ValidationError, match=r"is a share of model\.width and grows with it"):
        sweep({"scale": {"model.width": 4, "model.token_width": 4}}, space=RATIOS)


@pytest.mark.parametrize("scaled", [{"workers": 3}, {"training.step": 500}], ids=["of every corner", "unknown"])
def test_what_follows_from_one_fault_is_not_told_besides(scaled):
    with pytest.raises(ValidationError) as fault:
        sweep({"with": scaled})
    assert len(explain(fault.value)[0].splitlines()) == 1


def test_a_promotion_that_scales_nothing_is_refused():
    with pytest.raises(ValidationError, match="would be its trial again; say what it has instead"):
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
    run, changes = full(spec, POINT)
    assert run.evaluation.labelled.tasks == ("stsb",)
    assert spec.promote.undeclared(changes, spec.search_space) == []
    run = sweep({"with": {"training.steps": 5000}}).run
    with pytest.raises(ValidationError, match=r"run\.evaluation\.labelled: a sweep's trials are not asked;"):
        sweep({"with": {"training.steps": 5000}}, run=run | {"evaluation": {"labelled": asked}})


MUP = {"kind": "mup", "base_width": 32, "base_depth": 2, "base_heads": 2}


def test_full_runs_rungs_and_trials_along_an_axis_keep_the_base_sizes_of_their_parametrisation():
    model = {"width": 32, "heads": 2, "parametrisation": MUP}
    axes = {"model.width": {"choice": [32, 64]}}
    run = unread_run(steps=90, report_every=10, batch=8)
    grown = {"promote": {"scale": {"model.width": 4}}, "scale": {"sizes": {"model.width": [32, 64, 128]}}}
    spec = sweep(grown["promote"], run=run | {"model": run["model"] | model}, space=axes)
    trees = [*spec.promote.trees(spec.search_space, {"model.width": 64}), spec.trial({"model.width": 64}).model_dump()]
    widths = [(RunSpec.model_validate(tree).model.width, tree["model"]["parametrisation"]) for tree in trees]
    assert [width for width, _ in widths] == [256, 64]
    fixed = sweep(grown["promote"], run=run | {"model": run["model"] | model}, scale=grown["scale"])
    rungs = [RunSpec.model_validate(tree).model for _, tree in fixed.scale.trees(fixed.search_space, POINT)]
    assert [rung.width for rung in rungs] == [32, 64, 128]
    assert {one.base.width for one in [*rungs, *(RunSpec.model_validate(tree).model for tree in trees)]} == {32}


def test_a_sweep_under_the_standard_parametrisation_is_promoted_under_mup():
    spec = sweep({"with": {"model.parametrisation": MUP}, "scale": {"model.width": 2}})
    run, changes = full(spec, POINT)
    assert run.model.base is not None
    assert run.model.base.width == 32
    assert {line.partition(":")[0].rpartition(".")[0] for line in changes} == {"model", "model.parametrisation"}
    assert run.model.width == 128

"""Axes that set several dotted paths together."""

import copy

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from optuna.distributions import CategoricalDistribution
from pydantic import ValidationError

from cogito_ray.sweeps.early_stopping.pbt_perturbation import explored, movable
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.json_schema import sweep_schema
from cogito_ray.sweeps.yaml_io.yaml_writer import diff

BUNDLE = {
    "blind": {"objective": {"kind": "tsdae", "rate": 0.6}, "model.decoder.kind": "position"},
    "seeing": {"objective": {"kind": "mlm"}, "model.decoder.kind": "perceiver", "model.concepts": 4},
}
BASE = {
    "name": "tiny",
    "run": {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32},
        "model": {"width": 64, "heads": 4, "concepts": 8, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "training": {"steps": 100, "batch": 8},
    },
    "space": {"task": {"bundle": BUNDLE}, "training.batch": {"choice": [8, 16]}},
    "goals": [{"metric": "eval/word_content_auc", "mode": "max"}],
    "budget": {"trials": 4},
}


def sweep(**changes):
    return SweepSpec.model_validate(copy.deepcopy(BASE) | changes)


def space(**more):
    return BASE["space"] | {path.replace("__", "."): domain for path, domain in more.items()}


def faults(**changes):
    with pytest.raises(ValidationError) as error:
        sweep(**changes)
    return [line for fault in explain(error.value, BASE | changes, SweepSpec) for line in fault.splitlines()]


def parts(run):
    return run.objective.kind, run.model.decoder.kind, run.model.concepts


def test_a_bundle_sets_all_its_paths_and_leaves_others_as_the_run_has_them():
    runs = [sweep().trial({"task": name, "training.batch": 8}) for name in BUNDLE]
    assert [parts(run) for run in runs] == [("tsdae", "position", 8), ("mlm", "perceiver", 4)]


def test_a_sampler_draws_its_name_and_a_grid_walks_each():
    assert sweep().search_space.distributions()["task"] == CategoricalDistribution(("blind", "seeing"))
    cells = sweep(search={"sampler": "grid"}).search_space.grid_points()
    assert [(cell["task"], cell["training.batch"]) for cell in cells] == [
        ("blind", 8), ("blind", 16), ("seeing", 8), ("seeing", 16),
    ]  # fmt: skip


def test_an_axis_inside_of_what_a_bundle_sets_is_written_after_it_and_depends_on_its_name():
    spec = sweep(space={"objective.rate": {"choice": [0.4], "when": {"task": "blind"}}, **BASE["space"]})
    run = spec.trial({"task": "blind", "objective.rate": 0.4, "training.batch": 8})
    assert run.objective.rate == 0.4
    assert parts(spec.trial({"task": "seeing", "training.batch": 8})) == ("mlm", "perceiver", 4)


def test_a_ratio_is_taken_of_a_number_that_a_bundle_sets():
    spec = sweep(space=space(model__token_width={"ratio": {"of": "model.concepts", "choice": [2]}}))
    assert spec.trial({"task": "seeing", "training.batch": 8, "model.token_width": 2}).model.token_width == 8


def test_points_to_start_with_and_combinations_to_leave_out_name_bundles():
    grid = sweep(
        search={"sampler": "grid"}, exclude=[{"task": "seeing", "training.batch": 16}], budget={"trials": 3}
    )
    assert {"task": "seeing", "training.batch": 16} not in grid.search_space.grid_points()
    assert sweep(search={"start_with": [{"task": "seeing"}]}).search.start_with == ({"task": "seeing"},)
    assert faults(search={"start_with": [{"task": "seing"}]})[0].startswith("search.start_with.0.task: 'seing' is not")


def test_a_full_run_keeps_what_the_bundle_set():
    spec = sweep(promote={"with": {"training.steps": 5000}, "scale": {"model.concepts": 2}})
    for name, concepts in (("blind", 16), ("seeing", 8)):
        sample = {"task": name, "training.batch": 8}
        [tree] = spec.promote.trees(spec.search_space, sample)
        assert tree["model"]["concepts"] == concepts
        assert spec.promote.undeclared(diff(spec.search_space.tree(sample), tree), spec.search_space) == []
    [said] = faults(promote={"with": {"model.decoder.kind": "weighted"}})
    assert said.startswith("promote.with.model.decoder.kind: the sweep searches over task")


def test_a_copy_may_leave_a_bundle_only_for_settings_that_keep_its_weights():
    rates = {"slow": {"training.optimizer.learning_rate": 1e-4}, "fast": {"training.optimizer.learning_rate": 1e-2}}
    spec = sweep(space=space(rate={"bundle": rates}))
    assert list(movable(spec.search_space)) == ["rate"]
    sample = {"task": "blind", "training.batch": 8, "rate": "slow"}
    assert explored(sample, movable(spec.search_space), 0.0, np.random.default_rng(0))["task"] == "blind"


@pytest.mark.parametrize(
    ("axes", "fault"),
    [
        (
            space(model__concepts={"choice": [4, 8]}),
            "space.model.concepts: sets model.concepts, as another axis does; take it out of one of them",
        ),
        (
            space(other={"bundle": {"few": {"model.concepts": 2}}}),
            "space.other: sets model.concepts, as another axis does; take it out of one of them",
        ),
        ({"objective": {"bundle": BUNDLE}}, "space.objective: is a setting of a run; give the bundle another name"),
        ({"my task": {"bundle": BUNDLE}}, "space.my task: a bundle has a name of its own"),
        (
            {"task": {"bundle": {"a": {"model.widht": 3}}}},
            "space.task.bundle.a.model.widht: there is no such setting in a run; did you mean model.width",
        ),
        ({"task": {"bundle": {"a": {}}}}, "space.task.bundle.a: needs at least 1"),
        (
            {"task": {"bundle": {**BUNDLE, "odd": {"model.decoder.kind": "diffusion"}}}},
            "space.task.odd: model.decoder 'diffusion' reads ['ids', 'noise'], which objective 'tsdae' does",
        ),
    ],
)
def test_a_bundle_that_cannot_be_is_refused(axes, fault):
    [said] = faults(space=axes)
    assert said.startswith(fault)


def test_an_editor_knows_bundles_and_still_finds_a_path_that_is_none():
    schema = Draft202012Validator(sweep_schema())
    assert schema.is_valid(BASE)
    assert not schema.is_valid(BASE | {"space": {"task": {"choice": [1]}}})
    assert not schema.is_valid(BASE | {"space": {"model.widht": {"choice": [1]}}})

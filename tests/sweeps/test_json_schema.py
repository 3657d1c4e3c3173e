"""JSON Schemas of sweep and run files: they are schemas, and they find what an editor should find."""

import copy

import pytest
from jsonschema import Draft202012Validator

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.yaml_io.json_schema import run_schema, sweep_schema

RUN = {
    "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32},
    "model": {"decoder": {"kind": "position"}},
    "objective": {"kind": "tsdae"},
}
SWEEP = {
    "name": "tiny",
    "run": {**RUN, "model": {"width": 64}},
    "space": {
        "model.decoder": {"preset": {"position": {"kind": "position"}}},
        "loss.weighting.weights.variance": {"loguniform": [0.01, 1]},
        "loss.regularisers.0.layers": {"choice": ["last", "every"]},
        "model.token_width": {"ratio": {"of": "model.width", "choice": [0.5]}},
    },
    "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
    "budget": {"trials": 3},
}


def changed(tree, *keys, value):
    tree = copy.deepcopy(tree)
    here = tree
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    return tree


@pytest.mark.parametrize("schema", [run_schema(), sweep_schema()], ids=["run", "sweep"])
def test_it_is_a_valid_schema(schema):
    Draft202012Validator.check_schema(schema)


def test_a_valid_file_validates():
    assert list(Draft202012Validator(run_schema()).iter_errors(RUN)) == []
    assert list(Draft202012Validator(sweep_schema()).iter_errors(SWEEP)) == []


@pytest.mark.parametrize("optimizer", [{"learning_rate": 0.1}, {"kind": "adamw"}, {"kind": "muon", "momentum": 0.9}])
def test_an_optimizer_may_be_of_a_kind_or_of_none(optimizer):
    run = RUN | {"training": {"optimizer": optimizer}}
    assert list(Draft202012Validator(run_schema()).iter_errors(run)) == []
    assert list(Draft202012Validator(sweep_schema()).iter_errors(SWEEP | {"run": run})) == []


def test_space_may_complete_the_run():
    assert Draft202012Validator(sweep_schema()).is_valid(changed(SWEEP, "run", value={}))


@pytest.mark.parametrize("schema", [run_schema(), sweep_schema()], ids=["run", "sweep"])
def test_a_file_that_extends_another_need_not_be_whole(schema):
    assert not Draft202012Validator(schema).is_valid({})
    assert Draft202012Validator(schema).is_valid({"extends": "base.yaml"})
    assert not Draft202012Validator(schema).is_valid({"extends": {"file": "base.yaml"}})


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("sapce",), {}),
        (("run", "model", "widht"), 3),
        (("run", "model", "width"), "wide"),
        (("run", "objective", "kind"), "unheard"),
        (("space", "model.widht"), {"choice": [1]}),
        (("space", "model.width"), {"choose": [1]}),
        (("space", "model.width"), {"choice": [1], "step": 1}),
        (("early_stopping",), {"kind": "asha"}),
        (("goals",), "eval/reconstruction_nats"),
    ],
)
def test_a_wrong_key_or_type_is_found(keys, value):
    assert not Draft202012Validator(sweep_schema()).is_valid(changed(SWEEP, *keys, value=value))


class Described(Spec):
    """Settings of these tests."""

    rate: float
    """How fast,
    in words."""
    bare: int = 0


class Heir(Described):
    """What inherits them."""

    more: int = 1
    """Its own."""


def test_docstrings_of_fields_describe_them_those_that_are_inherited_as_well():
    said = {name: field.get("description") for name, field in Heir.model_json_schema()["properties"].items()}
    assert said == {"rate": "How fast,\nin words.", "bare": None, "more": "Its own."}


def test_settings_that_stand_in_no_file_have_a_schema_without_descriptions():
    scope = {"Spec": Spec}
    exec('class Typed(Spec):\n    rate: float\n    """How fast."""', scope)
    assert scope["Typed"].model_json_schema()["properties"] == {"rate": {"title": "Rate", "type": "number"}}

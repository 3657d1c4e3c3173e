"""Each parameter has one role, which its own module decides; optimizers have a group for each."""

import pytest
import torch
from model_choices import MODELS, fitting
from torch import nn

from cogito_ray.nn.concept_latents import Latents
from cogito_ray.nn.position_encodings import LearnedPositions
from cogito_ray.testing.tiny_runs import build, run
from cogito_ray.training.optimizer import AdamWSpec
from cogito_ray.training.parameter_roles import Role, parameters_by_role


@pytest.mark.parametrize(("place", "kind"), MODELS, ids=lambda part: part if isinstance(part, str) else ".".join(part))
def test_each_parameter_of_every_kind_has_one_role_that_suits_its_axes(place, kind):
    total = build(fitting(place, kind))
    roles = parameters_by_role(total)
    named = [name for parameters in roles.values() for name in parameters]
    assert sorted(named) == sorted(name for name, _ in total.named_parameters())
    for role, parameters in roles.items():
        assert {parameter.ndim > 1 for parameter in parameters.values()} <= {role is not Role.NORMS_AND_BIASES}


def test_what_is_no_matrix_is_found_where_it_stands():
    model = {
        "latents": {"kind": "learned"},
        "embedding": {"positions": {"kind": "learned"}},
        "decoder": {"kind": "weighted"},
        "head": {"tied": False},
    }
    roles = parameters_by_role(build(run(model=model, objective={"kind": "tsdae"})))
    assert set(roles[Role.EMBEDDINGS]) == {
        "model.encoder.embedding.token.weight",
        "model.encoder.embedding.positions.table",
    }
    assert set(roles[Role.HEAD]) == {"model.head.own.weight"}
    assert set(roles[Role.LATENTS]) == {"model.encoder.latents.vectors", "model.encoder.latents.codes"}
    assert set(roles[Role.SCORES]) == {"model.decoder.scores"}
    assert "model.head.bias" in roles[Role.NORMS_AND_BIASES]


def test_a_module_that_names_no_role_is_refused():
    module = nn.Linear(2, 2)
    module.parameter_roles = {"weight": "matrix"}
    with pytest.raises(ValueError, match="'matrix' is not a valid Role"):
        parameters_by_role(module)


def test_settings_name_every_role():
    assert list(type(AdamWSpec().groups).model_fields) == [role.value for role in Role]


def test_a_group_has_its_own_rate_and_decay_and_the_rest_those_of_all():
    groups = {
        "embeddings": {"learning_rate_factor": 0.5, "weight_decay": 0.0},
        "norms_and_biases": {"weight_decay": 0.2},
    }
    spec = AdamWSpec.model_validate({"learning_rate": 0.01, "weight_decay": 0.1, "groups": groups})
    total = build(run())
    found = {}
    for group in spec.build(total).param_groups:
        for parameter in group["params"]:
            found[parameter] = group["initial_lr"], group["weight_decay"]
    expected = {Role.EMBEDDINGS: (0.005, 0.0), Role.NORMS_AND_BIASES: (0.01, 0.2)}
    for role, parameters in parameters_by_role(total).items():
        assert {found[parameter] for parameter in parameters.values()} <= {expected.get(role, (0.01, 0.1))}


def test_settings_of_a_role_that_no_parameter_has_are_refused():
    spec = AdamWSpec.model_validate({"groups": {"scores": {"weight_decay": 0.0}}})
    with pytest.raises(ValueError, match=r"training.optimizer.groups.scores: no parameter has this role; leave it out"):
        spec.build(build(run()))


def test_weights_that_are_frozen_are_in_no_group():
    module = nn.ModuleList([Latents(torch.zeros(2, 3)), LearnedPositions(4, 2)])
    module[0].requires_grad_(False)
    [group] = AdamWSpec().build(module).param_groups
    assert group["params"] == [module[1].table]

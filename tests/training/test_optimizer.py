"""Muon beside AdamW, and steps that are skipped because their gradient is not finite."""

import math

import pytest
import torch
from pydantic import TypeAdapter

from cogito_ray.testing.tiny_runs import build, losses_of, run
from cogito_ray.training.optimizer import AdamWSpec, MuonSpec, OptimizerSpec, averaged, skip_if_not_finite
from cogito_ray.training.parameter_roles import Role, parameters_by_role
from cogito_ray.training.step_metrics import noise_scale

KINDS = pytest.mark.parametrize("kind", [AdamWSpec, MuonSpec])


def stepped(spec, gradients="....", clean=False):
    """(weights, optimizer's state) after a step each, of which those marked x have a NaN in their gradient."""
    settings = run()
    total, optimizer = build(settings), None
    optimizer = spec.build(total)
    for mark in gradients:
        losses_of(settings, total).total.backward()
        if mark == "x":
            total.model.encoder.latents.vectors.grad[0, 0] = math.nan
        skip_if_not_finite(optimizer, torch.nn.utils.clip_grad_norm_(total.parameters(), 1.0))
        optimizer.step()
        optimizer.zero_grad()
    return total.state_dict(), [moment for state in optimizer.state.values() for moment in state.values()]


@KINDS
def test_a_skipped_step_leaves_weights_and_moments_as_they_were(kind):
    (weights, moments), (expected, as_before) = stepped(kind(), "..x.x"), stepped(kind(), "...")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert all(map(torch.equal, moments, as_before))


@KINDS
def test_a_first_step_that_is_skipped_changes_nothing(kind):
    weights, moments = stepped(kind(), "x")
    assert all(torch.equal(weights[name], value) for name, value in build(run()).state_dict().items())
    assert not any(moment.any() for moment in moments)


def test_muon_moves_matrices_alone_and_as_far_as_adamw_does():
    """A matrix moves by 0.2 of the rate a weight, from orthogonal updates whose singular values are 0.7 to 1.2."""
    before, (after, _) = build(run()), stepped(MuonSpec(learning_rate=0.01, weight_decay=0.0), ".")
    adamw, _ = stepped(AdamWSpec(learning_rate=0.01, weight_decay=0.0), ".")
    for role, parameters in parameters_by_role(before).items():
        for name, parameter in parameters.items():
            moved = (after[name] - parameter).square().mean().sqrt() / 0.01
            if role is Role.MATRICES:
                short = min(parameter.shape) / max(parameter.shape)
                assert 0.1 < moved / max(0.2, 0.2 * short) < 0.3 / 0.2
            else:
                assert torch.equal(after[name], adamw[name])


@KINDS
def test_parameters_without_a_matrix_are_for_adamw(kind):
    module = torch.nn.LayerNorm(3)
    if kind is AdamWSpec:
        assert len(kind().build(module).param_groups) == 1
    else:
        with pytest.raises(ValueError, match="'muon': the model has no matrix that is trained; use 'adamw'"):
            kind().build(module)


@KINDS
def test_an_average_follows_the_weights_by_its_decay(kind):
    module, draw = torch.nn.Linear(3, 2), torch.Generator().manual_seed(0)
    optimizer, expected = kind(learning_rate=0.1, ema={"decay": 0.75}).build(module), None
    for _ in range(5):
        module.weight.grad, module.bias.grad = torch.randn(2, 3, generator=draw), torch.randn(2, generator=draw)
        optimizer.step()
        now = module.weight.detach().clone()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
    with averaged(optimizer):
        torch.testing.assert_close(module.weight, expected)
    assert torch.equal(module.weight, now)


def test_runs_are_named_as_before_there_were_kinds_of_optimizers():
    assert AdamWSpec(learning_rate=0.1).settled() == {"learning_rate": 0.1}
    assert MuonSpec().settled() == {"kind": "muon"}


def test_an_optimizer_without_a_kind_is_adamw():
    assert TypeAdapter(OptimizerSpec).validate_python({"learning_rate": 0.1}) == AdamWSpec(learning_rate=0.1)


@pytest.mark.parametrize(("optimizer", "named"), [({"kind": "muon"}, " 'muon'"), ({"ema": {}}, ".ema")])
def test_what_needs_whole_weights_is_refused_where_they_are_sharded(optimizer, named):
    training = {"parallel": "fsdp", "optimizer": optimizer, "batch": 4}
    with pytest.raises(ValueError, match=rf"training.parallel 'fsdp': training.optimizer{named} is for ddp"):
        run(training=training, workers=2)


@pytest.mark.parametrize(("pass_rows", "step_rows"), [(1, 2), (4, 64)])
def test_the_noise_scale_is_that_of_which_the_squared_norms_are_made(pass_rows, step_rows):
    signal, noise = 0.25, 12.0
    squares = {f"{name}_square": signal + noise / rows for name, rows in (("step", step_rows), ("pass", pass_rows))}
    found = noise_scale(**squares, step_rows=step_rows, pass_rows=pass_rows)
    assert found == pytest.approx(noise / signal)


def test_a_gradient_that_is_nothing_but_noise_has_no_noise_scale():
    assert math.isnan(noise_scale(1.0, 8.0, step_rows=32, pass_rows=4))

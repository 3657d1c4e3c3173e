"""Sharded weights (FSDP2) give every kind of model the gradient that whole ones do."""

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from model_choices import MODELS, fitting
from torch.distributed.tensor import DTensor

from cogito_ray.testing.tiny_runs import VOCABULARY, build, disturbed, rows, run
from cogito_ray.training.distributed.strategies import STRATEGIES
from cogito_ray.training.optimizer import AdamWSpec


@pytest.fixture(scope="module", autouse=True)
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradients(spec, kind, precision="no", watch=None, *, cpu=True):
    """After one pass, whole, by name."""
    AcceleratorState._reset_state(reset_partial_state=True)
    total, accelerator = disturbed(build(spec)), Accelerator(mixed_precision=precision, cpu=cpu)
    strategy = STRATEGIES[kind](accelerator, total, AdamWSpec())
    if watch is not None:
        watch(total)
    view, other = spec.views(rows().to(accelerator.device), VOCABULARY, torch.Generator().manual_seed(0))
    with strategy.micro_batch(last=True):
        strategy.forward(view, other, total.divisors(view, other)).total.backward()
    found = {name: parameter.grad for name, parameter in total.named_parameters()}
    return {name: grad.full_tensor() if isinstance(grad, DTensor) else grad for name, grad in found.items()}


@pytest.mark.parametrize(("place", "kind"), MODELS, ids=str)
def test_sharded_weights_get_the_gradient_of_whole_ones(place, kind):
    spec = fitting(place, kind)
    whole, sharded = gradients(spec, "ddp"), gradients(spec, "fsdp")
    assert sharded.keys() == whole.keys()
    for name, grad in sharded.items():
        torch.testing.assert_close(grad, whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA: what its autocast computes in, a CPU's does not")
def test_bfloat16_gathers_layers_in_bfloat16_and_gives_the_gradient_of_autocast_to_its_precision():
    spec, seen = run(loss={"regularisers": [{"kind": "vicreg"}], "weighting": {"kind": "kendall_gal"}}), {}

    def watch(total):
        for module in (total.model.encoder.blocks[0].mlp, total.weighting):
            name = type(module).__name__
            module.register_forward_pre_hook(
                lambda module, _, name=name: seen.update({name.removeprefix("FSDP"): next(module.parameters()).dtype})
            )

    how = (("ddp", "bf16", None), ("fsdp", "bf16", watch), ("ddp", "no", None))
    whole, sharded, exact = (gradients(spec, *each, cpu=False) for each in how)
    assert seen == {"GatedFeedForward": torch.bfloat16, "KendallGal": torch.float32}

    def distance(one):
        return sum((one[name] - exact[name]).square().sum() for name in exact).sqrt()

    assert distance(sharded) < 3 * distance(whole)


def test_sharded_weights_are_trained_with_the_rates_that_their_sizes_ask_for():
    spec, rates = fitting(("parametrisation",), "mup"), {}
    for kind in ("ddp", "fsdp"):
        AcceleratorState._reset_state(reset_partial_state=True)
        total = build(spec)
        optimizer = STRATEGIES[kind](Accelerator(cpu=True), total, AdamWSpec()).optimizer
        names = {parameter: name for name, parameter in total.named_parameters()}
        groups = optimizer.param_groups
        rates[kind] = {names[each]: (group["lr"], group["eps"]) for group in groups for each in group["params"]}
    assert rates["fsdp"] == rates["ddp"]
    assert len(set(rates["ddp"].values())) > 2

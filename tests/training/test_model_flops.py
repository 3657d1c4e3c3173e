"""What a step needs in FLOPs, against what torch counts in one, and what a device can do."""

from collections.abc import Callable

import pytest
import torch
from model_choices import MODELS, fitting
from torch.utils.flop_counter import FlopCounterMode

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.decoders.decoder_interface import Decoder
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import name_of
from cogito_ray.testing.tiny_runs import VOCABULARY, build, kinds, run
from cogito_ray.training.model_flops import FORMULAS, matmul_rate, step_flops

RUNS: dict[str, Callable[[], RunSpec]] = {
    f"{'.'.join(place)}={kind}": lambda place=place, kind=kind: fitting(place, kind) for place, kind in MODELS
}
RUNS |= {
    f"objective={name_of(spec)}": lambda spec=spec: run(objective={"kind": name_of(spec)})
    for spec in kinds(ObjectiveSpec)
}
RUNS["contrast"] = lambda: run(loss={"contrast": {"kind": "halves"}})


def counted(spec: RunSpec, total: TotalLoss) -> float:
    """FLOPs of one row, forward and backward, as computed; contrast needs two rows."""
    ids = torch.randint(4, VOCABULARY.size, (2, spec.data.length), generator=torch.Generator().manual_seed(0))
    views = spec.views(ids, VOCABULARY, torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        total(*views).total.backward()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", RUNS)
def test_three_forward_passes_are_about_what_a_step_computes(name: str):
    spec = RUNS[name]()
    total = TotalLoss(spec.model.build(VOCABULARY, spec.data.length), spec.loss)
    # nothing is passed back to inputs without a gradient, and attention's backward makes its scores once more
    assert step_flops(spec, total, VOCABULARY) == pytest.approx(counted(spec, total), rel=0.15)


def test_counting_leaves_weights_gradients_and_random_numbers_alone():
    spec = run()
    total = TotalLoss(spec.model.build(VOCABULARY, spec.data.length), spec.loss)
    before, state = {name: p.clone() for name, p in total.named_parameters()}, torch.get_rng_state()
    step_flops(spec, total, VOCABULARY)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in total.named_parameters())


class LooksAtValues(Decoder):
    """As a plugin's kind may."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, concepts: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        return self.decoder(concepts if concepts.sum().item() else concepts + 1, *rest)

    def attentions_to_init(self) -> list[LookupInit]:
        return self.decoder.attentions_to_init()


def test_what_looks_at_values_is_counted_while_it_computes():
    spec = run()
    total = TotalLoss(spec.model.build(VOCABULARY, spec.data.length), spec.loss)
    flops = step_flops(spec, total, VOCABULARY)
    total.model.decoder = LooksAtValues(total.model.decoder)
    assert step_flops(spec, total, VOCABULARY) == flops


@pytest.mark.parametrize("loss", ["liger", "cut"])
def test_flops_are_counted_where_the_kernels_of_the_loss_cannot_run(loss):
    spec = run(model={"head": {"loss": loss}})
    total = TotalLoss(spec.model.build(VOCABULARY, spec.data.length), spec.loss)
    chosen = total.model.head.weighted_sum
    assert step_flops(spec, total, VOCABULARY) == step_flops(run(), build(run()), VOCABULARY)
    assert total.model.head.weighted_sum is chosen


def test_a_device_is_measured_once_a_process():
    cpu = torch.device("cpu")
    assert matmul_rate(cpu, "float32") == matmul_rate(cpu, "float32") > 1e9

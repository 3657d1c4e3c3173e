"""What every way to weigh terms promises, whatever it learns."""

import itertools
import math
from typing import get_args

import pytest
import torch

from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.losses.loss_weighting import KendallGalSpec, LearnableSpec, WeightingSpec

FLOORS = {"reconstruction": 0.0, "contrast": 0.0} | {
    kind.model_fields["kind"].default: kind.floor for kind in get_args(get_args(RegulariserSpec)[0])
}
WEIGHTINGS = [kind() for kind in get_args(get_args(WeightingSpec)[0])]
ALLOWED = [
    (weighting, term)
    for weighting, term in itertools.product(WEIGHTINGS, FLOORS)
    if term != "reconstruction" and (FLOORS[term] >= 0 or not weighting.needs_nonnegative)
]


def learned(weighting: torch.nn.Module, terms: dict[str, torch.Tensor], steps: int, rate: float = 2e-3) -> None:
    """Descend by the weighting's own parameters, as training does at its default rate."""
    optimizer = torch.optim.AdamW(weighting.parameters(), lr=rate, weight_decay=0)
    for _ in range(steps):
        optimizer.zero_grad()
        weighting(terms).backward()
        optimizer.step()


@pytest.mark.parametrize(("spec", "term"), ALLOWED, ids=lambda part: part if isinstance(part, str) else part.kind)
def test_no_total_goes_below_its_bound_whatever_is_learned(spec: WeightingSpec, term: str):
    floors = {name: FLOORS[name] for name in ("reconstruction", term)}
    weighting = spec.build(["reconstruction"], [term])
    for at, extreme in itertools.product((0.0, 1e-6, 3.0), (-100.0, -5.0, 0.0, 5.0, 100.0)):
        for parameter in weighting.parameters():
            torch.nn.init.constant_(parameter, extreme)
            parameter.data[0] = -extreme
        terms = {"reconstruction": torch.tensor(3.0), term: torch.tensor(FLOORS[term] + at)}
        assert weighting(terms) >= spec.bound(floors) - 1e-4


@pytest.mark.parametrize("spec", [LearnableSpec(), KendallGalSpec()], ids=lambda spec: spec.kind)
def test_a_bound_of_what_is_learned_is_reached(spec: WeightingSpec):
    """Not merely low enough: the guard that watches it can bite."""
    weighting = spec.build(["reconstruction"], ["variance"])
    terms = {"reconstruction": torch.tensor(0.0), "variance": torch.tensor(0.0)}
    learned(weighting, terms, 300, rate=0.1)
    assert weighting(terms).item() == pytest.approx(spec.bound(dict.fromkeys(terms, 0.0)), abs=0.01)


def test_a_term_that_is_solved_weighs_no_more_than_the_min_variance_allows_and_is_heard_at_once_when_it_is_not():
    spec = KendallGalSpec(min_variance=0.05)
    weighting = spec.build(["reconstruction"], ["variance"])
    solved = {"reconstruction": torch.tensor(3.0), "variance": torch.tensor(0.0)}
    learned(weighting, solved, 600, rate=0.02)
    hinge = torch.tensor(0.0, requires_grad=True)
    weighting(solved | {"variance": hinge}).backward()
    assert hinge.grad.item() == pytest.approx(0.5 / 0.05)
    before = weighting.log_variance[1].item()
    learned(weighting, solved | {"variance": torch.tensor(9.0)}, 50, rate=0.02)
    assert before > math.log(0.05) - 0.3                            # momentum may carry it below a little, not on
    assert weighting.log_variance[1] > math.log(0.05) + 0.3


@pytest.mark.parametrize(("hard", "easy", "rate"), [(5.0, 0.3, 2e-3), (3.0, 0.0, 1e-1)])
def test_learned_weights_never_give_up_the_harder_term(hard: float, easy: float, rate: float):
    """Two terms start with a half each; 1,000 steps at the default learning rate, and at a far higher one."""
    weighting = LearnableSpec().build(["reconstruction"], ["variance"])
    terms = {"reconstruction": torch.tensor(hard, requires_grad=True), "variance": torch.tensor(easy)}
    learned(weighting, {name: value.detach() for name, value in terms.items()}, 1000, rate)
    weighting(terms).backward()
    assert terms["reconstruction"].grad.item() >= 0.25

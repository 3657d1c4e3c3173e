"""What every pressure against collapse promises. The argument `regulariser` is its Spec."""

import itertools
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from cogito_ray.analysis.effective_rank import effective_ranks
from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.losses.loss_weighting import WeightingSpec
from cogito_ray.spec_registry import name_of
from cogito_ray.testing.tiny_runs import VOCABULARY, build, kinds, rows, run, untrained


def nearly_collapsed(directions: int = 8) -> Tensor:
    """Concepts (8, 6, 16) of a text point almost the same way, another one per text (8) or the same for all (1)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(directions, 1, 16, generator=generator) + 0.05 * torch.randn(8, 6, 16, generator=generator)


class RegulariserSuite:
    """What every regulariser promises: inherit it, and parametrize the class over `regulariser`."""

    def collapsed(self, regulariser: RegulariserSpec) -> Tensor:
        """Concepts whose collapse it can tell."""
        return nearly_collapsed()

    def test_descending_it_raises_the_rank(self, regulariser: RegulariserSpec) -> None:
        concepts = self.collapsed(regulariser).requires_grad_()
        optimizer = torch.optim.Adam([concepts], lr=0.05)
        before = effective_ranks(concepts).mean()
        for _ in range(60):
            optimizer.zero_grad()
            regulariser(concepts).backward()
            optimizer.step()
        assert effective_ranks(concepts).mean() > 1.3 * before

    def test_it_does_not_depend_on_the_order_of_concepts_or_texts(self, regulariser: RegulariserSpec) -> None:
        concepts = nearly_collapsed()
        torch.testing.assert_close(regulariser(concepts.flip(1)), regulariser(concepts))
        torch.testing.assert_close(regulariser(concepts.flip(0)), regulariser(concepts))

    def test_it_never_goes_below_its_floor(self, regulariser: RegulariserSpec) -> None:
        spread = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q[None]
        opposite = torch.stack([torch.eye(16)[0], -torch.eye(16)[0]])[None]
        values = [float(regulariser(concepts)) for concepts in (nearly_collapsed(), 100 * spread, opposite)]
        assert min(values) >= regulariser.floor

    def test_equal_concepts_have_a_finite_gradient(self, regulariser: RegulariserSpec) -> None:
        concepts = torch.ones(4, 6, 16, requires_grad=True)
        regulariser(concepts).backward()
        assert concepts.grad is not None
        assert torch.isfinite(concepts.grad).all()

    def test_near_collapse_the_gradient_of_float32_points_where_that_of_float64_does(
        self, regulariser: RegulariserSpec
    ) -> None:
        for apart in (1e-2, 1e-3, 3e-4, 1e-4):
            generator = torch.Generator().manual_seed(0)
            concepts = torch.randn(8, 1, 64, generator=generator) + apart * torch.randn(8, 12, 64, generator=generator)
            single, double = (_gradient(regulariser, concepts, dtype) for dtype in (torch.float32, torch.float64))
            assert torch.cosine_similarity(single, double, dim=0) > 0.99, apart

    def test_under_every_weighting_that_it_goes_with_every_parameter_is_trained(
        self, regulariser: RegulariserSpec
    ) -> None:
        for weighting, layers in itertools.product(kinds(WeightingSpec), ("last", "every")):
            needs_nonnegative: bool = weighting.needs_nonnegative  # type: ignore[attr-defined]
            if regulariser.floor >= 0 or not needs_nonnegative:
                pressed = {"regularisers": [_written(regulariser) | {"layers": layers}]}
                spec = run(loss=pressed | {"weighting": {"kind": name_of(weighting)}})
                assert untrained(spec) == [], (name_of(weighting), layers)

    def test_few_concepts_have_a_value_and_a_gradient_or_are_refused(self, regulariser: RegulariserSpec) -> None:
        for concepts, rows_of_a_pass in itertools.product((1, 2), (1, 2)):
            settings = {
                "loss": {"regularisers": [_written(regulariser)]},
                "model": {"concepts": concepts},
                "training": {"batch": 8, "micro_batch": rows_of_a_pass},
            }
            if fault := _fault_of_few(regulariser, concepts, rows_of_a_pass):
                assert fault in _refusal(settings)
                continue
            spec = run(**settings)
            total, ids = build(spec), rows()[:rows_of_a_pass]
            losses = total(*spec.loss.views(spec.objective, ids, VOCABULARY, torch.Generator().manual_seed(0)))
            losses.total.backward()
            gradients = [parameter.grad for parameter in total.parameters()]
            assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
            assert losses.terms[regulariser.kind].isfinite()


def _written(regulariser: RegulariserSpec) -> dict[str, Any]:
    return regulariser.model_dump(mode="json")


def _gradient(regulariser: RegulariserSpec, concepts: Tensor, dtype: torch.dtype) -> Tensor:
    given = concepts.detach().to(dtype, copy=True).requires_grad_()
    regulariser(given).backward()
    assert given.grad is not None
    return given.grad.double().flatten()


def _fault_of_few(regulariser: RegulariserSpec, concepts: int, rows_of_a_pass: int) -> str:
    if concepts < regulariser.least_concepts:
        return f"model.concepts is {concepts}; make it {regulariser.least_concepts}"
    if concepts == 1 and rows_of_a_pass == 1 and regulariser.over_texts:
        return "a pass has one; make training.micro_batch 2"
    return ""


def _refusal(settings: dict[str, Any]) -> str:
    try:
        run(**settings)
    except ValidationError as error:
        return str(error)
    return ""

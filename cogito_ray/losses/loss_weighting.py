"""From named loss terms to one scalar.

Each built module maps {term: scalar} to a scalar and holds `caps`: for terms whose gradient on the concepts may not
exceed a share of the tasks' (reconstruction and contrast together), that share. Every total is bounded below: each Spec
says by what, given the floors of its terms.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.spec_registry import OpenUnion


class FixedSpec(Spec):
    """The weights that the user gives."""

    kind: Literal["fixed"] = "fixed"
    needs_nonnegative: ClassVar[bool] = False
    needs_regularisers: ClassVar[bool] = False
    weights: dict[str, NonNegativeFloat] = {}
    """Weight per term; a term not named here weighs 1."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        """A module for these terms, in this order."""
        return Fixed({term: self.weights.get(term, 1.0) for term in tasks + regularisers}, {})

    def bound(self, floors: Mapping[str, float]) -> float:
        """What the total cannot go below, as no term goes below its floor."""
        return sum(self.weights.get(term, 1.0) * floor for term, floor in floors.items())


class CappedSpec(Spec):
    """Fixed weights, but no regulariser ever pulls harder on the concepts than a share of what the tasks pull (see
    `losses.gradient_cap`)."""

    kind: Literal["capped"] = "capped"
    needs_nonnegative: ClassVar[bool] = False
    needs_regularisers: ClassVar[bool] = True
    weights: dict[str, NonNegativeFloat] = {}
    """Weight per term before the cap; a term not named here weighs 1."""
    share: PositiveFloat = 0.1
    """Largest gradient norm of each regulariser on the concepts of one forward pass, in units of the tasks' there."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        """A module for these terms, in this order."""
        weights = {term: self.weights.get(term, 1.0) for term in tasks + regularisers}
        return Fixed(weights, dict.fromkeys(regularisers, self.share))

    def bound(self, floors: Mapping[str, float]) -> float:
        """What the total cannot go below, as no term goes below its floor: caps scale gradients, not losses."""
        return sum(self.weights.get(term, 1.0) * floor for term, floor in floors.items())


class LearnableSpec(Spec):
    """Softmax of one learned logit per term, mixed with uniform weights: they sum to 1.

    Descending a weighted sum by its weights moves them to the smallest term, at any learning rate, and would give up
    the hardest. Hence the uniform part, like the exploration of EXP3 (DOI 10.1137/S0097539701398375).
    """

    kind: Literal["learnable"] = "learnable"
    needs_nonnegative: ClassVar[bool] = False
    needs_regularisers: ClassVar[bool] = False
    weights: ClassVar[dict[str, float]] = {}
    uniform_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the weight that is spread evenly over the terms: with 0.5, none ever weighs less than half of what it
    weighs at the start."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        """A module for these terms, in this order."""
        return Learnable(tasks + regularisers, self.uniform_share)

    def bound(self, floors: Mapping[str, float]) -> float:
        """What the total cannot go below: all of the learned weight on the lowest floor."""
        return self.uniform_share * sum(floors.values()) / len(floors) + (1 - self.uniform_share) * min(floors.values())


class KendallGalSpec(Spec):
    """Learned homoscedastic uncertainty per term (Kendall, Gal & Cipolla, arXiv:1705.07115), with a least variance.

    Without that, the total has no lower bound where a term reaches exactly 0, as a hinge does: its weight would grow
    forever.
    """

    kind: Literal["kendall_gal"] = "kendall_gal"
    needs_nonnegative: ClassVar[bool] = True
    needs_regularisers: ClassVar[bool] = False
    weights: ClassVar[dict[str, float]] = {}
    min_variance: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Floor of every learned variance (arXiv:1612.01474, section 2.2.1): a term weighs at most 1 / (2 x this)."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        """A module for these terms, in this order."""
        return KendallGal(tasks + regularisers, math.log(self.min_variance))

    def bound(self, floors: Mapping[str, float]) -> float:
        """What the total cannot go below: floor / v + log v is least at v = floor, or at the least variance."""
        cheapest = [(floor, max(floor, self.min_variance)) for floor in floors.values()]      # with its variance
        return 0.5 * sum(floor / variance + math.log(variance) for floor, variance in cheapest)


WeightingSpec = Annotated[FixedSpec | CappedSpec | LearnableSpec | KendallGalSpec, OpenUnion("weighting")]


class Fixed(nn.Module):
    """Sum of terms times constant weights."""

    def __init__(self, weights: dict[str, float], caps: dict[str, float]):
        super().__init__()
        self.weights, self.caps = weights, caps

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()


class Learnable(nn.Module):
    """Sum of terms times a mixture of uniform weights and a softmax of learned logits."""

    def __init__(self, terms: list[str], uniform_share: float):
        super().__init__()
        self.caps: dict[str, float] = {}
        self.uniform_share = uniform_share
        self.terms, self.logits = terms, nn.Parameter(torch.zeros(len(terms)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        uniform = self.uniform_share / len(self.terms)
        weights = uniform + (1 - self.uniform_share) * self.logits.softmax(dim=0)               # (terms,)
        return (weights * torch.stack([terms[name] for name in self.terms])).sum()


class KendallGal(nn.Module):
    """0.5 sum over terms of (term / variance + log variance), with learned variances no lower than a bound."""

    def __init__(self, terms: list[str], bound: float):
        super().__init__()
        self.caps: dict[str, float] = {}
        self.bound = bound
        self.terms, self.log_variance = terms, nn.Parameter(torch.zeros(len(terms)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        log_variance: Tensor = _LowerBound.apply(self.log_variance, self.bound)         # type: ignore[no-untyped-call]
        stacked = torch.stack([terms[name] for name in self.terms])
        return 0.5 * ((-log_variance).exp() * stacked + log_variance).sum()


class _LowerBound(torch.autograd.Function):
    """The larger of x and a bound. Below the bound, the gradient passes only where descent raises x: a plain clamp
    would keep what is below it there forever (arXiv:1802.01436 bounds its scales like this)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x >= bound)
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * (inside | (gradient < 0)), None


Weighting = Fixed | Learnable | KendallGal

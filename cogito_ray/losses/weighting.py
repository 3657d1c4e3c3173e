"""From named loss terms to one scalar.

Each built module maps {term: scalar} to a scalar and holds `caps`: for terms whose gradient on the concepts may not
exceed a share of the tasks' (reconstruction and contrast together), that share.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.spec import Spec


class FixedSpec(Spec):
    kind: Literal["fixed"] = "fixed"
    scales_without_limit: ClassVar[bool] = False
    weights: dict[str, NonNegativeFloat] = {}
    """Weight per term; a term not named here weighs 1."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        return Fixed({term: self.weights.get(term, 1.0) for term in tasks + regularisers}, {})


class CappedSpec(Spec):
    """Fixed weights, but no regulariser ever pulls harder on the concepts than a share of what the tasks pull."""

    kind: Literal["capped"] = "capped"
    scales_without_limit: ClassVar[bool] = False
    weights: dict[str, NonNegativeFloat] = {}
    """Weight per term before the cap; a term not named here weighs 1."""
    share: PositiveFloat = 0.1
    """Largest gradient norm of each regulariser on the concepts of one forward pass, in units of the tasks' there."""

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        weights = {term: self.weights.get(term, 1.0) for term in tasks + regularisers}
        return Fixed(weights, dict.fromkeys(regularisers, self.share))


class LearnableSpec(Spec):
    """Softmax of one learned logit per term: weights sum to 1."""

    kind: Literal["learnable"] = "learnable"
    scales_without_limit: ClassVar[bool] = False
    weights: ClassVar[dict[str, float]] = {}

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        return Learnable(tasks + regularisers)


class KendallGalSpec(Spec):
    """Learned homoscedastic uncertainty per term (Kendall, Gal & Cipolla, arXiv:1705.07115)."""

    kind: Literal["kendall_gal"] = "kendall_gal"
    scales_without_limit: ClassVar[bool] = True
    weights: ClassVar[dict[str, float]] = {}

    def build(self, tasks: list[str], regularisers: list[str]) -> "Weighting":
        return KendallGal(tasks + regularisers)


WeightingSpec = Annotated[FixedSpec | CappedSpec | LearnableSpec | KendallGalSpec, Field(discriminator="kind")]


class Fixed(nn.Module):
    def __init__(self, weights: dict[str, float], caps: dict[str, float]):
        super().__init__()
        self.weights, self.caps = weights, caps

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()


class Learnable(nn.Module):
    def __init__(self, terms: list[str]):
        super().__init__()
        self.caps: dict[str, float] = {}
        self.terms, self.logits = terms, nn.Parameter(torch.zeros(len(terms)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        return (self.logits.softmax(dim=0) * torch.stack([terms[name] for name in self.terms])).sum()


class KendallGal(nn.Module):
    def __init__(self, terms: list[str]):
        super().__init__()
        self.caps: dict[str, float] = {}
        self.terms, self.log_variance = terms, nn.Parameter(torch.zeros(len(terms)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        spread = self.log_variance
        return 0.5 * ((-spread).exp() * torch.stack([terms[name] for name in self.terms]) + spread).sum()


Weighting = Fixed | Learnable | KendallGal

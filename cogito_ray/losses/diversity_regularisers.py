"""Regularisers against concept collapse: each maps concepts (B, C, D) to a scalar, the lower the more diverse.

`floor` is the greatest value that no concepts can go below. `layers` says whether the last layer alone is regularised
or every layer (their mean). Cosines and distances are between the concepts of one text, scaled to length 1: such a
regulariser is a mean over texts. `over_texts` = it is a statistic over all concepts of one forward pass, of
`training.micro_batch` rows, so that its value depends on how a batch is cut. `least_concepts` of a text: 2 for a pair.
"""

from typing import Annotated, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from cogito_ray.analysis.isotropy import epps_pulley
from cogito_ray.base_spec import Spec
from cogito_ray.losses.minimum_spanning_tree import minimum_spanning_tree
from cogito_ray.spec_registry import OpenUnion

Layers = Literal["last", "every"]


class OrthogonalitySpec(Spec):
    """Mean squared cosine of two different concepts; 0 when all are orthogonal, which needs C <= D."""

    kind: Literal["orthogonality"] = "orthogonality"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = False
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Layers = "last"

    def __call__(self, concepts: Tensor) -> Tensor:
        return _off_diagonal(_cosines(concepts)).square().mean()


class SoftOrthogonalitySpec(Spec):
    """Mean squared excess of |cosine| over a tolerated one (a relaxation of the soft orthogonality of
    arXiv:1810.09102, which also holds where C > D)."""

    kind: Literal["soft_orthogonality"] = "soft_orthogonality"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Layers = "last"
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Largest |cosine| that costs nothing."""

    def __call__(self, concepts: Tensor) -> Tensor:
        return F.relu(_off_diagonal(_cosines(concepts)).abs() - self.tolerance).square().mean()


class UniformitySpec(Spec):
    """Mean Gaussian kernel exp(-t d^2) of two different concepts (arXiv:2005.10242, without the logarithm)."""

    kind: Literal["uniformity"] = "uniformity"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Layers = "last"
    sharpness: PositiveFloat = 2.0
    """t of the kernel: the larger, the closer two concepts must be to repel each other."""

    def __call__(self, concepts: Tensor) -> Tensor:
        return _kernel(concepts, self.sharpness)


class VarianceSpec(Spec):
    """Mean hinge of each dimension's deviation below 1, over all concepts of one pass (VICReg, arXiv:2105.04906)."""

    kind: Literal["variance"] = "variance"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 1
    over_texts: ClassVar[bool] = True
    layers: Layers = "last"

    def __call__(self, concepts: Tensor) -> Tensor:
        return _hinge(concepts)


class CovarianceSpec(Spec):
    """Squared covariances of two different dimensions over all concepts of one pass, per dimension (VICReg)."""

    kind: Literal["covariance"] = "covariance"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 1
    over_texts: ClassVar[bool] = True
    layers: Layers = "last"

    def __call__(self, concepts: Tensor) -> Tensor:
        return _covariance(concepts)


class VicregSpec(Spec):
    """Variance hinge plus covariance, over all concepts of one pass (VICReg, arXiv:2105.04906)."""

    kind: Literal["vicreg"] = "vicreg"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 1
    over_texts: ClassVar[bool] = True
    layers: Layers = "last"
    variance: NonNegativeFloat = 1.0
    covariance: NonNegativeFloat = 1.0

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        _refuse_zeros(self.variance, self.covariance)
        return self

    def __call__(self, concepts: Tensor) -> Tensor:
        return self.variance * _hinge(concepts) + self.covariance * _covariance(concepts)


class CombinedSpec(Spec):
    """Variance hinge plus uniformity."""

    kind: Literal["combined"] = "combined"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = True
    layers: Layers = "last"
    variance: NonNegativeFloat = 1.0
    uniformity: NonNegativeFloat = 1.0
    sharpness: PositiveFloat = 2.0
    """t of the uniformity kernel."""

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        _refuse_zeros(self.variance, self.uniformity)
        return self

    def __call__(self, concepts: Tensor) -> Tensor:
        return self.variance * _hinge(concepts) + self.uniformity * _kernel(concepts, self.sharpness)


class NearestNeighbourSpec(Spec):
    """Minus the mean distance from each concept to its nearest other one (KoLeo, arXiv:1806.03198, without the
    logarithm, whose gradient explodes as concepts collapse)."""

    kind: Literal["nearest_neighbour"] = "nearest_neighbour"
    floor: ClassVar[float] = -2.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Layers = "last"

    def __call__(self, concepts: Tensor) -> Tensor:
        unit = F.normalize(concepts, dim=-1)
        itself = torch.eye(concepts.shape[1], dtype=torch.bool, device=concepts.device)
        nearest = _squared_distances(unit).masked_fill(itself, torch.inf).argmin(dim=-1)            # (B, C)
        return -(unit - _picked(unit, nearest)).norm(dim=-1).mean()


class MstSpec(Spec):
    """Minus the mean edge of each text's minimum spanning tree of concepts (T-REGS, arXiv:2510.23484)."""

    kind: Literal["mst"] = "mst"
    floor: ClassVar[float] = -2.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Layers = "last"

    def __call__(self, concepts: Tensor) -> Tensor:
        unit = F.normalize(concepts, dim=-1)
        source, target = minimum_spanning_tree(_squared_distances(unit))                        # (B, C - 1) each
        return -(_picked(unit, source) - _picked(unit, target)).norm(dim=-1).mean()


class SigregSpec(Spec):
    """Distance to a standard normal distribution over all concepts of one pass, or over the texts' mean concepts, along
    random directions (SIGReg of LeJEPA, arXiv:2511.08544, without its factor n, the number of vectors).

    The directions are others in each pass, and a pure function of the seed that the pass has begun with, as dropout is.
    """

    kind: Literal["sigreg"] = "sigreg"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 1
    over_texts: ClassVar[bool] = True
    layers: Layers = "last"
    vectors: Literal["concepts", "pooled"] = "concepts"
    """concepts: of a text, too, they spread over all directions; pooled: mean concepts of texts, one a text, do."""
    directions: PositiveInt = 64
    """How many in a pass. Cost and memory grow with it, and with the number of vectors."""

    def __call__(self, concepts: Tensor) -> Tensor:
        vectors = concepts.mean(dim=1) if self.vectors == "pooled" else concepts.flatten(0, 1)      # (n, D)
        drawing = torch.Generator(concepts.device).manual_seed(torch.initial_seed())
        axes = torch.randn(vectors.shape[1], self.directions, generator=drawing, device=concepts.device)
        return epps_pulley(vectors, axes.to(vectors.dtype))


RegulariserSpec = Annotated[
    OrthogonalitySpec
    | SoftOrthogonalitySpec
    | UniformitySpec
    | VarianceSpec
    | CovarianceSpec
    | VicregSpec
    | CombinedSpec
    | NearestNeighbourSpec
    | MstSpec
    | SigregSpec,
    OpenUnion("regulariser"),
]


def _refuse_zeros(*weights: float) -> None:
    if not any(weights):
        raise ValueError("both weights are 0, so that nothing is regularised; leave the regulariser out")


def _cosines(concepts: Tensor) -> Tensor:
    """(B, C, D) -> (B, C, C)."""
    unit = F.normalize(concepts, dim=-1)
    return unit @ unit.mT


@torch.no_grad()
def _squared_distances(unit: Tensor) -> Tensor:
    """unit (B, C, D) -> (B, C, C), taken in float64: which concepts are neighbours. No gradient; the few distances that
    are asked for are taken anew, from differences.

    Both matter where concepts collapse: 2 - 2 cosine in float32 cannot tell apart what is nearer than about 3e-4.
    """
    rows = unit.double()
    squares = rows.square().sum(dim=-1)                                         # (B, C), 1 but for rounding
    return (squares[:, :, None] + squares[:, None] - 2 * rows @ rows.mT).clamp_min(0.0).float()


def _picked(unit: Tensor, index: Tensor) -> Tensor:
    """unit (B, C, D), index (B, n) -> (B, n, D)."""
    return unit.gather(1, index[..., None].expand(-1, -1, unit.shape[-1]))


def _kernel(concepts: Tensor, sharpness: float) -> Tensor:
    return (sharpness * (2 * _off_diagonal(_cosines(concepts)) - 2)).exp().mean()       # d^2 = 2 - 2 cosine


def _hinge(concepts: Tensor) -> Tensor:
    deviation = (concepts.flatten(0, 1).var(dim=0) + 1e-4).sqrt()               # (D,), over B * C
    return F.relu(1 - deviation).mean()


def _covariance(concepts: Tensor) -> Tensor:
    rows = concepts.flatten(0, 1)                                               # (B * C, D)
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / (len(rows) - 1)                                # (D, D)
    return _off_diagonal(covariance[None]).square().sum() / len(covariance)


def _off_diagonal(square: Tensor) -> Tensor:
    """(B, n, n) -> (B, n * (n - 1)): row by row, every entry off the main diagonal.

    Without the first entry, n * n - 1 = (n - 1) * (n + 1) are left; in rows of n + 1, the diagonal is the last column.
    A view, where a boolean mask would be a gather that waits for the device.
    """
    n = square.shape[-1]
    return square.flatten(1)[:, 1:].reshape(len(square), n - 1, n + 1)[..., :-1].flatten(1)

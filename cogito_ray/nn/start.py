"""Concepts before they have read anything: where they start, and where they stand.

The anchored start is what leaves the plateau on which concepts collapse: until they know where to look, the best they
can do is the unigram distribution, and the gradient makes them alike.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.nn.attention import Attention
from cogito_ray.nn.positions import Positions
from cogito_ray.spec import Spec


@dataclass(frozen=True)
class Places:
    """The concepts' own places in a row."""

    centres: Tensor
    """(C,) float, in tokens."""
    positions: Positions
    """The tokens' positions, of width T."""


class PlainStartSpec(Spec):
    """Random vectors (arXiv:2103.03206)."""

    kind: Literal["plain"] = "plain"
    std: PositiveFloat = 0.02

    def build(self, width: int, places: Places) -> "ConceptStart":
        return ConceptStart(torch.randn(len(places.centres), width) * self.std)

    def align(self, attention: Attention) -> None:
        """Nothing to align: queries and keys start apart."""


class AnchoredStartSpec(Spec):
    """Concept c starts at the position code of the centre of its segment, c of C equal parts of the row, and every
    attention between concepts and positions starts as a look-up by position: a concept first copies what stands in
    its segment, a decoded position copies its concept, and content spreads from there."""

    kind: Literal["anchored"] = "anchored"
    noise: NonNegativeFloat = 0.02
    """Standard deviation added to each coordinate of the code (whose own is 0.7)."""
    gain: PositiveFloat = 4.0
    """Query projections start as `gain` x key projections; more looks narrower."""

    def build(self, width: int, places: Places) -> "ConceptStart":
        vectors = places.positions.code(places.centres, width).detach()    # (C, D)
        return ConceptStart(vectors + self.noise * torch.randn_like(vectors))

    def align(self, attention: Attention) -> None:
        attention.align(self.gain)


StartSpec = Annotated[AnchoredStartSpec | PlainStartSpec, Field(discriminator="kind")]


class ConceptStart(nn.Module):
    def __init__(self, vectors: Tensor):
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    def forward(self, rows: int) -> Tensor:
        """-> (rows, C, D)."""
        return self.vectors.expand(rows, -1, -1)

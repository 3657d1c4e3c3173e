"""Concepts before they have read anything: where they start, and where they stand.

The anchored start is what leaves the plateau on which concepts collapse: until they know where to look, the best they
can do is the unigram distribution, and the gradient makes them alike.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.blocks.base import Reading
from cogito_ray.nn.position_encodings import Positions, sinusoidal_code


@dataclass(frozen=True)
class Places:
    """Equal segments of a row, one per concept."""

    centres: Tensor
    """(C,) float, in tokens."""
    positions: Positions
    """The tokens' positions, of width T."""


class ConceptStart(nn.Module):
    codes: Tensor | None
    centres: Tensor | None
    numbers: Tensor | None

    def __init__(
        self,
        vectors: Tensor,
        *,
        codes: Tensor | nn.Parameter | None = None,
        centres: Tensor | None = None,
        numbers: Tensor | None = None,
    ):
        """vectors (C, D), learned; codes (C, D) are added; centres (C,): where concepts stand among tokens, if
        anywhere; numbers (C,): by what they turn when they read one another, if they do."""
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        if isinstance(codes, nn.Parameter):
            self.codes = codes
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("centres", centres)
        self.register_buffer("numbers", numbers)

    def forward(self, rows: int) -> Tensor:
        """-> (rows, C, D)."""
        vectors = self.vectors if self.codes is None else self.vectors + self.codes
        return vectors.expand(rows, -1, -1)


class PlainStartSpec(Spec):
    """Random vectors without positions (arXiv:2103.03206): concepts are a set."""

    kind: Literal["plain"] = "plain"
    turns_concepts: ClassVar[bool] = False
    std: PositiveFloat = 0.02

    def build(self, width: int, places: Places) -> ConceptStart:
        return ConceptStart(torch.randn(len(places.centres), width) * self.std)

    def align(self, reading: Reading) -> None:
        """Queries and keys start apart."""


class SinusoidalStartSpec(Spec):
    """Random vectors plus the fixed code of the concept's number (arXiv:1706.03762)."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    turns_concepts: ClassVar[bool] = False
    std: PositiveFloat = 0.02

    def build(self, width: int, places: Places) -> ConceptStart:
        concepts = len(places.centres)
        codes = sinusoidal_code(torch.arange(concepts), width, longest=float(concepts))
        return ConceptStart(torch.randn(concepts, width) * self.std, codes=codes)

    def align(self, reading: Reading) -> None:
        """Queries and keys start apart."""


class LearnedStartSpec(Spec):
    """Random vectors plus a second learned table: like `plain` with a longer step."""

    kind: Literal["learned"] = "learned"
    turns_concepts: ClassVar[bool] = False
    std: PositiveFloat = 0.02

    def build(self, width: int, places: Places) -> ConceptStart:
        vectors, codes = torch.randn(2, len(places.centres), width) * self.std
        return ConceptStart(vectors, codes=nn.Parameter(codes))

    def align(self, reading: Reading) -> None:
        """Queries and keys start apart."""


class RotaryStartSpec(Spec):
    """Random vectors; concepts turn by their number when they read one another (arXiv:2104.09864)."""

    kind: Literal["rotary"] = "rotary"
    turns_concepts: ClassVar[bool] = True
    std: PositiveFloat = 0.02

    def build(self, width: int, places: Places) -> ConceptStart:
        concepts = len(places.centres)
        return ConceptStart(torch.randn(concepts, width) * self.std, numbers=torch.arange(concepts))

    def align(self, reading: Reading) -> None:
        """Queries and keys start apart."""


class AnchoredStartSpec(Spec):
    """Concept c starts at the position code of the centre of its segment, c of C equal parts of the row, and every
    attention between concepts and positions starts as a look-up by position: a concept first copies what stands in
    its segment, a decoded position copies its concept, and content spreads from there."""

    kind: Literal["anchored"] = "anchored"
    turns_concepts: ClassVar[bool] = False
    noise: NonNegativeFloat = 0.02
    """Standard deviation added to each coordinate of the code (whose own is 0.7)."""
    gain: PositiveFloat = 4.0
    """Query projections start as `gain` x key projections; more looks narrower."""

    def build(self, width: int, places: Places) -> ConceptStart:
        vectors = places.positions.code(places.centres, width).detach()    # (C, D)
        return ConceptStart(vectors + self.noise * torch.randn_like(vectors), centres=places.centres)

    def align(self, reading: Reading) -> None:
        reading.align(self.gain)


StartSpec = Annotated[
    AnchoredStartSpec | PlainStartSpec | SinusoidalStartSpec | LearnedStartSpec | RotaryStartSpec,
    Field(discriminator="kind"),
]

"""Latents: the concept vectors before they have read anything, one learned vector per concept (Perceiver's latent
array, arXiv:2103.03206), with or without a position.

Anchored latents are this project's own idea: position-initialised latents. Concept c of C starts at the position code
of the centre of the c-th of C equal segments of the row, and every attention between concepts and positions is
initialised as a look-up by position. So from the first step each concept reads its own stretch of text and each decoded
position reads the concept of its stretch. Without this, concepts do not know where to look, the best that they can do
is the unigram distribution, and the gradient makes them alike: training stands on a plateau on which concepts collapse
(search_spaces/concept_positions.yaml compares the kinds). Nothing is fixed: all of it is an initialisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.position_encodings import Positions, sinusoidal_code
from cogito_ray.spec_registry import OpenUnion


@dataclass(frozen=True)
class Segments:
    """Equal segments of a row, one per concept."""

    centres: Tensor
    """(C,) float, in tokens."""
    positions: Positions
    """The tokens' positions, of width T."""


class Latents(nn.Module):
    """rows -> (rows, C, D): the same vectors for every row."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"vectors": "latents", "codes": "latents"}
    codes: Tensor | None
    centres: Tensor | None
    indices: Tensor | None

    def __init__(
        self,
        vectors: Tensor,
        *,
        codes: Tensor | nn.Parameter | None = None,
        centres: Tensor | None = None,
        indices: Tensor | None = None,
    ):
        """vectors (C, D), learned; codes (C, D) are added; centres (C,): where concepts stand among tokens, if
        anywhere; indices (C,): by what concepts are rotated when they read one another, if they are."""
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        if isinstance(codes, nn.Parameter):
            self.codes = codes
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("centres", centres)
        self.register_buffer("indices", indices)

    def forward(self, rows: int) -> Tensor:
        vectors = self.vectors if self.codes is None else self.vectors + self.codes
        return vectors.expand(rows, -1, -1)


class _RandomLatentsSpec(Spec):
    """Latents that start at random: they say nothing of where concepts look, so attentions keep their own start."""

    rotates_concepts: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = False
    std: PositiveFloat = 0.02

    def init_attention(self, attention: LookupInit) -> None:
        """Leaves queries and keys independent of each other."""


class PlainLatentsSpec(_RandomLatentsSpec):
    """Random vectors without positions (arXiv:2103.03206): concepts are a set."""

    kind: Literal["plain"] = "plain"

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        return Latents(torch.randn(len(segments.centres), width) * self.std)


class SinusoidalLatentsSpec(_RandomLatentsSpec):
    """Random vectors plus the fixed code of the concept's index (arXiv:1706.03762)."""

    kind: Literal["sinusoidal"] = "sinusoidal"

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        concepts = len(segments.centres)
        codes = sinusoidal_code(torch.arange(concepts), width, base=float(concepts))
        return Latents(torch.randn(concepts, width) * self.std, codes=codes)


class LearnedLatentsSpec(_RandomLatentsSpec):
    """Random vectors plus a second learned table: like `plain` with a longer step, as both get the same gradient."""

    kind: Literal["learned"] = "learned"

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        vectors, codes = torch.randn(2, len(segments.centres), width) * self.std
        return Latents(vectors, codes=nn.Parameter(codes))


class RotaryLatentsSpec(_RandomLatentsSpec):
    """Random vectors; concepts are rotated by their index when they read one another (arXiv:2104.09864)."""

    kind: Literal["rotary"] = "rotary"
    rotates_concepts: ClassVar[bool] = True

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        concepts = len(segments.centres)
        return Latents(torch.randn(concepts, width) * self.std, indices=torch.arange(concepts))


class AnchoredLatentsSpec(Spec):
    """Position-initialised latents: a concept first copies what stands in its segment, a decoded position copies its
    concept, and content spreads from there."""

    kind: Literal["anchored"] = "anchored"
    rotates_concepts: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = True
    noise: NonNegativeFloat = 0.02
    """Standard deviation added to each coordinate of the code (whose own is 0.7)."""
    gain: PositiveFloat = 4.0
    """Query projections start as `gain` x key projections; more looks narrower."""

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        vectors = segments.positions.code(segments.centres, width).detach()    # (C, D)
        return Latents(vectors + self.noise * torch.randn_like(vectors), centres=segments.centres)

    def init_attention(self, attention: LookupInit) -> None:
        """Initialises an attention between concepts and positions as a look-up by position."""
        attention.init_as_lookup(self.gain)


LatentsSpec = Annotated[
    AnchoredLatentsSpec | PlainLatentsSpec | SinusoidalLatentsSpec | LearnedLatentsSpec | RotaryLatentsSpec,
    OpenUnion("latents"),
]

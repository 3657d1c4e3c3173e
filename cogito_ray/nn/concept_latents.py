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
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import init_identity
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.position_encodings import ContextualPositions, Positions, sinusoidal_code
from cogito_ray.nn.token_stages.token_stage_interface import Tokens
from cogito_ray.spec_registry import OpenUnion


@dataclass(frozen=True)
class Segments:
    """Equal segments of a row, one per concept."""

    centres: Tensor
    """(C,) float, in tokens."""
    positions: Positions
    """The tokens' positions, of width T."""
    length: int
    """Of a row, in tokens."""
    token_width: int
    """Of what concepts read."""


class Latents(nn.Module):
    """Tokens of B rows -> (B, C, D): the same vectors for every row."""

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
        contextual: ContextualPositions | None = None,
    ):
        """vectors (C, D), learned; codes (C, D) are added; centres (C,): where concepts stand among tokens, if
        anywhere; indices (C,): by what concepts are rotated when they read one another, if they are; contextual: what
        they then count, if they do."""
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        if isinstance(codes, nn.Parameter):
            self.codes = codes
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("centres", centres)
        self.register_buffer("indices", indices)
        self.contextual = contextual

    def forward(self, tokens: Tokens) -> Tensor:
        vectors = self.vectors if self.codes is None else self.vectors + self.codes
        return vectors.expand(len(tokens.vectors), -1, -1)


class PooledLatents(Latents):
    """Learned vectors plus the mean of the tokens of each segment, or its code where it has none."""

    def __init__(self, vectors: Tensor, segments: Segments, codes: Tensor):
        super().__init__(vectors, codes=codes, centres=segments.centres)
        width, read = vectors.shape[1], segments.token_width
        self.length = segments.length
        self.widen = nn.Identity() if read == width else init_identity(nn.Linear(read, width, bias=False))

    def forward(self, tokens: Tokens) -> Tensor:
        assert self.codes is not None
        count = len(self.vectors)
        segment = (tokens.positions * (count / self.length)).long().clamp(max=count - 1)       # (B, K)
        member = F.one_hot(segment, count).to(tokens.vectors.dtype)            # (B, K, C)
        member = member if tokens.visible is None else member * tokens.visible[..., None]
        members = member.sum(dim=1)[..., None]                                 # (B, C, 1)
        means = self.widen(member.mT @ tokens.vectors / members.clamp_min(1))  # (B, C, D)
        return self.vectors + torch.where(members > 0, means, self.codes)

    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens."""
        self.length = length


class _RandomLatentsSpec(Spec):
    """Latents that start at random: they say nothing of where concepts look, so attentions keep their own start."""

    rotates_concepts: ClassVar[bool] = False
    orders_concepts: ClassVar[bool] = False
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
    orders_concepts: ClassVar[bool] = True

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        concepts = len(segments.centres)
        return Latents(torch.randn(concepts, width) * self.std, indices=torch.arange(concepts))


class ContextualLatentsSpec(_RandomLatentsSpec):
    """Random vectors; concepts that read one another count those between them that matter (CoPE, arXiv:2405.18719)."""

    kind: Literal["contextual"] = "contextual"
    orders_concepts: ClassVar[bool] = True

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        concepts = len(segments.centres)
        return Latents(torch.randn(concepts, width) * self.std, contextual=ContextualPositions(concepts, width))


class _LookupLatentsSpec(Spec):
    """Latents that stand in segments of the row: attentions start by looking there."""

    noise: NonNegativeFloat = 0.02
    """Standard deviation added to each coordinate of where a concept begins (that of a code is 0.7)."""
    gain: PositiveFloat = 4.0
    """Query projections start as `gain` x key projections; more looks narrower."""

    def init_attention(self, attention: LookupInit) -> None:
        """Initialises an attention between concepts and positions as a look-up by position."""
        attention.init_as_lookup(self.gain)


class PooledLatentsSpec(_LookupLatentsSpec):
    """Concepts begin as the means of what stands in their segments. Where a funnel (arXiv:2006.03236) halves tokens
    until they are as many as concepts, each of them becomes one."""

    kind: Literal["pooled"] = "pooled"
    rotates_concepts: ClassVar[bool] = False
    orders_concepts: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = False

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        codes = segments.positions.code(segments.centres, width).detach()      # (C, D)
        return PooledLatents(self.noise * torch.randn_like(codes), segments, codes)


class AnchoredLatentsSpec(_LookupLatentsSpec):
    """Position-initialised latents: a concept first copies what stands in its segment, a decoded position copies its
    concept, and content spreads from there."""

    kind: Literal["anchored"] = "anchored"
    respects_documents: ClassVar[bool] = True
    rotary: bool = False
    """Concepts that read one another are also rotated by their index, as latents 'rotary' are."""
    contextual: bool = False
    """Concepts that read one another also count those between them, as latents 'contextual' do."""

    @property
    def rotates_concepts(self) -> bool:
        """Are concepts rotated when they read one another?"""
        return self.rotary

    @property
    def orders_concepts(self) -> bool:
        """Do concepts that read one another know where they stand?"""
        return self.rotary or self.contextual

    def build(self, width: int, segments: Segments) -> Latents:
        """One vector per segment, each of this width (D)."""
        vectors, concepts = segments.positions.code(segments.centres, width).detach(), len(segments.centres)   # (C, D)
        return Latents(
            vectors + self.noise * torch.randn_like(vectors),
            centres=segments.centres,
            indices=torch.arange(concepts) if self.rotary else None,
            contextual=ContextualPositions(concepts, width) if self.contextual else None,
        )


LatentsSpec = Annotated[
    AnchoredLatentsSpec
    | PlainLatentsSpec
    | SinusoidalLatentsSpec
    | LearnedLatentsSpec
    | RotaryLatentsSpec
    | ContextualLatentsSpec
    | PooledLatentsSpec,
    OpenUnion("latents"),
]

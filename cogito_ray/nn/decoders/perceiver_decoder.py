"""Queries read the concepts (Perceiver IO, arXiv:2107.14795), with or without the token found at their place.

Queries do not see one another, so only the targets are decoded, never whole rows.
"""

from typing import ClassVar, Literal, cast

from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.nn.attention import Attention, FeedForward
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.decoders.decoder_interface import Decoder, DecoderContext
from cogito_ray.nn.decoders.decoder_queries import Places, Queries, QueryPositionsSpec, SharedTokenEmbedding


class PositionDecoderSpec(QueryPositionsSpec):
    """Queries are positions alone, so everything about a token must come through the concepts."""

    kind: Literal["position"] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = True
    depth: PositiveInt = 1

    def build(self, context: DecoderContext) -> "PerceiverDecoder":
        """A decoder with random weights."""
        return PerceiverDecoder(context, Queries(context, self.positions, None), self.depth)


class PerceiverDecoderSpec(QueryPositionsSpec):
    """Queries are positions plus the corrupted token found there."""

    kind: Literal["perceiver"] = "perceiver"
    needs: ClassVar[frozenset[str]] = frozenset({"ids"})
    respects_documents: ClassVar[bool] = True
    depth: PositiveInt = 1

    def build(self, context: DecoderContext) -> "PerceiverDecoder":
        """A decoder with random weights."""
        tokens = SharedTokenEmbedding(context.embedding, context.width)
        return PerceiverDecoder(context, Queries(context, self.positions, tokens), self.depth)


class PerceiverDecoder(Decoder):
    """Layers of cross-attention to the concepts and MLP."""

    centres: Tensor | None

    def __init__(self, context: DecoderContext, queries: Queries, depth: int):
        super().__init__()
        self.queries = queries
        self.layers = nn.ModuleList(PerceiverLayer(context) for _ in range(depth))
        self.register_buffer("centres", context.centres)

    def forward(
        self,
        concepts: Tensor,
        positions: Tensor,
        query_ids: Tensor | None,
        noise: Tensor | None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """concepts (B, C, D), positions and query_ids (B, M) -> hidden (B, M, D). Does not read noise."""
        places = self.queries.places(positions, self.centres, starts)
        hidden = self.queries(places.positions, query_ids)                 # (B, M, D)
        for layer in self.layers:
            hidden = layer(hidden, concepts, places)
        return hidden

    def attentions_to_init(self) -> list[LookupInit]:
        return [cast(PerceiverLayer, layer).cross_attention for layer in self.layers]


class PerceiverLayer(nn.Module):
    """hidden (B, M, D) reads concepts (B, C, D), then goes through an MLP; pre-norm residual branches."""

    def __init__(self, context: DecoderContext):
        super().__init__()
        self.cross_norm, self.mlp_norm = nn.LayerNorm(context.width), nn.LayerNorm(context.width)
        self.cross_attention = Attention(context.width, context.width, context.heads)
        self.mlp = FeedForward(context.width, context.hidden)

    def forward(self, hidden: Tensor, concepts: Tensor, places: Places) -> Tensor:
        hidden = hidden + self.cross_attention(
            self.cross_norm(hidden),
            concepts,
            visible=places.visible,
            rotary=places.rotary,
            source_rotary=places.concept_rotary,
        )
        return hidden + self.mlp(self.mlp_norm(hidden))

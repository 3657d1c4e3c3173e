"""Queries read the concepts (Perceiver IO, arXiv:2107.14795), with or without the token found at their place.

Queries do not see one another, so only the targets are decoded, never whole rows.
"""

from typing import ClassVar, Literal, cast

from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, FeedForward
from cogito_ray.nn.blocks.base import Reading
from cogito_ray.nn.decoders.base import Decoder, Stock
from cogito_ray.nn.decoders.decoder_queries import Queries, SharedContent
from cogito_ray.nn.position_encodings import PositionsSpec, Turns


class PositionDecoderSpec(Spec):
    """Queries are positions alone, so everything about a token must come through the concepts."""

    kind: Literal["position"] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    depth: PositiveInt = 1
    positions: PositionsSpec | None = None
    """The queries' own positions; None = those of the encoder's tokens."""

    @property
    def shares_positions(self) -> bool:
        return self.positions is None

    def build(self, stock: Stock) -> "PerceiverDecoder":
        return PerceiverDecoder(stock, Queries(stock, self.positions, None), self.depth)


class PerceiverDecoderSpec(Spec):
    """Queries are positions plus the corrupted token found there."""

    kind: Literal["perceiver"] = "perceiver"
    needs: ClassVar[frozenset[str]] = frozenset({"ids"})
    depth: PositiveInt = 1
    positions: PositionsSpec | None = None
    """The queries' own positions; None = those of the encoder's tokens."""

    @property
    def shares_positions(self) -> bool:
        return self.positions is None

    def build(self, stock: Stock) -> "PerceiverDecoder":
        content = SharedContent(stock.embedding, stock.width)
        return PerceiverDecoder(stock, Queries(stock, self.positions, content), self.depth)


class PerceiverDecoder(Decoder):
    centres: Tensor | None

    def __init__(self, stock: Stock, queries: Queries, depth: int):
        super().__init__()
        self.queries = queries
        self.layers = nn.ModuleList(PerceiverLayer(stock) for _ in range(depth))
        self.register_buffer("centres", stock.centres)

    def forward(self, concepts: Tensor, positions: Tensor, query_ids: Tensor | None, noise: Tensor | None) -> Tensor:
        """concepts (B, C, D), positions and query_ids (B, M) -> hidden (B, M, D). Does not read noise."""
        hidden = self.queries(positions, query_ids)                        # (B, M, D)
        turns, anchors = self.queries.turns(positions), self.queries.anchor_turns(self.centres)
        for layer in self.layers:
            hidden = layer(hidden, concepts, turns, anchors)
        return hidden

    def reads(self) -> list[Reading]:
        return [cast(PerceiverLayer, layer).read for layer in self.layers]


class PerceiverLayer(nn.Module):
    def __init__(self, stock: Stock):
        super().__init__()
        self.norm_read, self.norm_think = nn.LayerNorm(stock.width), nn.LayerNorm(stock.width)
        self.read = Attention(stock.width, stock.width, stock.heads)
        self.think = FeedForward(stock.width, stock.hidden)

    def forward(self, hidden: Tensor, concepts: Tensor, turns: Turns | None, anchors: Turns | None) -> Tensor:
        hidden = hidden + self.read(self.norm_read(hidden), concepts, turns=turns, source_turns=anchors)
        return hidden + self.think(self.norm_think(hidden))

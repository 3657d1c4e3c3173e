"""Queries read the concepts (Perceiver IO, arXiv:2107.14795), with or without the token found at their place.

Queries do not see one another, so only the targets are decoded, never whole rows.
"""

from typing import ClassVar, Literal, cast

from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.nn.attention import Attention, FeedForward, same_start
from cogito_ray.nn.decoders.base import Decoder, Stock
from cogito_ray.nn.embedding import Embedding
from cogito_ray.nn.positions import Positions, PositionsSpec
from cogito_ray.spec import Spec


class PositionDecoderSpec(Spec):
    """Queries are positions alone, so everything about a token must come through the concepts."""

    kind: Literal["position"] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    depth: PositiveInt = 1
    positions: PositionsSpec | None = None
    """The queries' own positions; None = those of the encoder's tokens."""

    def build(self, stock: Stock) -> "PerceiverDecoder":
        return PerceiverDecoder(stock, depth=self.depth, positions=self.positions, content=None)


class PerceiverDecoderSpec(Spec):
    """Queries are positions plus the corrupted token found there."""

    kind: Literal["perceiver"] = "perceiver"
    needs: ClassVar[frozenset[str]] = frozenset({"ids"})
    depth: PositiveInt = 1
    positions: PositionsSpec | None = None
    """The queries' own positions; None = those of the encoder's tokens."""

    def build(self, stock: Stock) -> "PerceiverDecoder":
        content = TokenContent(stock.embedding, stock.width)
        return PerceiverDecoder(stock, depth=self.depth, positions=self.positions, content=content)


class TokenContent(nn.Module):
    """The encoder's token vectors, widened to queries where tokens are thin."""

    embedding: Embedding

    def __init__(self, embedding: Embedding, width: int):
        super().__init__()
        object.__setattr__(self, "embedding", embedding)       # the encoder owns its parameters
        token_width = embedding.token.embedding_dim
        self.widen = nn.Identity() if token_width == width else same_start(nn.Linear(token_width, width))

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, M) -> (B, M, D)."""
        return self.widen(self.embedding.tokens(ids))


class PerceiverDecoder(Decoder):
    shared_positions: Positions | None

    def __init__(self, stock: Stock, *, depth: int, positions: PositionsSpec | None, content: TokenContent | None):
        super().__init__()
        self.own_positions = None if positions is None else positions.build(stock.length, stock.width)
        shared = stock.embedding.positions.at_width(stock.width) if positions is None else None
        object.__setattr__(self, "shared_positions", shared)   # the encoder owns its parameters
        self.content = content
        self.layers = nn.ModuleList(PerceiverLayer(stock) for _ in range(depth))

    def forward(self, concepts: Tensor, positions: Tensor, query_ids: Tensor | None, noise: Tensor | None) -> Tensor:
        """concepts (B, C, D), positions and query_ids (B, M) -> hidden (B, M, D). Does not read noise."""
        hidden = self.positions(positions)                                 # (B, M, D)
        if self.content is not None:
            assert query_ids is not None
            hidden = hidden + self.content(query_ids)
        for layer in self.layers:
            hidden = layer(hidden, concepts)
        return hidden

    @property
    def positions(self) -> Positions:
        positions = self.own_positions or self.shared_positions
        assert positions is not None
        return positions

    def reads(self) -> list[Attention]:
        return [cast(PerceiverLayer, layer).read for layer in self.layers]


class PerceiverLayer(nn.Module):
    def __init__(self, stock: Stock):
        super().__init__()
        self.norm_read, self.norm_think = nn.LayerNorm(stock.width), nn.LayerNorm(stock.width)
        self.read = Attention(stock.width, stock.width, stock.heads)
        self.think = FeedForward(stock.width, stock.hidden)

    def forward(self, hidden: Tensor, concepts: Tensor) -> Tensor:
        hidden = hidden + self.read(self.norm_read(hidden), concepts)
        return hidden + self.think(self.norm_think(hidden))

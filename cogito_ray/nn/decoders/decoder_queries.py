"""What a decoder asks with: a vector per target, made of its position and, for some decoders, the token found there.

Tables are the encoder's (which then owns their parameters) or the decoder's own.
"""

from torch import Tensor, nn

from cogito_ray.nn.attention import same_start
from cogito_ray.nn.decoders.base import Stock
from cogito_ray.nn.position_encodings import Positions, PositionsSpec, Turns
from cogito_ray.nn.token_embedding import Embedding


class Queries(nn.Module):
    shared_positions: Positions

    def __init__(self, stock: Stock, positions: PositionsSpec | None, content: nn.Module | None):
        """positions: the queries' own, None = those of the encoder's tokens; content: ids (B, M) -> (B, M, D)."""
        super().__init__()
        shared = stock.embedding.positions
        made = shared.at_width(stock.width) if positions is None else positions.build(stock.length, stock.width)
        self.own_positions = None if made is shared else made
        object.__setattr__(self, "shared_positions", shared)
        self.content = content

    @property
    def positions(self) -> Positions:
        return self.own_positions or self.shared_positions

    def forward(self, positions: Tensor, query_ids: Tensor | None) -> Tensor:
        """positions, query_ids (B, M) -> (B, M, D)."""
        places = self.positions(positions)
        if self.content is None:
            return places
        assert query_ids is not None
        return places + self.content(query_ids)

    def turns(self, positions: Tensor) -> Turns | None:
        return self.positions.turns(positions)

    def anchor_turns(self, centres: Tensor | None) -> Turns | None:
        return None if centres is None else self.positions.anchor_turns(centres)


class SharedContent(nn.Module):
    """The encoder's token vectors, widened where tokens are thin."""

    embedding: Embedding

    def __init__(self, embedding: Embedding, width: int):
        super().__init__()
        object.__setattr__(self, "embedding", embedding)
        token_width = embedding.token.embedding_dim
        self.widen = nn.Identity() if token_width == width else same_start(nn.Linear(token_width, width))

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, M) -> (B, M, D)."""
        return self.widen(self.embedding.tokens(ids))


class OwnContent(nn.Embedding):
    """A token table of the decoder's own, as wide as concepts."""

    def __init__(self, vocabulary_size: int, width: int):
        super().__init__(vocabulary_size, width)
        nn.init.normal_(self.weight, std=0.02)

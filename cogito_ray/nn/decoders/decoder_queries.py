"""What a decoder asks with: a vector per target, made of its position and, for some decoders, the token found there.

Tables are the encoder's (which then owns their parameters) or the decoder's own.
"""

from torch import Tensor, nn

from cogito_ray.nn.attention import init_identity
from cogito_ray.nn.decoders.decoder_interface import DecoderContext
from cogito_ray.nn.position_encodings import Positions, PositionsSpec, Rotary
from cogito_ray.nn.token_embedding import Embedding


class Queries(nn.Module):
    """positions, query_ids (B, M) -> (B, M, D)."""

    shared_positions: Positions

    def __init__(self, context: DecoderContext, positions: PositionsSpec | None, token_embedding: nn.Module | None):
        """positions: the queries' own, None = those of the encoder's tokens; token_embedding: ids (B, M) -> (B, M, D),
        None = queries are positions alone."""
        super().__init__()
        shared = context.embedding.positions
        made = shared.at_width(context.width) if positions is None else positions.build(context.length, context.width)
        self.own_positions = None if made is shared else made
        object.__setattr__(self, "shared_positions", shared)   # no submodule: the encoder owns its parameters
        self.token_embedding = token_embedding

    @property
    def positions(self) -> Positions:
        """The decoder's own, or the encoder's."""
        return self.own_positions or self.shared_positions

    def forward(self, positions: Tensor, query_ids: Tensor | None) -> Tensor:
        codes = self.positions(positions)
        if self.token_embedding is None:
            return codes
        assert query_ids is not None
        return codes + self.token_embedding(query_ids)

    def rotary(self, positions: Tensor) -> Rotary | None:
        """Rotations of the queries at positions (B, M); None for positions that only add."""
        return self.positions.rotary(positions)

    def rotary_at(self, centres: Tensor | None) -> Rotary | None:
        """Rotations of the concepts by centres (C,); None for positions that only add, or without centres."""
        return None if centres is None else self.positions.rotary_at(centres)


class SharedTokenEmbedding(nn.Module):
    """The encoder's token vectors, widened where tokens are narrower than concepts: ids (B, M) -> (B, M, D)."""

    embedding: Embedding

    def __init__(self, embedding: Embedding, width: int):
        super().__init__()
        object.__setattr__(self, "embedding", embedding)       # no submodule: the encoder owns its parameters
        token_width = embedding.token.embedding_dim
        self.widen = nn.Identity() if token_width == width else init_identity(nn.Linear(token_width, width))

    def forward(self, ids: Tensor) -> Tensor:
        return self.widen(self.embedding.tokens(ids))


class OwnTokenEmbedding(nn.Embedding):
    """A token table of the decoder's own, as wide as concepts."""

    def __init__(self, vocabulary_size: int, width: int):
        super().__init__(vocabulary_size, width)
        nn.init.normal_(self.weight, std=0.02)

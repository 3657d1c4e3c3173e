"""What a decoder asks with: a vector per target, made of its position and, for some decoders, the token found there.

Tables are the encoder's (which then owns their parameters) or the decoder's own.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import init_identity, places_of, same
from cogito_ray.nn.decoders.decoder_interface import DecoderContext
from cogito_ray.nn.position_encodings import Positions, PositionsSpec, Rotary
from cogito_ray.nn.token_embedding import Embedding


class QueryPositionsSpec(Spec):
    """Of decoders that ask at positions."""

    positions: PositionsSpec | None = None
    """The queries' own; None = those of the encoder's tokens."""

    @property
    def shares_positions(self) -> bool:
        """Are the queries' positions those of the encoder's tokens?"""
        return self.positions is None


@dataclass(frozen=True)
class Places:
    """Where queries and concepts stand, and who reads whom."""

    positions: Tensor
    """(B, M) of the queries in their rows, or in their documents."""
    visible: Tensor | None
    """(B, M, C) concepts of each query's document; None = every concept is read."""
    rotary: Rotary | None
    """Rotations of the queries; None for positions that only add."""
    concept_rotary: Rotary | None
    """Rotations of the concepts; None for positions that only add, or concepts that stand nowhere."""


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

    def places(self, positions: Tensor, centres: Tensor | None, starts: Tensor | None) -> Places:
        """Of queries at positions (B, M) of rows and concepts at centres (C,), if anywhere; starts (B, N) of documents,
        None = rows are read whole."""
        visible = None
        if starts is not None:
            assert centres is not None
            of_queries, of_concepts = starts.gather(1, positions), places_of(starts, centres)      # (B, M), (B, C)
            visible = same(of_queries, of_concepts)
            positions, centres = positions - of_queries, centres - of_concepts
        rotary_at = None if centres is None else self.positions.rotary_at(centres)
        return Places(positions, visible, self.positions.rotary(positions), rotary_at)


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

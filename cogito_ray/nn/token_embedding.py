"""Token vectors: an embedding table plus positions."""

from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.position_encodings import Positions, PositionsSpec, SinusoidalPositionsSpec


class EmbeddingSpec(Spec):
    """How token ids and positions become the vectors that concepts read."""

    scaled: bool = True
    """Multiplies token vectors by the square root of their width (arXiv:1706.03762), so that a table tied to the
    vocabulary head serves both ends."""
    positions: PositionsSpec = SinusoidalPositionsSpec()

    def build(self, vocabulary_size: int, length: int, width: PositiveInt) -> "Embedding":
        """A random table (V, T) and positions for rows of `length` tokens."""
        return Embedding(nn.Embedding(vocabulary_size, width), self.positions.build(length, width), self.scaled)


class Embedding(nn.Module):
    """Token table plus positions. Scaled vectors start with a deviation of 0.5, near that of position codes (0.7), so
    that neither drowns the other; unscaled ones with BERT's 0.02."""

    def __init__(self, token: nn.Embedding, positions: Positions, scaled: bool):
        super().__init__()
        self.token, self.positions = token, positions
        self.scale = token.embedding_dim**0.5 if scaled else 1.0
        nn.init.normal_(token.weight, std=0.5 / self.scale if scaled else 0.02)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """ids, positions (B, K) -> (B, K, T)."""
        return self.tokens(ids) + self.positions(positions)

    def tokens(self, ids: Tensor) -> Tensor:
        """ids (B, K) -> (B, K, T), without positions."""
        return self.token(ids) * self.scale

"""What every decoder is given and what it must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from cogito_ray.nn.attention import Attention
from cogito_ray.nn.embedding import Embedding


@dataclass(frozen=True)
class Stock:
    """What decoders are built from."""

    embedding: Embedding
    """The encoder's. A decoder reads it but does not own it."""
    length: int
    """N, tokens of a row."""
    concepts: int
    width: int
    """D"""
    heads: int
    hidden: int
    """Width inside the feed-forward layers."""


class Decoder(nn.Module, ABC):
    @abstractmethod
    def forward(self, concepts: Tensor, positions: Tensor, query_ids: Tensor | None, noise: Tensor | None) -> Tensor:
        """concepts (B, C, D), positions (B, M), query_ids (B, M), noise (B,) -> hidden (B, M, D)."""

    @abstractmethod
    def reads(self) -> list[Attention]:
        """The attentions in which positions read concepts."""

"""What every decoder is given and what it must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from cogito_ray.nn.blocks.base import Reading
from cogito_ray.nn.token_embedding import Embedding


@dataclass(frozen=True)
class Stock:
    """What decoders are built from."""

    embedding: Embedding
    """The encoder's. A decoder reads it but does not own it."""
    length: int
    """N, tokens of a row."""
    concepts: int
    centres: Tensor | None
    """(C,) where concepts stand among the tokens of a row, if anywhere."""
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
    def reads(self) -> list[Reading]:
        """Where positions read concepts."""

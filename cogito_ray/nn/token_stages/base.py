"""What happens to tokens before concepts read them: what every token stage is given and must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Tokens:
    vectors: Tensor
    """(B, K, T)"""
    places: Tensor
    """(B, K) where each stands in its row; may fall between whole positions."""
    visible: Tensor
    """(B, K) bool, False = padding."""


class TokenStage(nn.Module, ABC):
    @abstractmethod
    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        """ids (B, K) as the objective left them; tokens as the embedding made them -> what concepts read."""

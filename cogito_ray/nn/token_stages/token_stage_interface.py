"""What happens to tokens before concepts read them: what every token stage is given and must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch as vectors, with what is known of each."""

    vectors: Tensor
    """(B, K, T)"""
    positions: Tensor
    """(B, K) where each stands in its row; of pooled tokens it may fall between whole positions."""
    visible: Tensor | None
    """(B, K) bool, False = padding; None = every token is visible."""
    starts: Tensor | None = None
    """(B, K) where in the row the document of each begins, from which `positions` then count; None = the row is one."""


class TokenStage(nn.Module, ABC):
    """A module between embedding and blocks. Its Spec says, as class variables, whether `tokens_attend`, and
    whether it `respects_documents`: tokens of one document (of equal `starts`) never meet those of another."""

    @abstractmethod
    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        """ids (B, K) as the objective left them; tokens as the embedding made them -> what concepts read."""

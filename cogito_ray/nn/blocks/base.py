"""What every encoder block is given and what it must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from cogito_ray.nn.position_encodings import Turns


@dataclass(frozen=True)
class Sizes:
    width: int
    """D, of concepts."""
    token_width: int
    """T, of the tokens that concepts read."""
    heads: int
    hidden: int
    """Width inside the feed-forward layers."""


@dataclass(frozen=True)
class Scene:
    """Where things stand while concepts read: one per forward pass, shared by all blocks."""

    visible: Tensor | None
    """(B, K) False = padding; None = every token is visible."""
    tokens: Turns | None = None
    """Rotations of the tokens."""
    anchors: Turns | None = None
    """Rotations of the concepts when they meet tokens."""
    concepts: Turns | None = None
    """Rotations of the concepts among themselves."""


class Reading(Protocol):
    def align(self, gain: float) -> None:
        """Start as a look-up by position."""


class Block(nn.Module, ABC):
    """A block's Spec also says, as class variables, whether `tokens_attend` (to concepts) and `concepts_attend` (to
    one another)."""

    @abstractmethod
    def reads(self) -> Reading:
        """Where concepts read tokens."""

    @abstractmethod
    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        """concepts (B, C, D), tokens (B, K, T) -> the same two, updated."""

    @abstractmethod
    def shares(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        """What `forward` given the same lets each concept read of each token: (B, H, C, K), 1 in all over tokens."""

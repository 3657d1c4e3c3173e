"""What every encoder block is given and what it must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from cogito_ray.nn.position_encodings import ContextualPositions, Rotary


@dataclass(frozen=True)
class Sizes:
    """Widths and heads of a block, as `ModelSpec` has them."""

    width: int
    """D, of concepts."""
    token_width: int
    """T, of the tokens that concepts read."""
    heads: int
    hidden: int
    """Width inside the feed-forward layers."""


@dataclass(frozen=True)
class BlockContext:
    """What all blocks of one forward pass share: which tokens are real, and how queries and keys are rotated."""

    visible: Tensor | None
    """(B, K) False = padding; None = every token is visible. (B, C, K) where each concept reads its own document."""
    token_rotary: Rotary | None = None
    """Rotations of the tokens."""
    concept_rotary: Rotary | None = None
    """Rotations of the concepts when they meet tokens, by the centres of their segments."""
    latent_rotary: Rotary | None = None
    """Rotations of the concepts among themselves, by their index."""
    latent_contextual: ContextualPositions | None = None
    """Of the concepts among themselves, by what they count."""
    contents: Tensor | None = None
    """(B, K, T) the tokens without their positions, where no token stage changed them."""
    concepts_of_tokens: Tensor | None = None
    """(B, K, C) concepts of each token's document, the only ones that it may read; None = all."""
    concepts_of_concepts: Tensor | None = None
    """(B, C, C) likewise of each concept."""


class LookupInit(Protocol):
    """An attention, or what takes its place, that can be initialised as a look-up by position (see
    `nn.concept_latents`)."""

    def init_as_lookup(self, gain: float) -> None:
        """Let queries attend to keys of like position; `gain` > 0: more looks narrower."""


class Block(nn.Module, ABC):
    """A block's Spec also says, as class variables, whether `tokens_attend` (to concepts), `concepts_attend` (to one
    another), and whether it `respects_documents`: under model.attention 'document', nothing reads across them."""

    @abstractmethod
    def attention_to_init(self) -> LookupInit:
        """The attention by which concepts read tokens, for latents that initialise it as a look-up."""

    @abstractmethod
    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, Tensor | None]:
        """concepts (B, C, D), tokens (B, K, T) -> the same two, updated; None for tokens that are as they were."""

    @abstractmethod
    def attention_weights(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        """What `forward` given the same lets each concept read of each token: (B, H, C, K), 1 in all over tokens."""

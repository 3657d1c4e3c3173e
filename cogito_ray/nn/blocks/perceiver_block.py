"""Perceiver block: concepts read tokens, then one another, then think (arXiv:2107.14795)."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, GatedFeedForward
from cogito_ray.nn.blocks.base import Block, Scene, Sizes


class CrossSpec(Spec):
    """Tokens are only read: a block costs O(C N), and token vectors stay without context."""

    kind: Literal["cross"] = "cross"
    tokens_attend: ClassVar[bool] = False
    concepts_attend: ClassVar[bool] = True
    token_norm: bool = True
    """Layer norm on tokens before keys and values."""

    def build(self, sizes: Sizes, last: bool) -> "CrossBlock":
        return CrossBlock(sizes, self.token_norm)


class CrossBlock(Block):
    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__()
        width, token_width = sizes.width, sizes.token_width
        self.norm_tokens = nn.LayerNorm(token_width) if token_norm else nn.Identity()
        self.norm_read, self.norm_mix, self.norm_think = (nn.LayerNorm(width) for _ in range(3))
        self.read = Attention(width, token_width, sizes.heads)
        self.mix = Attention(width, width, sizes.heads)
        self.think = GatedFeedForward(width, sizes.hidden)

    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        return self.ponder(self.gather(concepts, tokens, scene), scene), tokens

    def reads(self) -> Attention:
        return self.read

    def shares(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        return self.read.shares(
            self.norm_read(concepts),
            self.norm_tokens(tokens),
            visible=scene.visible,
            turns=scene.anchors,
            source_turns=scene.tokens,
        )

    def gather(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        """Concepts (B, C, D) after reading tokens (B, K, T)."""
        return concepts + self.read(
            self.norm_read(concepts),
            self.norm_tokens(tokens),
            visible=scene.visible,
            turns=scene.anchors,
            source_turns=scene.tokens,
        )

    def ponder(self, concepts: Tensor, scene: Scene) -> Tensor:
        """Concepts (B, C, D) after reading one another, then the feed-forward layer."""
        normed = self.norm_mix(concepts)
        concepts = concepts + self.mix(normed, normed, turns=scene.concepts, source_turns=scene.concepts)
        return concepts + self.think(self.norm_think(concepts))

"""BiXT block: concepts and tokens update each other (arXiv:2402.12138), so tokens gain context at O(C N)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, heads_of
from cogito_ray.nn.blocks.base import Block, Scene, Sizes
from cogito_ray.nn.blocks.perceiver_block import CrossBlock


class BixtSpec(Spec):
    kind: Literal["bixt"] = "bixt"
    tokens_attend: ClassVar[bool] = True
    concepts_attend: ClassVar[bool] = True
    shared: bool = False
    """True: one score matrix serves both directions, as in the paper. False: tokens read the concepts just updated."""
    token_norm: bool = True
    """Layer norm on tokens before concepts read them, and on concepts before tokens do."""

    def build(self, sizes: Sizes, last: bool) -> Block:
        if last:
            return CrossBlock(sizes, self.token_norm)      # nobody would read the tokens any more
        return (SharedBixtBlock if self.shared else SequentialBixtBlock)(sizes, self.token_norm)


class SequentialBixtBlock(CrossBlock):
    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__(sizes, token_norm)
        self.norm_back = nn.LayerNorm(sizes.token_width)
        self.norm_source = nn.LayerNorm(sizes.width) if token_norm else nn.Identity()
        self.back = Attention(sizes.token_width, sizes.width, sizes.heads)

    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        concepts = self.gather(concepts, tokens, scene)
        source = self.norm_source(concepts)
        tokens = tokens + self.back(self.norm_back(tokens), source, turns=scene.tokens, source_turns=scene.anchors)
        return self.ponder(concepts, scene), tokens


class SharedBixtBlock(CrossBlock):
    """Scores (B, H, C, K) are computed once: softmax over tokens for concepts, over concepts for tokens."""

    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__(sizes, token_norm)
        self.value_back = nn.Linear(sizes.width, sizes.width, bias=False)
        self.out_back = nn.Linear(sizes.width, sizes.token_width)

    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        normed = self.norm_read(concepts)
        query, key, value = self.read.project(
            normed, self.norm_tokens(tokens), turns=scene.anchors, source_turns=scene.tokens
        )
        scores = query @ key.mT * query.shape[-1] ** -0.5                  # (B, H, C, K)
        hidden = scores if scene.visible is None else scores.masked_fill(~scene.visible[:, None, None], -torch.inf)
        read = hidden.softmax(dim=-1) @ value                              # (B, H, C, D/H)
        back = scores.mT.softmax(dim=-1) @ heads_of(self.value_back(normed), self.read.heads)  # (B, H, K, D/H)
        concepts = concepts + self.read.out(read.transpose(1, 2).flatten(2))
        return self.ponder(concepts, scene), tokens + self.out_back(back.transpose(1, 2).flatten(2))

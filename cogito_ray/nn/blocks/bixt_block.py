"""BiXT block: concepts and tokens update each other (arXiv:2402.12138), so tokens gain context at O(C N)."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, ResidualOutput, for_every_head, heads_of, masked_softmax
from cogito_ray.nn.blocks.block_interface import Block, BlockContext, Sizes
from cogito_ray.nn.blocks.perceiver_block import CrossBlock


class BixtSpec(Spec):
    """Tokens attend to concepts as concepts attend to tokens; the last block updates concepts alone."""

    kind: Literal["bixt"] = "bixt"
    tokens_attend: ClassVar[bool] = True
    concepts_attend: ClassVar[bool] = True
    respects_documents: ClassVar[bool] = True
    shared: bool = False
    """True: one score matrix serves both directions, as in the paper. False: tokens read the concepts just updated."""
    token_norm: bool = True
    """Layer norm on tokens before concepts read them, and on concepts before tokens do."""

    def build(self, sizes: Sizes, last: bool) -> Block:
        """A block with random weights; the `last` one has no token update, whose weights would get no gradient."""
        if last:
            return CrossBlock(sizes, self.token_norm)
        return (SharedBixtBlock if self.shared else SequentialBixtBlock)(sizes, self.token_norm)


class SequentialBixtBlock(CrossBlock):
    """Two attentions of their own: concepts read tokens, then tokens read the updated concepts."""

    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__(sizes, token_norm)
        self.reverse_norm = nn.LayerNorm(sizes.token_width)
        self.concepts_norm = nn.LayerNorm(sizes.width) if token_norm else nn.Identity()
        self.reverse_attention = Attention(sizes.token_width, sizes.width, sizes.heads)

    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        concepts = self.cross_attend(concepts, tokens, context)
        read = self.reverse_attention(
            self.reverse_norm(tokens),
            self.concepts_norm(concepts),
            visible=context.concepts_of_tokens,
            rotary=context.token_rotary,
            source_rotary=context.concept_rotary,
        )
        return self.self_attend_and_mlp(concepts, context), tokens + read


class SharedBixtBlock(CrossBlock):
    """Scores (B, H, C, K) are computed once: softmax over tokens for concepts, over concepts for tokens."""

    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__(sizes, token_norm)
        self.reverse_value = nn.Linear(sizes.width, sizes.width, bias=False)
        self.reverse_out = ResidualOutput(sizes.width, sizes.token_width)

    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        normed, visible, heads = self.cross_norm(concepts), context.visible, self.cross_attention.heads
        query, key, value = self.cross_attention.project(
            normed, self.tokens_norm(tokens), rotary=context.concept_rotary, source_rotary=context.token_rotary
        )
        scores = query @ key.mT * self.cross_attention.scale               # (B, H, C, K)
        weights = _softmax(scores, visible)
        reverse_weights = _softmax(scores.mT, context.concepts_of_tokens)  # (B, H, K, C)
        read = weights @ value                                             # (B, H, C, D/H)
        reverse = reverse_weights @ heads_of(self.reverse_value(normed), heads)                # (B, H, K, D/H)
        concepts = concepts + self.cross_attention.out(read.transpose(1, 2).flatten(2))
        tokens = tokens + self.reverse_out(reverse.transpose(1, 2).flatten(2))
        return self.self_attend_and_mlp(concepts, context), tokens


def _softmax(scores: Tensor, visible: Tensor | None) -> Tensor:
    return scores.softmax(dim=-1) if visible is None else masked_softmax(scores, for_every_head(visible), dim=-1)

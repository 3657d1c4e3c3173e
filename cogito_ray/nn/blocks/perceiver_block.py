"""Perceiver block: cross-attention to tokens, then self-attention among concepts, then an MLP (arXiv:2107.14795)."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, GatedFeedForward
from cogito_ray.nn.blocks.block_interface import Block, BlockContext, Sizes


class CrossSpec(Spec):
    """Tokens are only read: a block costs O(C N), and token vectors stay without context."""

    kind: Literal["cross"] = "cross"
    tokens_attend: ClassVar[bool] = False
    concepts_attend: ClassVar[bool] = True
    respects_documents: ClassVar[bool] = True
    token_norm: bool = True
    """Layer norm on tokens before keys and values."""
    values: Literal["tokens", "contents"] = "tokens"
    """What concepts read where they look. tokens: all of a token's vector. contents: the vector without the token's
    position, and without a norm, so that what a token weighs is kept (cf. TUPE, arXiv:2006.15595, which parts the two
    in scores); it needs encoder.tokens 'raw'."""

    def build(self, sizes: Sizes, last: bool) -> "CrossBlock":
        """A block with random weights; the last of an encoder is like the others."""
        return CrossBlock(sizes, self.token_norm, self.values == "contents")


class CrossBlock(Block):
    """Pre-norm residual branches (arXiv:2002.04745): cross-attention, self-attention, MLP."""

    def __init__(self, sizes: Sizes, token_norm: bool, reads_contents: bool = False):
        super().__init__()
        self.reads_contents = reads_contents
        width, token_width = sizes.width, sizes.token_width
        self.tokens_norm = nn.LayerNorm(token_width) if token_norm else nn.Identity()
        self.cross_norm, self.self_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.cross_attention = Attention(width, token_width, sizes.heads)
        self.self_attention = Attention(width, width, sizes.heads)
        self.mlp = GatedFeedForward(width, sizes.hidden)

    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, Tensor | None]:
        return self.self_attend_and_mlp(self.cross_attend(concepts, tokens, context), context), None

    def attention_to_init(self) -> Attention:
        return self.cross_attention

    def attention_weights(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        return self.cross_attention.attention_weights(
            self.cross_norm(concepts),
            self.tokens_norm(tokens),
            visible=context.visible,
            rotary=context.concept_rotary,
            source_rotary=context.token_rotary,
        )

    def cross_attend(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        """Concepts (B, C, D) after reading tokens (B, K, T)."""
        return concepts + self.cross_attention(
            self.cross_norm(concepts),
            self.tokens_norm(tokens),
            contents=context.contents if self.reads_contents else None,
            visible=context.visible,
            rotary=context.concept_rotary,
            source_rotary=context.token_rotary,
        )

    def self_attend_and_mlp(self, concepts: Tensor, context: BlockContext) -> Tensor:
        """Concepts (B, C, D) after reading one another, then the MLP."""
        normed, rotary = self.self_norm(concepts), context.latent_rotary
        concepts = concepts + self.self_attention(
            normed,
            normed,
            visible=context.concepts_of_concepts,
            rotary=rotary,
            source_rotary=rotary,
            contextual=context.latent_contextual,
        )
        return concepts + self.mlp(self.mlp_norm(concepts))

"""Slot attention: concepts compete for tokens (arXiv:2006.15055). `tied: true` makes its depth count the rounds."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import GatedFeedForward, for_every_head, init_as_lookup, masked_softmax
from cogito_ray.nn.blocks.block_interface import Block, BlockContext, Sizes
from cogito_ray.nn.position_encodings import Rotary


class SlotSpec(Spec):
    """Concepts do not read one another; that they compete for tokens keeps them apart."""

    kind: Literal["slot"] = "slot"
    tokens_attend: ClassVar[bool] = False
    concepts_attend: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = True
    token_norm: bool = True
    """Layer norm on tokens before keys and values."""

    def build(self, sizes: Sizes, last: bool) -> "SlotBlock":
        """A block with random weights; the last of an encoder is like the others."""
        return SlotBlock(sizes, self.token_norm)


class SlotBlock(Block):
    """One round: softmax over concepts, weighted mean over tokens, GRU update, MLP."""

    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__()
        width, token_width = sizes.width, sizes.token_width
        self.tokens_norm = nn.LayerNorm(token_width) if token_norm else nn.Identity()
        self.cross_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross_attention = SlotAttention(width, token_width)
        self.update = GatedUpdate(width, width)
        self.mlp = GatedFeedForward(width, sizes.hidden)

    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, None]:
        read = self.cross_attention(self.cross_norm(concepts), self.tokens_norm(tokens), context)  # (B, C, D)
        concepts = self.update(read.flatten(0, 1), concepts.flatten(0, 1)).view_as(concepts)
        return concepts + self.mlp(self.mlp_norm(concepts)), None

    def attention_weights(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        normed, source = self.cross_norm(concepts), self.tokens_norm(tokens)
        return self.cross_attention.attention_weights(normed, source, context)[:, None]

    def attention_to_init(self) -> "SlotAttention":
        return self.cross_attention


class GatedUpdate(nn.GRUCell):
    """A GRU's step, of which a share is taken (see `nn.parametrisation`)."""

    share = 1.0

    def forward(self, read: Tensor, concepts: Tensor) -> Tensor:    # type: ignore[override]
        updated = super().forward(read, concepts)
        return updated if self.share == 1 else torch.lerp(concepts, updated, self.share)


class SlotAttention(nn.Module):
    """One head. Queries have no bias: what is equal for all concepts cancels in their softmax."""

    def __init__(self, width: int, token_width: int):
        super().__init__()
        self.heads, self.scale = 1, width**-0.5
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(token_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        """concepts (B, C, D), tokens (B, K, T) -> what each concept won (B, C, D)."""
        key, value = self.key_value(tokens).chunk(2, dim=-1)               # (B, K, D) each
        return self.out(self._weights(concepts, key, context) @ value)

    def attention_weights(self, concepts: Tensor, tokens: Tensor, context: BlockContext) -> Tensor:
        """concepts (B, C, D), tokens (B, K, T) -> (B, C, K), 1 in all over tokens."""
        key, _ = self.key_value(tokens).chunk(2, dim=-1)
        return self._weights(concepts, key, context)

    def _weights(self, concepts: Tensor, key: Tensor, context: BlockContext) -> Tensor:
        """Normalised twice: over concepts, so that they compete for each token, then over tokens, so that a concept
        reads a mean however little it won (1e-8: also where it won nothing)."""
        query = _rotated(self.query(concepts), context.concept_rotary)     # (B, C, D)
        scores = query @ _rotated(key, context.token_rotary).mT * self.scale                   # (B, C, K)
        rivals = context.concepts_of_tokens
        weights = scores.softmax(dim=1) if rivals is None else masked_softmax(scores, rivals.mT, dim=1)
        if context.visible is not None:
            weights = weights * for_every_head(context.visible).squeeze(1)
        return weights / (weights.sum(dim=2, keepdim=True) + 1e-8)         # sums to 1 over tokens

    def init_as_lookup(self, gain: float) -> None:
        """See `attention.init_as_lookup`."""
        init_as_lookup(self.query, self.key_value, self.out, gain=gain)


def _rotated(x: Tensor, rotary: Rotary | None) -> Tensor:
    """x (B, S, D) as one head."""
    return x if rotary is None else rotary.apply(x[:, None]).squeeze(1)

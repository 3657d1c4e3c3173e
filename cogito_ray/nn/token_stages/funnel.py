"""Token self-attention that halves the sequence before concepts read it (Funnel-Transformer, arXiv:2006.03236)."""

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, GatedFeedForward, same
from cogito_ray.nn.token_stages.token_stage_interface import Tokens, TokenStage


class FunnelSpec(Spec):
    """Each halving averages neighbouring tokens, and the averages read the full sequence."""

    kind: Literal["funnel"] = "funnel"
    tokens_attend: ClassVar[bool] = True
    respects_documents: ClassVar[bool] = True
    layers: NonNegativeInt = 0
    """Before the first halving, in which each token reads all: O(N^2)."""
    halvings: PositiveInt = 1
    expansion: PositiveFloat = 2.0
    """Width inside feed-forward layers, over the token width."""

    def width_out(self, token_width: int, width: int) -> int:
        """Width of the tokens that concepts read, from the token width (T) and that of concepts (D)."""
        return token_width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Funnel":
        """Layers with random weights."""
        sizes = token_width, heads, max(1, round(token_width * self.expansion))
        whole = [TokenLayer(*sizes) for _ in range(self.layers)]
        return Funnel([*whole, *(FunnelLayer(*sizes) for _ in range(self.halvings))])


class Funnel(TokenStage):
    """K tokens -> ceil(K / 2^halvings)."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        # One unit of FSDP2, which before torch 2.13 finds no tensors in what these layers hand on.
        self.layers = nn.Sequential(*layers)

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class TokenLayer(nn.Module):
    """Tokens attend to all tokens, then go through an MLP; pre-norm residual branches."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, width, heads)
        self.mlp = GatedFeedForward(width, hidden)

    def forward(self, tokens: Tokens) -> Tokens:
        return self.read(tokens, tokens)

    def read(self, queries: Tokens, tokens: Tokens) -> Tokens:
        """Queries after attending to the tokens."""
        visible = tokens.visible
        if queries.starts is not None and tokens.starts is not None:
            own = same(queries.starts, tokens.starts)                                          # (B, Q, K)
            visible = own if visible is None else visible[:, None] & own
        vectors = queries.vectors + self.attention(
            self.attention_norm(queries.vectors), self.attention_norm(tokens.vectors), visible=visible
        )
        return replace(queries, vectors=vectors + self.mlp(self.mlp_norm(vectors)))


class FunnelLayer(TokenLayer):
    """Means of two neighbours do so in the place of tokens."""

    def forward(self, tokens: Tokens) -> Tokens:
        """K tokens -> ceil(K / 2)."""
        return self.read(pooled(tokens), tokens)


def pooled(tokens: Tokens) -> Tokens:
    """The mean of each pair of neighbours, of its visible members alone where one is padding.

    Of a pair from two documents the first stands alone: the second is read where the average reads all tokens.
    """
    odd = tokens.positions.shape[1] % 2
    real = torch.ones_like(tokens.positions, dtype=torch.bool) if tokens.visible is None else tokens.visible
    visible = F.pad(real, (0, odd)).unflatten(1, (-1, 2))                              # (B, K/2, 2)
    starts = None
    if tokens.starts is not None:
        begins = F.pad(tokens.starts, (0, odd)).unflatten(1, (-1, 2))                  # (B, K/2, 2)
        starts = begins.gather(2, visible.long().argmax(dim=2, keepdim=True))          # (B, K/2, 1) of the first seen
        visible = visible & (begins == starts)
        starts = starts.squeeze(2)
    weights = visible / visible.sum(dim=2, keepdim=True).clamp_min(1)                  # 1/2 each, or 1 and 0
    vectors = F.pad(tokens.vectors, (0, 0, 0, odd)).unflatten(1, (-1, 2))              # (B, K/2, 2, T)
    positions = F.pad(tokens.positions, (0, odd)).unflatten(1, (-1, 2))                      # (B, K/2, 2)
    means = (weights[..., None] * vectors).sum(dim=2).to(vectors.dtype), (weights * positions).sum(dim=2)
    return Tokens(*means, None if tokens.visible is None else visible.any(dim=2), starts)

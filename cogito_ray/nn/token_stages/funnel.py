"""Token self-attention that halves the sequence before concepts read it (Funnel-Transformer, arXiv:2006.03236)."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, GatedFeedForward
from cogito_ray.nn.token_stages.base import Tokens, TokenStage


class FunnelSpec(Spec):
    """Each halving averages neighbouring tokens, and the averages read the full sequence."""

    kind: Literal["funnel"] = "funnel"
    tokens_attend: ClassVar[bool] = True
    halvings: PositiveInt = 1
    expansion: PositiveFloat = 2.0
    """Width inside feed-forward layers, over the token width."""

    def width_out(self, token_width: int, width: int) -> int:
        return token_width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Funnel":
        return Funnel(token_width, heads, halvings=self.halvings, hidden=max(1, round(token_width * self.expansion)))


class Funnel(TokenStage):
    def __init__(self, width: int, heads: int, *, halvings: int, hidden: int):
        super().__init__()
        self.layers = nn.ModuleList(FunnelLayer(width, heads, hidden) for _ in range(halvings))

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class FunnelLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm_read, self.norm_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read = Attention(width, width, heads)
        self.think = GatedFeedForward(width, hidden)

    def forward(self, tokens: Tokens) -> Tokens:
        """K tokens -> ceil(K / 2)."""
        half = pooled(tokens)
        vectors = half.vectors + self.read(
            self.norm_read(half.vectors), self.norm_read(tokens.vectors), visible=tokens.visible
        )
        return Tokens(vectors + self.think(self.norm_think(vectors)), half.places, half.visible)


def pooled(tokens: Tokens) -> Tokens:
    """The mean of each pair of neighbours, of its visible members alone where one is padding."""
    odd = tokens.visible.shape[1] % 2
    visible = F.pad(tokens.visible, (0, odd)).unflatten(1, (-1, 2))                    # (B, K/2, 2)
    share = visible / visible.sum(dim=2, keepdim=True).clamp_min(1)
    vectors = F.pad(tokens.vectors, (0, 0, 0, odd)).unflatten(1, (-1, 2))              # (B, K/2, 2, T)
    places = F.pad(tokens.places, (0, odd)).unflatten(1, (-1, 2))                      # (B, K/2, 2)
    return Tokens((share[..., None] * vectors).sum(dim=2), (share * places).sum(dim=2), visible.any(dim=2))

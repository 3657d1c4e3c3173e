"""Slot attention: concepts compete for tokens (arXiv:2006.15055). `tied: true` makes its depth count the rounds."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import GatedFeedForward, align
from cogito_ray.nn.blocks.base import Block, Scene, Sizes
from cogito_ray.nn.position_encodings import Turns


class SlotSpec(Spec):
    kind: Literal["slot"] = "slot"
    tokens_attend: ClassVar[bool] = False
    concepts_attend: ClassVar[bool] = False
    token_norm: bool = True
    """Layer norm on tokens before keys and values."""

    def build(self, sizes: Sizes, last: bool) -> "SlotBlock":
        return SlotBlock(sizes, self.token_norm)


class SlotBlock(Block):
    """One round: softmax over concepts, weighted mean over tokens, GRU update, feed-forward."""

    def __init__(self, sizes: Sizes, token_norm: bool):
        super().__init__()
        width, token_width = sizes.width, sizes.token_width
        self.norm_tokens = nn.LayerNorm(token_width) if token_norm else nn.Identity()
        self.norm_read, self.norm_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read = Competition(width, token_width)
        self.update = nn.GRUCell(width, width)
        self.think = GatedFeedForward(width, sizes.hidden)

    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        won = self.read(self.norm_read(concepts), self.norm_tokens(tokens), scene)         # (B, C, D)
        concepts = self.update(won.flatten(0, 1), concepts.flatten(0, 1)).view_as(concepts)
        return concepts + self.think(self.norm_think(concepts)), tokens

    def shares(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        return self.read.shares(self.norm_read(concepts), self.norm_tokens(tokens), scene)[:, None]

    def reads(self) -> "Competition":
        return self.read


class Competition(nn.Module):
    """One head. Queries have no bias: what is equal for all concepts cancels in their softmax."""

    def __init__(self, width: int, token_width: int):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(token_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        """concepts (B, C, D), tokens (B, K, T) -> what each concept won (B, C, D)."""
        key, value = self.key_value(tokens).chunk(2, dim=-1)               # (B, K, D) each
        return self.out(self._shares(concepts, key, scene) @ value)

    def shares(self, concepts: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        """concepts (B, C, D), tokens (B, K, T) -> (B, C, K), 1 in all over tokens."""
        key, _ = self.key_value(tokens).chunk(2, dim=-1)
        return self._shares(concepts, key, scene)

    def _shares(self, concepts: Tensor, key: Tensor, scene: Scene) -> Tensor:
        query = _turned(self.query(concepts), scene.anchors)               # (B, C, D)
        scores = query @ _turned(key, scene.tokens).mT                     # (B, C, K)
        share = torch.softmax(scores * query.shape[-1] ** -0.5, dim=1)     # sums to 1 over concepts
        share = share if scene.visible is None else share * scene.visible[:, None]
        return share / (share.sum(dim=2, keepdim=True) + 1e-8)             # sums to 1 over tokens

    def align(self, gain: float) -> None:
        align(self.query, self.key_value, self.out, gain=gain)


def _turned(x: Tensor, turns: Turns | None) -> Tensor:
    """x (B, S, D) as one head."""
    return x if turns is None else turns.apply(x[:, None]).squeeze(1)

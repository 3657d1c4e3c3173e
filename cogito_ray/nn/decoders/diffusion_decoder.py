"""Masked-diffusion decoder: corrupted tokens read the concepts in layers steered by the noise level.

The loss is MDLM's (arXiv:2406.07524), the steering AdaLN-Zero (arXiv:2212.09748). Positions do not read one another.
"""

import math
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, GatedFeedForward
from cogito_ray.nn.blocks.base import Reading
from cogito_ray.nn.decoders.base import Decoder, Stock
from cogito_ray.nn.decoders.decoder_queries import OwnContent, Queries, SharedContent
from cogito_ray.nn.position_encodings import PositionsSpec, Turns


class DiffusionDecoderSpec(Spec):
    kind: Literal["diffusion"] = "diffusion"
    needs: ClassVar[frozenset[str]] = frozenset({"ids", "noise"})
    depth: PositiveInt = 2
    positions: PositionsSpec | None = None
    """The queries' own positions; None = those of the encoder's tokens."""
    own_tokens: bool = False
    """A token table of the decoder's own instead of the encoder's."""

    @property
    def shares_positions(self) -> bool:
        return self.positions is None

    def build(self, stock: Stock) -> "DiffusionDecoder":
        content = (
            OwnContent(stock.embedding.token.num_embeddings, stock.width)
            if self.own_tokens
            else SharedContent(stock.embedding, stock.width)
        )
        return DiffusionDecoder(stock, Queries(stock, self.positions, content), self.depth)


class DiffusionDecoder(Decoder):
    centres: Tensor | None

    def __init__(self, stock: Stock, queries: Queries, depth: int):
        super().__init__()
        self.queries = queries
        self.level = NoiseLevel(stock.width)
        self.layers = nn.ModuleList(DiffusionLayer(stock) for _ in range(depth))
        self.register_buffer("centres", stock.centres)

    def forward(self, concepts: Tensor, positions: Tensor, query_ids: Tensor | None, noise: Tensor | None) -> Tensor:
        """concepts (B, C, D), positions and query_ids (B, M), noise (B,) -> hidden (B, M, D)."""
        assert noise is not None
        hidden, level = self.queries(positions, query_ids), self.level(noise)  # (B, M, D), (B, D)
        turns, anchors = self.queries.turns(positions), self.queries.anchor_turns(self.centres)
        for layer in self.layers:
            hidden = layer(hidden, concepts, level, turns=turns, anchors=anchors)
        return hidden

    def reads(self) -> list[Reading]:
        return [cast(DiffusionLayer, layer).read for layer in self.layers]


class DiffusionLayer(nn.Module):
    """Scale and shift both norms, gate both branches, by the noise level; gates start at 0."""

    def __init__(self, stock: Stock):
        super().__init__()
        width = stock.width
        self.norm_read, self.norm_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read = Attention(width, width, stock.heads)
        self.think = GatedFeedForward(width, stock.hidden)
        self.steer = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(
        self, hidden: Tensor, concepts: Tensor, level: Tensor, *, turns: Turns | None, anchors: Turns | None
    ) -> Tensor:
        scale_read, shift_read, gate_read, scale_think, shift_think, gate_think = (
            self.steer(level)[:, None].chunk(6, dim=-1)                        # (B, 1, D) each
        )
        query = self.norm_read(hidden) * (1 + scale_read) + shift_read
        hidden = hidden + gate_read * self.read(query, concepts, turns=turns, source_turns=anchors)
        return hidden + gate_think * self.think(self.norm_think(hidden) * (1 + scale_think) + shift_think)


class NoiseLevel(nn.Module):
    """The fraction of the row that is masked, as a vector."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, noise: Tensor) -> Tensor:
        """noise (B,) -> (B, D)."""
        half = (self.width + 1) // 2
        rates = torch.exp(torch.arange(half, device=noise.device) * (-math.log(1e4) / half))
        angles = noise[:, None].float() * rates                                # (B, D/2)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)[:, : self.width]
        return self.down(F.silu(self.up(waves)))

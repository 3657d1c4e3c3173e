"""Each position mixes the concepts by learned weights of its own: no attention, no token content.

An attention whose scores are parameters is the random Synthesizer of arXiv:2005.00743.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.blocks.base import Reading
from cogito_ray.nn.decoders.base import Decoder, Stock
from cogito_ray.nn.position_encodings import interpolated, segment_centres


class WeightedDecoderSpec(Spec):
    kind: Literal["weighted"] = "weighted"
    needs: ClassVar[frozenset[str]] = frozenset()
    shares_positions: ClassVar[bool] = False

    def build(self, stock: Stock) -> "WeightedDecoder":
        return WeightedDecoder(stock.length, stock.concepts, stock.width)


class WeightedDecoder(Decoder):
    def __init__(self, length: int, concepts: int, width: int):
        super().__init__()
        self.scores = nn.Parameter(torch.randn(length, concepts) * 0.02)
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, concepts: Tensor, positions: Tensor, query_ids: Tensor | None, noise: Tensor | None) -> Tensor:
        """concepts (B, C, D), positions (B, M) -> hidden (B, M, D). Reads neither ids nor noise."""
        share = F.embedding(positions, self.scores).softmax(dim=-1)            # (B, M, C)
        return F.gelu(self.project(self.norm(share @ concepts)))

    def reads(self) -> list[Reading]:
        return [self]

    @torch.no_grad()
    def align(self, gain: float) -> None:
        """Start with most weight on the concept of the own segment, less by `gain` for each segment further off."""
        length, concepts = self.scores.shape
        away = torch.arange(length)[:, None] - segment_centres(concepts, length)           # (N, C), in tokens
        self.scores.copy_(-gain * away.abs() * concepts / length)

    @torch.no_grad()
    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens, squeezed into the trained range."""
        self.scores = nn.Parameter(interpolated(self.scores, length))

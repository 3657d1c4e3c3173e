"""Each position mixes the concepts by learned weights of its own: no attention, no token content.

An attention whose scores are parameters is the random Synthesizer of arXiv:2005.00743.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.decoders.decoder_interface import Decoder, DecoderContext
from cogito_ray.nn.position_encodings import interpolated, segment_centres


class WeightedSumDecoderSpec(Spec):
    """Each position has one learned weight per concept, whatever the text: a baseline for decoders that attend."""

    kind: Literal["weighted"] = "weighted"
    needs: ClassVar[frozenset[str]] = frozenset()
    shares_positions: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = False

    def build(self, context: DecoderContext) -> "WeightedSumDecoder":
        """A decoder with random weights."""
        return WeightedSumDecoder(context.length, context.concepts, context.width)


class WeightedSumDecoder(Decoder):
    """Softmax over concepts of a row of the (N, C) table of scores, then norm, projection and GELU."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"scores": "scores"}

    def __init__(self, length: int, concepts: int, width: int):
        super().__init__()
        self.scores = nn.Parameter(torch.randn(length, concepts) * 0.02)
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(
        self,
        concepts: Tensor,
        positions: Tensor,
        query_ids: Tensor | None,
        noise: Tensor | None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """concepts (B, C, D), positions (B, M) -> hidden (B, M, D). Reads neither ids nor noise."""
        weights = F.embedding(positions, self.scores).softmax(dim=-1)          # (B, M, C)
        return F.gelu(self.project(self.norm(weights @ concepts)))

    def attentions_to_init(self) -> list[LookupInit]:
        return [self]

    @torch.no_grad()
    def init_as_lookup(self, gain: float) -> None:
        """Start with most weight on the concept of the own segment, less by `gain` for each segment further off."""
        length, concepts = self.scores.shape
        distance = torch.arange(length)[:, None] - segment_centres(concepts, length)       # (N, C), in tokens
        self.scores.copy_(-gain * distance.abs() * concepts / length)

    @torch.no_grad()
    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens, squeezed into the trained range."""
        self.scores = nn.Parameter(interpolated(self.scores, length))

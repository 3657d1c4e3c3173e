"""Masked-diffusion decoder: corrupted tokens read the concepts in layers modulated by the noise level.

The loss is MDLM's (arXiv:2406.07524), the steering AdaLN-Zero (arXiv:2212.09748). Positions do not read one another.
"""

import math
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.nn.attention import Attention, GatedFeedForward
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.decoders.decoder_interface import Decoder, DecoderContext
from cogito_ray.nn.decoders.decoder_queries import (
    OwnTokenEmbedding,
    Places,
    Queries,
    QueryPositionsSpec,
    SharedTokenEmbedding,
)


class DiffusionDecoderSpec(QueryPositionsSpec):
    """Queries are the tokens of the partly masked row; which of them are masked, and how many, steers every layer."""

    kind: Literal["diffusion"] = "diffusion"
    needs: ClassVar[frozenset[str]] = frozenset({"ids", "noise"})
    respects_documents: ClassVar[bool] = True
    depth: PositiveInt = 2
    own_tokens: bool = False
    """A token table of the decoder's own instead of the encoder's."""

    def build(self, context: DecoderContext) -> "DiffusionDecoder":
        """A decoder with random weights."""
        tokens = (
            OwnTokenEmbedding(context.embedding.token.num_embeddings, context.width)
            if self.own_tokens
            else SharedTokenEmbedding(context.embedding, context.width)
        )
        return DiffusionDecoder(context, Queries(context, self.positions, tokens), self.depth)


class DiffusionDecoder(Decoder):
    """Layers of cross-attention and MLP, each modulated by one embedding of the noise level."""

    reads_noise: ClassVar[bool] = True
    centres: Tensor | None

    def __init__(self, context: DecoderContext, queries: Queries, depth: int):
        super().__init__()
        self.queries = queries
        self.noise_embedding = NoiseEmbedding(context.width)
        self.layers = nn.ModuleList(DiffusionLayer(context) for _ in range(depth))
        self.register_buffer("centres", context.centres)

    def forward(
        self,
        concepts: Tensor,
        positions: Tensor,
        query_ids: Tensor | None,
        noise: Tensor | None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """concepts (B, C, D), positions and query_ids (B, M), noise (B,) -> hidden (B, M, D)."""
        assert noise is not None
        places = self.queries.places(positions, self.centres, starts)
        hidden, level = self.queries(places.positions, query_ids), self.noise_embedding(noise)     # (B, M, D), (B, D)
        for layer in self.layers:
            hidden = layer(hidden, concepts, level, places)
        return hidden

    def attentions_to_init(self) -> list[LookupInit]:
        return [cast(DiffusionLayer, layer).cross_attention for layer in self.layers]


class DiffusionLayer(nn.Module):
    """Scale and shift both norms, gate both branches, by the noise level (AdaLN-Zero). As gates start at 0, a layer
    starts as the identity, and its branches come in as fast as they help."""

    def __init__(self, context: DecoderContext):
        super().__init__()
        width = context.width
        self.cross_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross_attention = Attention(width, width, context.heads)
        self.mlp = GatedFeedForward(width, context.hidden)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, hidden: Tensor, concepts: Tensor, level: Tensor, places: Places) -> Tensor:
        """hidden (B, M, D), concepts (B, C, D), level (B, D) -> hidden (B, M, D)."""
        read_scale, read_shift, read_gate, mlp_scale, mlp_shift, mlp_gate = (
            self.modulation(level)[:, None].chunk(6, dim=-1)                   # (B, 1, D) each
        )
        query = self.cross_norm(hidden) * (1 + read_scale) + read_shift
        hidden = hidden + read_gate * self.cross_attention(
            query, concepts, visible=places.visible, rotary=places.rotary, source_rotary=places.concept_rotary
        )
        return hidden + mlp_gate * self.mlp(self.mlp_norm(hidden) * (1 + mlp_scale) + mlp_shift)


class NoiseEmbedding(nn.Module):
    """The fraction of the row that is masked, as a vector: sines and cosines of it at rates from 1 down to 1e-4, as
    diffusion models embed their time step (arXiv:2006.11239), then an MLP."""

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
        return self.down(F.silu(self.up(waves.to(self.up.weight.dtype))))

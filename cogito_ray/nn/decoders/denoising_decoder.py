"""Denoising decoder: of a whole row, partly masked, each place reads the concepts and the words around it.

Places of the diffusion decoder do not read one another, so that two words that are filled in at once need not go
together; here each word that is known tells its neighbours. They are read in a window (Longformer, arXiv:2004.05150):
O(N) for all.
"""

from typing import ClassVar, Literal, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.nn.attention import Attention, attend_nearby
from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.decoders.decoder_interface import Decoder, DecoderContext
from cogito_ray.nn.decoders.decoder_queries import Places, Queries, QueryPositionsSpec, SharedTokenEmbedding
from cogito_ray.nn.decoders.diffusion_decoder import DiffusionLayer, NoiseEmbedding


class DenoisingDecoderSpec(QueryPositionsSpec):
    """Queries are all places of the partly masked row, which read their neighbours before each look at the concepts."""

    kind: Literal["denoising"] = "denoising"
    needs: ClassVar[frozenset[str]] = frozenset({"row", "noise"})
    respects_documents: ClassVar[bool] = True
    depth: PositiveInt = 2
    window: PositiveInt = 16
    """How far a place reads on either side, in tokens; each further layer carries as far again."""

    def build(self, context: DecoderContext) -> "DenoisingDecoder":
        """A decoder with random weights."""
        tokens = SharedTokenEmbedding(context.embedding, context.width)
        layers = [DenoisingLayer(context, self.window) for _ in range(self.depth)]
        return DenoisingDecoder(context, Queries(context, self.positions, tokens), layers)


class DenoisingDecoder(Decoder):
    """Decodes all places of a row, and hands on those that were asked for."""

    reads_rows: ClassVar[bool] = True
    reads_noise: ClassVar[bool] = True
    centres: Tensor | None

    def __init__(self, context: DecoderContext, queries: Queries, layers: list["DenoisingLayer"]):
        super().__init__()
        self.queries, self.layers = queries, nn.ModuleList(layers)
        self.noise_embedding = NoiseEmbedding(context.width)
        self.register_buffer("centres", context.centres)

    def forward(
        self,
        concepts: Tensor,
        positions: Tensor,
        query_ids: Tensor | None,
        noise: Tensor | None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """concepts (B, C, D), positions (B, M), query_ids (B, N), noise (B,) -> hidden (B, M, D)."""
        assert query_ids is not None
        assert noise is not None
        every = torch.arange(query_ids.shape[1], device=query_ids.device).expand_as(query_ids)
        places = self.queries.places(every, self.centres, starts)
        hidden, level = self.queries(places.positions, query_ids), self.noise_embedding(noise)     # (B, N, D), (B, D)
        for layer in self.layers:
            hidden = layer(hidden, concepts, level, places, starts)
        return hidden[torch.arange(len(hidden), device=hidden.device)[:, None], positions]

    def attentions_to_init(self) -> list[LookupInit]:
        return [cast(DenoisingLayer, layer).read.cross_attention for layer in self.layers]


class DenoisingLayer(nn.Module):
    """Neighbours, steered by the noise level as all else, then a layer of the diffusion decoder."""

    def __init__(self, context: DecoderContext, window: int):
        super().__init__()
        self.window, self.norm = window, nn.LayerNorm(context.width)
        self.attention = Attention(context.width, context.width, context.heads)
        self.modulation = nn.Linear(context.width, 3 * context.width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.read = DiffusionLayer(context)

    def forward(
        self, hidden: Tensor, concepts: Tensor, level: Tensor, places: Places, starts: Tensor | None
    ) -> Tensor:
        """hidden (B, N, D), concepts (B, C, D), level (B, D), starts (B, N) of documents -> hidden (B, N, D)."""
        scale, shift, gate = self.modulation(level)[:, None].chunk(3, dim=-1)                  # (B, 1, D) each
        query = self.norm(hidden) * (1 + scale) + shift
        nearby = attend_nearby(self.attention, query, self.window, starts=starts, rotary=places.rotary)
        return cast(Tensor, self.read(hidden + gate * nearby, concepts, level, places))

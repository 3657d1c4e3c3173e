"""Tokens in, concepts out: an embedding, a stack of blocks, a final norm."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.blocks.base import Block, Scene, Sizes
from cogito_ray.nn.blocks.perceiver_block import CrossSpec
from cogito_ray.nn.concept_latents import ConceptStart
from cogito_ray.nn.position_encodings import Turns
from cogito_ray.nn.token_embedding import Embedding
from cogito_ray.nn.token_stages import TokenStageSpec
from cogito_ray.nn.token_stages.base import Tokens, TokenStage
from cogito_ray.nn.token_stages.projection import RawSpec


class EncoderSpec(Spec):
    block: BlockSpec = CrossSpec()
    tokens: TokenStageSpec = RawSpec()
    """What happens to tokens before concepts read them."""
    depth: PositiveInt = 2
    """Blocks applied, one after another."""
    tied: bool = False
    """One block applied `depth` times (arXiv:1807.03819), with one block's parameters. Such an encoder can be iterated
    further than it was trained: `Encoder.iterate`."""

    def blocks(self, sizes: Sizes) -> list[Block]:
        if self.tied:
            return [self.block.build(sizes, last=self.depth == 1)]
        return [self.block.build(sizes, last=step == self.depth - 1) for step in range(self.depth)]


class Encoder(nn.Module):
    def __init__(
        self,
        embedding: Embedding,
        stage: TokenStage,
        start: ConceptStart,
        *,
        blocks: list[Block],
        depth: int,
        width: int,
    ):
        super().__init__()
        self.embedding, self.stage, self.start = embedding, stage, start
        self.blocks = nn.ModuleList(blocks)
        self.depth = depth
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def iterate(self, times: int) -> None:
        """Apply the one block of a tied encoder `times` times from now on (test-time compute)."""
        if len(self.blocks) > 1:
            raise ValueError(f"only a tied encoder can be iterated; this one has {len(self.blocks)} blocks of its own")
        self.depth = times

    def forward(
        self, ids: Tensor, positions: Tensor, visible: Tensor, layers: Literal["last", "every"] = "last"
    ) -> Tensor | list[Tensor]:
        """ids, positions, visible (B, K) -> concepts (B, C, D); with layers "every", what `every_layer` says."""
        *earlier, concepts = self._steps(ids, positions, visible)
        concepts = self.norm(concepts)
        return [*earlier, concepts] if layers == "every" else concepts

    def every_layer(self, ids: Tensor, positions: Tensor, visible: Tensor) -> list[Tensor]:
        """-> (B, C, D) after each applied block; the last one is normed, equal to `forward`'s."""
        layers: list[Tensor] = self(ids, positions, visible, "every")   # the module is called: it may be compiled
        return layers

    @torch.no_grad()
    def readings(self, ids: Tensor, positions: Tensor, visible: Tensor) -> tuple[Tokens, list[Tensor]]:
        """ids, positions, visible (B, K) -> the tokens that concepts read, and how much of each token each concept
        reads in each applied block: (B, H, C, K'), 1 in all over tokens. K' < K where a token stage pools."""
        read = self.stage(ids, Tokens(self.embedding(ids, positions), positions, visible))
        tokens, concepts, scene, shares = read.vectors, self.start(len(ids)), self._scene(read), []
        for block in self._applied():
            shares.append(block.shares(concepts, tokens, scene))
            concepts, tokens = block(concepts, tokens, scene)
        return read, shares

    def _steps(self, ids: Tensor, positions: Tensor, visible: Tensor) -> Iterator[Tensor]:
        read = self.stage(ids, Tokens(self.embedding(ids, positions), positions, visible))
        tokens, concepts = read.vectors, self.start(len(ids))              # (B, K, T), (B, C, D)
        scene = self._scene(read)
        for block in self._applied():
            concepts, tokens = block(concepts, tokens, scene)
            yield concepts

    def _applied(self) -> list[Block]:
        return [cast(Block, self.blocks[step % len(self.blocks)]) for step in range(self.depth)]

    def _scene(self, read: Tokens) -> Scene:
        positions, start = self.embedding.positions, self.start
        return Scene(
            visible=read.visible,
            tokens=positions.turns(read.places),
            anchors=None if start.centres is None else positions.anchor_turns(start.centres),
            concepts=None if start.numbers is None else Turns(start.numbers),
        )


def tied_from_untied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model whose blocks are its own -> of the same model with `tied: true`, started from its layer 0.

    The untied model must have two blocks or more: a last block differs where tokens are updated.
    """
    further = re.compile(r"(^|\.)encoder\.blocks\.[1-9]\d*\.")
    return {key: value for key, value in state.items() if not further.search(key)}

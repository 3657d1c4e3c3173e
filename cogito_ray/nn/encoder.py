"""Tokens in, concepts out: an embedding, a token stage, a stack of blocks, a final norm."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import places_of, same
from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.blocks.block_interface import Block, BlockContext, Sizes
from cogito_ray.nn.blocks.perceiver_block import CrossSpec
from cogito_ray.nn.concept_latents import Latents
from cogito_ray.nn.position_encodings import Rotary
from cogito_ray.nn.token_embedding import Embedding
from cogito_ray.nn.token_stages import TokenStageSpec
from cogito_ray.nn.token_stages.projection import RawSpec
from cogito_ray.nn.token_stages.token_stage_interface import Tokens, TokenStage


class EncoderSpec(Spec):
    """Blocks, and what happens to tokens before them."""

    block: BlockSpec = CrossSpec()
    tokens: TokenStageSpec = RawSpec()
    """What happens to tokens before concepts read them."""
    depth: PositiveInt = 2
    """Blocks applied, one after another."""
    tied: bool = False
    """One block applied `depth` times (Universal Transformer, arXiv:1807.03819), with one block's parameters. Such an
    encoder can be applied more often than in training: `Encoder.set_depth`."""

    def blocks(self, sizes: Sizes) -> list[Block]:
        """With random weights: one where tied, else `depth`. The last is built as such, because some kinds leave out
        there what nobody would read."""
        if self.tied:
            return [self.block.build(sizes, last=self.depth == 1)]
        return [self.block.build(sizes, last=step == self.depth - 1) for step in range(self.depth)]


class Encoder(nn.Module):
    """Latents read the tokens of a row, block by block, and become its concepts."""

    def __init__(
        self,
        embedding: Embedding,
        stage: TokenStage,
        latents: Latents,
        *,
        blocks: list[Block],
        depth: int,
        width: int,
    ):
        super().__init__()
        self.embedding, self.stage, self.latents = embedding, stage, latents
        self.blocks = nn.ModuleList(blocks)
        self.depth = depth
        self.reads_contents = any(getattr(block, "reads_contents", False) for block in blocks)
        self.activation_checkpointing = False           # set where it is trained: see TrainingSpec
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def set_depth(self, depth: int) -> None:
        """Apply the one block of a tied encoder `depth` times from now on (test-time compute).

        ValueError for an encoder whose blocks are not tied.
        """
        if len(self.blocks) > 1:
            raise ValueError(f"only a tied encoder can be iterated; this one has {len(self.blocks)} blocks of its own")
        self.depth = depth

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        visible: Tensor | None,
        starts: Tensor | None = None,
        all_layers: bool = False,
    ) -> Tensor | list[Tensor]:
        """ids, positions, visible (B, K) -> concepts (B, C, D); with `all_layers`, what `every_layer` says.

        visible None = every token is: then no attention has a mask, and torch may take kernels that know none (flash).
        starts (B, N), where the document at each place of a row begins: what stands in one document then reads nothing
        else. None = rows are read whole.
        """
        *earlier, concepts = self._steps(ids, positions, visible, starts)
        concepts = self.norm(concepts)
        return [*earlier, concepts] if all_layers else concepts

    def every_layer(
        self, ids: Tensor, positions: Tensor, visible: Tensor | None, starts: Tensor | None = None
    ) -> list[Tensor]:
        """-> (B, C, D) after each applied block; the last one is normed, equal to `forward`'s."""
        layers: list[Tensor] = self(ids, positions, visible, starts, True)   # the module is called: it may be compiled
        return layers

    @torch.no_grad()
    def attention_weights(
        self, ids: Tensor, positions: Tensor, visible: Tensor | None, starts: Tensor | None = None
    ) -> tuple[Tokens, list[Tensor]]:
        """ids, positions, visible (B, K), starts (B, N) as of `forward` -> the tokens that concepts read, and how much
        of each token each concept reads in each applied block: (B, H, C, K'), 1 in all over tokens. K' < K where a
        token stage pools."""
        read, concepts, context = self._before_blocks(ids, positions, visible, starts)
        tokens, weights = read.vectors, []
        for block in self._applied():
            weights.append(block.attention_weights(concepts, tokens, context))
            concepts, updated = block(concepts, tokens, context)
            tokens = tokens if updated is None else updated
        return read, weights

    def _steps(
        self, ids: Tensor, positions: Tensor, visible: Tensor | None, starts: Tensor | None
    ) -> Iterator[Tensor]:
        read, concepts, context = self._before_blocks(ids, positions, visible, starts)
        tokens = read.vectors                                              # (B, K, T)
        for block in self._applied():
            concepts, tokens = self._through(block, concepts, tokens, context)
            yield concepts

    def _through(self, block: Block, concepts: Tensor, tokens: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        if self.activation_checkpointing and torch.is_grad_enabled():
            read = checkpoint(lambda c, t: block(c, t, context), concepts, tokens, use_reentrant=False)
        else:
            read = block(concepts, tokens, context)
        concepts, updated = read
        return concepts, tokens if updated is None else updated

    def _before_blocks(
        self, ids: Tensor, positions: Tensor, visible: Tensor | None, starts: Tensor | None
    ) -> tuple[Tokens, Tensor, BlockContext]:
        of_tokens = None if starts is None else starts.gather(1, positions)                # (B, K)
        places = positions if of_tokens is None else positions - of_tokens
        read = self.stage(ids, Tokens(self.embedding(ids, places), places, visible, of_tokens))
        contents = self.embedding.drop(self.embedding.contents(ids)) if self.reads_contents else None
        concepts, context = self.latents(read), self._context(read, contents)          # (B, C, D)
        if starts is not None:
            concepts, context = self._within_documents(concepts, context, read, starts)
        return read, concepts, context

    def _applied(self) -> list[Block]:
        return [cast(Block, self.blocks[step % len(self.blocks)]) for step in range(self.depth)]

    def _context(self, read: Tokens, contents: Tensor | None) -> BlockContext:
        positions, latents = self.embedding.positions, self.latents
        return BlockContext(
            visible=read.visible,
            contents=contents,
            token_rotary=positions.rotary(read.positions),
            concept_rotary=None if latents.centres is None else positions.rotary_at(latents.centres),
            latent_rotary=None if latents.indices is None else Rotary(latents.indices),
            latent_contextual=latents.contextual,
        )

    def _within_documents(
        self, concepts: Tensor, context: BlockContext, read: Tokens, starts: Tensor
    ) -> tuple[Tensor, BlockContext]:
        """A concept stands in the document that holds the middle of its segment; its code says how far from the
        document's beginning, and what it has learned beside its code moves along."""
        centres, positions = self.latents.centres, self.embedding.positions
        assert centres is not None
        assert read.starts is not None
        of_concepts = places_of(starts, centres)                           # (B, C)
        places, width = centres - of_concepts, concepts.shape[-1]          # (B, C) in tokens of the document
        codes = positions.code(places.flatten(), width).view_as(concepts)  # (B, C, D)
        shift = torch.where(of_concepts[..., None] > 0, codes - positions.code(centres, width), 0.0)
        moved = concepts + shift.to(concepts.dtype)
        own = same(of_concepts, read.starts)                               # (B, C, K)
        return moved, replace(
            context,
            visible=own if read.visible is None else own & read.visible[:, None],
            concept_rotary=positions.rotary_at(places),
            concepts_of_tokens=own.mT,
            concepts_of_concepts=same(of_concepts, of_concepts),
        )

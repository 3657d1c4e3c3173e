"""Tokens in, concepts out: an embedding, a stack of blocks, a final norm."""

from collections.abc import Iterator

from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.blocks.base import Block, Scene, Sizes
from cogito_ray.nn.blocks.cross import CrossSpec
from cogito_ray.nn.embedding import Embedding
from cogito_ray.nn.start import ConceptStart
from cogito_ray.spec import Spec


class EncoderSpec(Spec):
    block: BlockSpec = CrossSpec()
    depth: PositiveInt = 4
    """Blocks applied, one after another."""
    tied: bool = False
    """One block applied `depth` times (arXiv:1807.03819), with one block's parameters."""

    def blocks(self, sizes: Sizes) -> list[Block]:
        if self.tied:
            return [self.block.build(sizes, last=self.depth == 1)]
        return [self.block.build(sizes, last=step == self.depth - 1) for step in range(self.depth)]


class Encoder(nn.Module):
    def __init__(self, embedding: Embedding, start: ConceptStart, *, blocks: list[Block], depth: int, width: int):
        super().__init__()
        self.embedding, self.start = embedding, start
        self.blocks = nn.ModuleList(blocks)
        self.depth = depth
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, ids: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """ids, positions, visible (B, K) -> concepts (B, C, D)."""
        *_, concepts = self._steps(ids, positions, visible)
        return self.norm(concepts)

    def every_layer(self, ids: Tensor, positions: Tensor, visible: Tensor) -> list[Tensor]:
        """-> (B, C, D) after each applied block; the last one is normed, equal to `forward`'s."""
        *earlier, concepts = self._steps(ids, positions, visible)
        return [*earlier, self.norm(concepts)]

    def _steps(self, ids: Tensor, positions: Tensor, visible: Tensor) -> Iterator[Tensor]:
        tokens = self.embedding(ids, positions)                            # (B, K, T)
        concepts = self.start(len(ids))                                    # (B, C, D)
        scene = Scene(visible)
        for step in range(self.depth):
            concepts, tokens = self.blocks[step % len(self.blocks)](concepts, tokens, scene)
            yield concepts

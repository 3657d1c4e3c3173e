"""What every decoder is given and what it must offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from cogito_ray.nn.blocks.block_interface import LookupInit
from cogito_ray.nn.token_embedding import Embedding


@dataclass(frozen=True)
class DecoderContext:
    """What decoders are built from."""

    embedding: Embedding
    """The encoder's. A decoder reads it but does not own it."""
    length: int
    """N, tokens of a row."""
    concepts: int
    """C"""
    centres: Tensor | None
    """(C,) where concepts stand among the tokens of a row, if anywhere."""
    width: int
    """D"""
    heads: int
    hidden: int
    """Width inside the feed-forward layers."""


class Decoder(nn.Module, ABC):
    """Concepts in, one hidden vector per asked position out; `VocabularyHead` makes token scores of them.

    A decoder's Spec says, as class variables, which fields of a `View` it `needs`, and whether it `respects_documents`:
    that a position reads the concepts of its own document alone.
    """

    reads_rows: ClassVar[bool] = False
    """Are `query_ids` the whole row (B, N), with what is hidden masked, instead of the words at the positions?"""
    reads_noise: ClassVar[bool] = False
    """Is it told which share of a row is masked, so that it can fill a row step by step?"""

    @abstractmethod
    def forward(
        self,
        concepts: Tensor,
        positions: Tensor,
        query_ids: Tensor | None,
        noise: Tensor | None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """concepts (B, C, D), positions (B, M), query_ids (B, M), noise (B,), starts (B, N), where the document at each
        place of a row begins, None = rows are read whole -> hidden (B, M, D)."""

    @abstractmethod
    def attentions_to_init(self) -> list[LookupInit]:
        """The attentions by which positions read concepts, for latents that initialise them as look-ups."""

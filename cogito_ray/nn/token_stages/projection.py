"""Tokens as the embedding made them, or projected to the width of concepts."""

from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import init_identity
from cogito_ray.nn.token_stages.token_stage_interface import Tokens, TokenStage


class RawSpec(Spec):
    """Thin tokens stay thin: keys and values are projected straight from their width."""

    kind: Literal["raw"] = "raw"
    tokens_attend: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = True

    def width_out(self, token_width: int, width: int) -> int:
        """Width of the tokens that concepts read, from the token width (T) and that of concepts (D)."""
        return token_width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Raw":
        """Nothing to build: no parameters."""
        return Raw()


class Raw(TokenStage):
    """Hands tokens on as they are."""

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        return tokens


class ProjectedSpec(Spec):
    """Every token becomes as wide as a concept, once, before the first block."""

    kind: Literal["projected"] = "projected"
    tokens_attend: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = True

    def width_out(self, token_width: int, width: int) -> int:
        """Width of the tokens that concepts read, from the token width (T) and that of concepts (D)."""
        return width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Projected":
        """A projection that starts as a copy of the coordinates that both widths have."""
        return Projected(token_width, width)


class Projected(TokenStage):
    """Token vectors (B, K, T) -> (B, K, D)."""

    def __init__(self, token_width: int, width: int):
        super().__init__()
        self.widen = init_identity(nn.Linear(token_width, width))

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        return replace(tokens, vectors=self.widen(tokens.vectors))

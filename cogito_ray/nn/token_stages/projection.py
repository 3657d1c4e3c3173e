"""Tokens as the embedding made them, or projected to the width of concepts."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import same_start
from cogito_ray.nn.token_stages.base import Tokens, TokenStage


class RawSpec(Spec):
    """Thin tokens stay thin: keys and values are projected straight from their width."""

    kind: Literal["raw"] = "raw"
    tokens_attend: ClassVar[bool] = False

    def width_out(self, token_width: int, width: int) -> int:
        return token_width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Raw":
        return Raw()


class Raw(TokenStage):
    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        return tokens


class ProjectedSpec(Spec):
    """Every token becomes as wide as a concept, once, before the first block."""

    kind: Literal["projected"] = "projected"
    tokens_attend: ClassVar[bool] = False

    def width_out(self, token_width: int, width: int) -> int:
        return width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Projected":
        return Projected(token_width, width)


class Projected(TokenStage):
    def __init__(self, token_width: int, width: int):
        super().__init__()
        self.widen = same_start(nn.Linear(token_width, width))

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        return Tokens(self.widen(tokens.vectors), tokens.places, tokens.visible)

"""Token vectors: an embedding table plus positions."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.position_encodings import Positions, PositionsSpec, SinusoidalPositionsSpec


class EmbeddingSpec(Spec):
    """How token ids and positions become the vectors that concepts read."""

    scaled: bool = True
    """Multiplies token vectors by the square root of their width (arXiv:1706.03762), so that a table tied to the
    vocabulary head serves both ends."""
    positions: PositionsSpec = SinusoidalPositionsSpec()
    frequency_weight: PositiveFloat | None = None
    """a of the weight a / (a + frequency) that each token's vector is multiplied with where concepts read it (smooth
    inverse frequency, https://openreview.net/forum?id=SyK00v5xx, where it is 1e-3); null = 1 for all."""

    def build(self, vocabulary_size: int, length: int, width: PositiveInt, log_unigram: Tensor | None) -> "Embedding":
        """A random table (V, T) and positions for rows of `length` tokens. log_unigram (V,): log frequency of each
        token; None = unknown until a checkpoint is loaded, all equal."""
        weights = None
        if self.frequency_weight is not None:
            frequency = torch.zeros(vocabulary_size) if log_unigram is None else log_unigram.exp()
            weights = self.frequency_weight / (self.frequency_weight + frequency)
        token, positions = nn.Embedding(vocabulary_size, width), self.positions.build(length, width)
        return Embedding(token, positions, self.scaled, weights)


class Embedding(nn.Module):
    """Token table plus positions. Scaled vectors start with a deviation of 0.5, near that of position codes (0.7), so
    that neither drowns the other; unscaled ones with BERT's 0.02."""

    weights: Tensor | None

    def __init__(self, token: nn.Embedding, positions: Positions, scaled: bool, weights: Tensor | None = None):
        """weights (V,): of each token where concepts read it; None = 1."""
        super().__init__()
        self.token, self.positions = token, positions
        self.register_buffer("weights", weights)
        self.scale = token.embedding_dim**0.5 if scaled else 1.0
        self.dropout = 0.0
        nn.init.normal_(token.weight, std=0.5 / self.scale if scaled else 0.02)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """ids, positions (B, K) -> (B, K, T)."""
        return self.drop(self.contents(ids) + self.positions(positions))

    def drop(self, vectors: Tensor) -> Tensor:
        """Vectors of tokens (B, K, T), of which training leaves a share out."""
        return F.dropout(vectors, self.dropout, self.training) if self.dropout else vectors

    def contents(self, ids: Tensor) -> Tensor:
        """ids (B, K) -> (B, K, T), weighed, without positions."""
        tokens = self.tokens(ids)
        return tokens if self.weights is None else tokens * self.weights[ids][..., None]

    def tokens(self, ids: Tensor) -> Tensor:
        """ids (B, K) -> (B, K, T), neither weighed nor with positions."""
        compiled = torch.compiler.is_compiling() and ids.is_cuda
        vectors: Tensor = compiled_lookup(self.token.weight, ids) if compiled else self.token(ids)
        return vectors * self.scale


@torch.library.custom_op("cogito_ray::lookup", mutates_args=())
def compiled_lookup(table: Tensor, ids: Tensor) -> Tensor:
    """table (V, T), ids (...) -> (..., T), as F.embedding, whose gradient the compiler would turn into a scattered sum:
    without atomic additions that takes an id's places one by one, and every seventh place may be the mask's."""
    return F.embedding(ids, table)


@torch.library.custom_op("cogito_ray::lookup_backward", mutates_args=())
def _lookup_backward(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    return torch.ops.aten.embedding_dense_backward(gradient, ids, rows, -1, False)


@compiled_lookup.register_fake
def _(table: Tensor, ids: Tensor) -> Tensor:
    return table.new_empty((*ids.shape, table.shape[1]))


@_lookup_backward.register_fake
def _(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    return gradient.new_empty((rows, gradient.shape[-1]))


def _keep_ids(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.rows = len(inputs[0])
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return _lookup_backward(gradient.contiguous(), *ctx.saved_tensors, ctx.rows), None


compiled_lookup.register_autograd(_backward, setup_context=_keep_ids)

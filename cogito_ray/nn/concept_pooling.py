"""Pooling: from the concepts of a text to one vector; and classifiers, from vectors to labels.

Concepts are pooled without regard to their order. Pairs of texts are encoded apart and compared as in InferSent
(arXiv:1705.02364).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import Attention, heads_of
from cogito_ray.nn.decoders.decoder_interface import Decoder


class EncoderInput(NamedTuple):
    """The arguments of an encoder, for a batch of clean texts."""

    ids: Tensor
    """(B, K)"""
    positions: Tensor
    """(B, K)"""
    visible: Tensor
    """(B, K) bool, False = padding."""


class PooledModel(Protocol):
    """What is asked of a model: ours, or others' (nn.interop.pooled_transformer)."""

    @property
    def encoder(self) -> Callable[..., Tensor]:
        """An `EncoderInput` -> concepts (B, C, D)."""
        ...

    @property
    def decoder(self) -> Decoder | None:
        """If it has one."""
        ...


class Pool(nn.Module, ABC):
    """One vector per text from a model, by its concepts."""

    width: int
    """Of the vector it makes."""

    @abstractmethod
    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        """-> one vector per text (B, width)."""


class MeanPoolSpec(Spec):
    """The plain mean of the concepts; nothing to train."""

    kind: Literal["mean"] = "mean"

    def build(self, width: int, heads: int) -> "MeanPool":
        """For concepts of this width (D)."""
        return MeanPool(width)


class MeanPool(Pool):
    """(B, C, D) -> (B, D), the mean over concepts."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        return model.encoder(*text).mean(dim=1)


class AttentionPoolSpec(Spec):
    """A learned weighting of the concepts (arXiv:1703.03130), then a norm."""

    kind: Literal["attention"] = "attention"
    temperature: PositiveFloat = 1.0
    """Divides the scores; as it grows the result nears the plain mean."""

    def build(self, width: int, heads: int) -> "AttentionPool":
        """For concepts of this width (D)."""
        return AttentionPool(width, self.temperature)


class AttentionPool(Pool):
    """(B, C, D) -> (B, D), the mean weighed by a softmax over one linear score per concept."""

    def __init__(self, width: int, temperature: float):
        super().__init__()
        self.width, self.temperature = width, temperature
        self.norm, self.score = nn.LayerNorm(width), nn.Linear(width, 1, bias=False)

    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        return self.pooled(model.encoder(*text))

    def pooled(self, concepts: Tensor) -> Tensor:
        """concepts (B, C, D) -> (B, D)."""
        weights = (self.score(concepts) / self.temperature).softmax(dim=1)     # (B, C, 1), sum to 1 over concepts
        return self.norm((weights * concepts).sum(dim=1))


class QueryPoolSpec(Spec):
    """Learned queries read the concepts (Set Transformer's pooling, arXiv:1810.00825); with several, their answers
    stand side by side, or are averaged."""

    kind: Literal["queries"] = "queries"
    queries: PositiveInt = 1
    averaged: bool = False
    """The mean of the answers instead of all."""

    def build(self, width: int, heads: int) -> "QueryPool":
        """For concepts of this width (D), read by so many heads."""
        return QueryPool(width, heads, self.queries, self.averaged)


class QueryPool(Pool):
    """(B, C, D) -> (B, Q D), what Q learned queries attend to, or (B, D), the mean of that."""

    def __init__(self, width: int, heads: int, queries: int, averaged: bool):
        super().__init__()
        self.width, self.heads, self.averaged = width if averaged else width * queries, heads, averaged
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)
        self.key_value, self.out = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, width)

    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        concepts = self.norm(model.encoder(*text))                         # (B, C, D)
        key, value = (heads_of(part, self.heads) for part in self.key_value(concepts).chunk(2, dim=-1))
        query = heads_of(self.queries.expand(len(concepts), -1, -1), self.heads)
        read = F.scaled_dot_product_attention(query, key, value)           # (B, H, Q, D/H)
        answers = self.out(read.transpose(1, 2).flatten(2))                # (B, Q, D)
        return answers.mean(dim=1) if self.averaged else answers.flatten(1)


class SelfAttentionPoolSpec(Spec):
    """Concepts read one another once more, then the mean."""

    kind: Literal["self_attention"] = "self_attention"

    def build(self, width: int, heads: int) -> "SelfAttentionPool":
        """For concepts of this width (D), with so many heads."""
        return SelfAttentionPool(width, heads)


class SelfAttentionPool(Pool):
    """(B, C, D) -> (B, D), the mean over concepts after a residual self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.width, self.norm, self.attention = width, nn.LayerNorm(width), Attention(width, width, heads)

    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        concepts = model.encoder(*text)                                    # (B, C, D)
        normed = self.norm(concepts)
        return (concepts + self.attention(normed, normed)).mean(dim=1)


class ViaDecoderPoolSpec(Spec):
    """Decode every position and average the real ones, normed: the decoder's knowledge serves the task too."""

    kind: Literal["via_decoder"] = "via_decoder"

    def build(self, width: int, heads: int) -> "ViaDecoderPool":
        """For hidden vectors of this width (D)."""
        return ViaDecoderPool(width)


class ViaDecoderPool(Pool):
    """(B, C, D) -> (B, D), the mean of the decoder's hidden vectors at real positions. ValueError without a decoder."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width)

    def forward(self, model: PooledModel, text: EncoderInput) -> Tensor:
        if model.decoder is None:
            raise ValueError("pool 'via_decoder' needs a model with a decoder; use another pool")
        noise = torch.zeros(len(text.ids), device=text.ids.device)         # nothing is masked
        hidden = self.norm(model.decoder(model.encoder(*text), text.positions, text.ids, noise))   # (B, K, D)
        weights = text.visible / text.visible.sum(dim=1, keepdim=True)     # (B, K)
        return (weights[..., None] * hidden).sum(dim=1)


PoolSpec = Annotated[
    MeanPoolSpec | AttentionPoolSpec | QueryPoolSpec | SelfAttentionPoolSpec | ViaDecoderPoolSpec,
    Field(discriminator="kind"),
]


class Classifier(nn.Module):
    """Labels of single texts; with one label, a score."""

    def __init__(self, model: PooledModel, pool: Pool, labels: int, dropout: float = 0.0):
        super().__init__()
        self.model, self.pool, self.classify = model, pool, nn.Linear(pool.width, labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: EncoderInput) -> Tensor:
        """-> logits (B, labels)."""
        return self.classify(self.dropout(self.pool(self.model, text)))


class PairClassifier(nn.Module):
    """Labels of pairs, each text encoded alone: [a; b; |a - b|; a b]."""

    def __init__(self, model: PooledModel, pool: Pool, labels: int, dropout: float = 0.0):
        super().__init__()
        self.model, self.pool, self.classify = model, pool, nn.Linear(4 * pool.width, labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, one: EncoderInput, two: EncoderInput) -> Tensor:
        """-> logits (B, labels)."""
        a, b = self.pool(self.model, one), self.pool(self.model, two)      # (B, width)
        return self.classify(self.dropout(torch.cat([a, b, (a - b).abs(), a * b], dim=-1)))

    def similarity(self, one: EncoderInput, two: EncoderInput) -> Tensor:
        """Cosine (B,) of the two vectors: zero-shot, for it asks nothing of the classifier."""
        return F.cosine_similarity(self.pool(self.model, one), self.pool(self.model, two))


class CosineClassifier(PairClassifier):
    """Labels of pairs by the cosine of their vectors alone, as Sentence-BERT is trained (arXiv:1908.10084)."""

    def __init__(self, model: PooledModel, pool: Pool, labels: int, dropout: float = 0.0):
        super().__init__(model, pool, labels, dropout)
        self.classify = nn.Linear(1, labels)
        nn.init.constant_(self.classify.weight, 2.0 if labels == 1 else 0.0)   # grades grow with it; classes may not

    def forward(self, one: EncoderInput, two: EncoderInput) -> Tensor:
        """-> logits (B, labels)."""
        return self.classify(self.similarity(one, two)[:, None])

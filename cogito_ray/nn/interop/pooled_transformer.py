"""Any Hugging Face encoder as a model of one concept: a text's pooled token vectors (Sentence-BERT, arXiv:1908.10084).

Whatever asks our models for concepts can then ask it, too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cogito_ray.nn.model import ConceptModel


def _mean(hidden: Tensor, visible: Tensor) -> Tensor:
    weights = visible[..., None].to(hidden.dtype)                           # (B, K, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _max(hidden: Tensor, visible: Tensor) -> Tensor:
    return hidden.masked_fill(~visible[..., None], -torch.inf).amax(dim=1)


def _last(hidden: Tensor, visible: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), visible.sum(dim=1) - 1]


TOKEN_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "cls": lambda hidden, _: hidden[:, 0],
    "max": _max,
    "lasttoken": _last,
}
"""Token vectors (B, K, D) and which are real (B, K), padding last -> (B, D); named as sentence-transformers does."""


class PooledTransformer(nn.Module):
    """A transformer in the place of a `ConceptModel` without a decoder; its encoder gives one concept."""

    decoder = None

    def __init__(self, backbone: Any, pooling: str, separator: int | None):
        """`separator`: the token between two texts in a row, after which they are of the second segment."""
        super().__init__()
        self.width, self.heads = backbone.config.hidden_size, backbone.config.num_attention_heads
        self.encoder = _PooledEncoder(backbone, pooling, separator)

    @property
    def token_table(self) -> Tensor:
        """(V, T), what each word is before any layer read it."""
        table: Tensor = self.encoder.backbone.get_input_embeddings().weight
        return table

    def set_depth(self, depth: int) -> None:
        """ValueError: its layers are its own."""
        raise ValueError("only a tied encoder can be iterated, and a transformer's layers are its own")

    def resize(self, length: int) -> None:
        """ValueError where it has no positions for so many tokens."""
        if length > (longest := getattr(self.encoder.backbone.config, "max_position_embeddings", length)):
            raise ValueError(f"this transformer reads {longest} tokens, and not {length}; leave length out")

    def document_starts(self, ids: Tensor) -> None:
        """Rows are read whole."""


class _PooledEncoder(nn.Module):
    def __init__(self, backbone: Any, pooling: str, separator: int | None):
        super().__init__()
        segments = getattr(backbone.config, "type_vocab_size", None) or 1
        self.backbone, self.pool = backbone, TOKEN_POOLINGS[pooling]
        self.separator = separator if segments > 1 else None

    def forward(self, ids: Tensor, positions: Tensor, visible: Tensor, starts: Tensor | None = None) -> Tensor:
        """ids, visible (B, K) -> (B, 1, D). The transformer counts positions by itself."""
        known = ids.masked_fill(~visible, 0)        # the id of padding may be beyond its table
        segments = {}
        if self.separator is not None:
            ends = (ids == self.separator).long()
            segments = {"token_type_ids": (ends.cumsum(dim=1) - ends).clamp(max=1)}
        hidden = self.backbone(input_ids=known, attention_mask=visible.long(), **segments).last_hidden_state
        return self.pool(hidden, visible)[:, None]


TextModel = ConceptModel | PooledTransformer
"""What labelled tasks can be put to."""

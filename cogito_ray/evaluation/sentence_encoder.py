"""Texts in, one vector per text out: what labelled tasks ask of a frozen encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cogito_ray.evaluation.frozen_concepts import ROWS_AT_ONCE, encode, token_means
from cogito_ray.nn.model import ConceptModel
from cogito_ray.text.tokenizer import TextTokenizer

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda concepts: concepts.mean(dim=1),                          # (n, D)
    "max": lambda concepts: concepts.amax(dim=1),                           # (n, D)
    "all": lambda concepts: concepts.flatten(1),                            # (n, C * D)
}
"""Concepts (n, C, D) -> one vector per text. `all` keeps every concept at its own place."""


@dataclass(frozen=True)
class SentenceEncoder:
    """A frozen encoder and its tokenizer. Each text is a row of its own, cut at the row length of training."""

    model: ConceptModel
    tokenizer: TextTokenizer
    length: int

    def ids(self, texts: Sequence[str]) -> Tensor:
        """-> (n, K) token ids, padded to the longest. A text without a token reads as a separator."""
        facts = self.tokenizer.vocabulary
        encoded = self.tokenizer.encode(texts)
        rows = [torch.tensor(row[: self.length].astype(np.int64)) for row in encoded]
        rows = [row if len(row) else torch.tensor([facts.separator_id]) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=facts.pad_id)

    def truncated(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) Which of them are longer than a row, so that their end is not read."""
        return np.array([len(row) > self.length for row in self.tokenizer.encode(texts)], dtype=np.bool_)

    def poolings(self, texts: Sequence[str], names: Sequence[str]) -> dict[str, Vectors]:
        """Vectors (n, ...) of the texts' concepts, pooled in each of these ways; concepts are computed once."""

        def pooled(ids: Tensor, pad_id: int) -> list[Tensor]:
            concepts = encode(self.model, ids, pad_id)                      # (n, C, D)
            return [POOLINGS[name](concepts) for name in names]

        return dict(zip(names, self._by_length(texts, pooled), strict=True))

    def pooled(self, texts: Sequence[str], pooling: str) -> Vectors:
        """Vectors (n, ...) of the texts' concepts, pooled in this way."""
        return self.poolings(texts, [pooling])[pooling]

    def token_means(self, texts: Sequence[str], weights: Tensor | None = None) -> Vectors:
        """Vectors (n, T): the mean of each text's token vectors, which no concept read, each weighed by its token's of
        weights (V,)."""
        return self._by_length(texts, lambda ids, pad_id: [token_means(self.model, ids, pad_id, weights)])[0]

    def inverse_frequencies(self, texts: Sequence[str]) -> Tensor:
        """(V,) weight a / (a + frequency in these texts) of each token, at a = 1e-3 (smooth inverse frequency,
        https://openreview.net/forum?id=SyK00v5xx)."""
        facts, ids = self.tokenizer.vocabulary, self.ids(texts)
        counts = torch.bincount(ids[ids != facts.pad_id], minlength=facts.size)
        return 1e-3 / (1e-3 + counts / counts.sum())

    def _by_length(self, texts: Sequence[str], vectors_of: Callable[[Tensor, int], list[Tensor]]) -> list[Vectors]:
        """Texts of like length together, so that little is spent on padding."""
        ids, pad = self.ids(texts), self.tokenizer.vocabulary.pad_id
        counts = (ids != pad).sum(dim=1)
        order = counts.argsort(stable=True)
        parts = [vectors_of(ids[rows, : int(counts[rows].max())], pad) for rows in order.split(ROWS_AT_ONCE)]
        return [torch.cat(part)[order.argsort()].numpy() for part in zip(*parts, strict=True)]

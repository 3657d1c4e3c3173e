"""Texts in, one vector per text out: what labelled tasks ask of a frozen encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cogito_ray.evaluation.encode import ROWS_AT_ONCE, encode, token_means
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
class TextReader:
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

    def pooled(self, texts: Sequence[str], pooling: str) -> Vectors:
        """Vectors (n, ...) of the texts' pooled concepts."""
        return self._by_length(texts, lambda ids, pad: POOLINGS[pooling](encode(self.model, ids, pad)))

    def token_means(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, T): the mean of each text's token vectors, which no concept read."""
        return self._by_length(texts, lambda ids, pad: token_means(self.model, ids, pad))

    def _by_length(self, texts: Sequence[str], vectors_of: Callable[[Tensor, int], Tensor]) -> Vectors:
        """Texts of like length together, so that little is spent on padding."""
        ids, pad = self.ids(texts), self.tokenizer.vocabulary.pad_id
        counts = (ids != pad).sum(dim=1)
        order = counts.argsort(stable=True)
        parts = [vectors_of(ids[rows, : int(counts[rows].max())], pad) for rows in order.split(ROWS_AT_ONCE)]
        vectors: Vectors = torch.cat(parts)[order.argsort()].numpy()
        return vectors

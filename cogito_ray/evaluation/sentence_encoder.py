"""Texts in, one vector per text out: what labelled tasks ask of a frozen encoder."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cogito_ray.evaluation.frozen_concepts import ROWS_AT_ONCE, encode, token_means
from cogito_ray.nn.interop.pooled_transformer import TextModel
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
class SpecialTokens:
    """Ids that a model was trained to find around texts; ours finds none."""

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    """Two texts that share a row; none: the separator."""
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class SentenceEncoder:
    """A frozen encoder and its tokenizer. Each text is a row of its own, cut at the row length of training."""

    model: TextModel
    tokenizer: TextTokenizer
    length: int
    special: SpecialTokens = SpecialTokens()

    @property
    def room(self) -> int:
        """Tokens of a text that are read at most."""
        return self.length - len(self.special.before) - len(self.special.after)

    def row(self, tokens: NDArray[np.integer]) -> Tensor:
        """(K,) Tokens of a text, at most `room`, between what stands around texts; of none, a separator."""
        ids = tokens if len(tokens) else [self.tokenizer.vocabulary.separator_id]
        return torch.tensor([*self.special.before, *map(int, ids), *self.special.after])

    def ids(self, texts: Sequence[str]) -> Tensor:
        """-> (n, K) token ids, padded to the longest. A text without a token reads as a separator."""
        return self.padded([self.row(tokens[: self.room]) for tokens in self.tokenizer.encode(texts)])

    def pair_ids(self, one: Sequence[str], two: Sequence[str]) -> Tensor:
        """-> (n, K) token ids of two texts in a row, the longer one cut first, as BERT does (arXiv:1810.04805)."""
        between = self.special.between or (self.tokenizer.vocabulary.separator_id,)
        rows, room = [], self.room - len(between)
        for a, b in zip(self.tokenizer.encode(one), self.tokenizer.encode(two), strict=True):
            kept = min(len(a), max(room - len(b), (room + 1) // 2))
            rows.append(self.row(np.concatenate([a[:kept], between, b[: room - kept]])))
        return self.padded(rows)

    def padded(self, rows: list[Tensor]) -> Tensor:
        """Rows (K,) of any lengths -> (n, K)."""
        return torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.tokenizer.vocabulary.pad_id
        )

    def truncated(self, *sides: Sequence[str], together: bool = False) -> NDArray[np.bool_]:
        """(n,) Which examples have a text that is longer than what is read of it, alone or in one row."""
        lengths = np.array([[len(row) for row in self.tokenizer.encode(texts)] for texts in sides])     # (sides, n)
        if together:
            between = len(self.special.between) or 1
            return np.asarray(lengths.sum(axis=0) + between * (len(sides) - 1) > self.room)
        return np.asarray((lengths > self.room).any(axis=0))

    def as_asked(self, iterations: int | None, length: int | None) -> Self:
        """A copy that applies a tied encoder's block so often, and reads so many tokens of a row; None: as it does.

        ValueError where it cannot.
        """
        if iterations is None and length is None:
            return self
        model = copy.deepcopy(self.model)
        if iterations is not None:
            model.set_depth(iterations)
        if length is not None:
            model.resize(length)
        return replace(self, model=model, length=length or self.length)

    @property
    def pooling_names(self) -> list[str]:
        """Those that differ: of one concept all are the same."""
        return list(POOLINGS) if isinstance(self.model, ConceptModel) else ["mean"]

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
        bare = replace(self, special=SpecialTokens())
        return bare._by_length(texts, lambda ids, pad_id: [token_means(self.model, ids, pad_id, weights)])[0]

    def inverse_frequencies(self, texts: Sequence[str]) -> Tensor:
        """(V,) weight a / (a + frequency in these texts) of each token, at a = 1e-3 (smooth inverse frequency,
        https://openreview.net/forum?id=SyK00v5xx)."""
        facts, ids = self.tokenizer.vocabulary, replace(self, special=SpecialTokens()).ids(texts)
        counts = torch.bincount(ids[ids != facts.pad_id], minlength=facts.size)
        return 1e-3 / (1e-3 + counts / counts.sum())

    def _by_length(self, texts: Sequence[str], vectors_of: Callable[[Tensor, int], list[Tensor]]) -> list[Vectors]:
        """Texts of like length together, so that little is spent on padding."""
        ids, pad = self.ids(texts), self.tokenizer.vocabulary.pad_id
        counts = (ids != pad).sum(dim=1)
        order = counts.argsort(stable=True)
        parts = [vectors_of(ids[rows, : int(counts[rows].max())], pad) for rows in order.split(ROWS_AT_ONCE)]
        return [torch.cat(part)[order.argsort()].numpy() for part in zip(*parts, strict=True)]

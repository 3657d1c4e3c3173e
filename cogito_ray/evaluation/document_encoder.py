"""One vector per document, however long: of its windows as long as the rows of training, or of the whole at once."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cogito_ray.evaluation.frozen_concepts import encode, token_means
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder, SpecialTokens
from cogito_ray.nn.model import ConceptModel

Vectors = NDArray[np.float32]
Floats = NDArray[np.floating]
LONGEST = 16_384
"""Tokens of a document that are read; what follows is not."""


@dataclass(frozen=True)
class DocumentWindows:
    """Mean concepts of every window of some documents, one document after another."""

    vectors: Vectors
    """(W, D)"""
    document: NDArray[np.int64]
    """(W,) the document of each window."""
    documents: int

    def mean(self) -> Vectors:
        """The mean of each document's windows: (documents, D)."""
        sums = np.zeros((self.documents, self.vectors.shape[1]))
        np.add.at(sums, self.document, self.vectors)
        return np.asarray(sums / np.bincount(self.document, minlength=self.documents)[:, None], dtype=np.float32)


def encode_windows(encoder: SentenceEncoder, documents: Sequence[str]) -> DocumentWindows:
    """Of each window, the mean of the concepts that the encoder makes of it."""
    ids, document = _cut(encoder, documents)
    concepts = [encode(encoder.model, part, _pad(encoder)).mean(dim=1) for part in ids.split(256)]
    return DocumentWindows(torch.cat(concepts).numpy(), document, len(documents))


def encode_token_windows(encoder: SentenceEncoder, documents: Sequence[str]) -> DocumentWindows:
    """Of each window, the mean of the model's own token vectors, which no concept read: a baseline."""
    ids, document = _cut(replace(encoder, special=SpecialTokens()), documents)
    means = [token_means(encoder.model, part, _pad(encoder)) for part in ids.split(256)]
    return DocumentWindows(torch.cat(means).numpy(), document, len(documents))


def truncated(encoder: SentenceEncoder, documents: Sequence[str]) -> NDArray[np.bool_]:
    """(documents,) Which of them are longer than what is read of a document."""
    return np.array([len(tokens) > LONGEST for tokens in encoder.tokenizer.encode(documents)], dtype=np.bool_)


def encode_whole(encoder: SentenceEncoder, documents: Sequence[str]) -> Vectors:
    """(documents, D) mean concepts of whole documents, for a `ConceptModel` alone: positions are squeezed into the
    trained range."""
    found = []
    for tokens in encoder.tokenizer.encode(documents):
        ids = encoder.row(tokens[:LONGEST])
        resized = copy.deepcopy(encoder.model)                             # a learned table would not come back
        assert isinstance(resized, ConceptModel)
        resized.resize(max(len(ids), encoder.length))
        found.append(encode(resized, ids[None], _pad(encoder)).mean(dim=1))
    return torch.cat(found).numpy()


def cosines(one: Floats, two: Floats) -> Floats:
    """(n, D) and (m, D) -> (n, m); 0 where a vector is 0."""
    unit = [vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30) for vectors in (one, two)]
    return np.asarray(unit[0] @ unit[1].T, dtype=np.float64)


def tf_idf(texts: Sequence[str], documents: Sequence[str]) -> Floats:
    """(texts, documents) cosines of words weighed by their rarity among the documents."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit(documents)
    return np.asarray((words.transform(texts) @ words.transform(documents).T).toarray())


def _cut(encoder: SentenceEncoder, documents: Sequence[str]) -> tuple[Tensor, NDArray[np.int64]]:
    """(W, N) token ids, padded, and (W,) the document of each row."""
    rows: list[Tensor] = []
    document: list[int] = []
    for number, tokens in enumerate(encoder.tokenizer.encode(documents)):
        read = tokens[:LONGEST]
        parts = [encoder.row(read[start : start + encoder.room]) for start in range(0, max(len(read), 1), encoder.room)]
        rows += parts
        document += [number] * len(parts)
    return encoder.padded(rows), np.array(document)


def _pad(encoder: SentenceEncoder) -> int:
    return encoder.tokenizer.vocabulary.pad_id

"""One vector per document, however long: of its windows as long as the rows of training, or of the whole at once."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cogito_ray.evaluation.frozen_concepts import encode, token_means
from cogito_ray.evaluation.sentence_encoder import TextReader

Vectors = NDArray[np.float32]
LONGEST = 16_384
"""Tokens of a document that are read; what follows is not."""


@dataclass(frozen=True)
class Windows:
    """Mean concepts of every window of some documents, one document after another."""

    vectors: Vectors
    """(W, D)"""
    of: NDArray[np.int64]
    """(W,) the document of each window."""
    documents: int

    def mean(self) -> Vectors:
        """(documents, D)"""
        sums = np.zeros((self.documents, self.vectors.shape[1]))
        np.add.at(sums, self.of, self.vectors)
        return np.asarray(sums / np.bincount(self.of, minlength=self.documents)[:, None], dtype=np.float32)


def windows(reader: TextReader, documents: Sequence[str]) -> Windows:
    """By the encoder's concepts."""
    ids, of = _cut(reader, documents)
    concepts = [encode(reader.model, part, _pad(reader)).mean(dim=1) for part in ids.split(256)]
    return Windows(torch.cat(concepts).numpy(), of, len(documents))


def token_windows(reader: TextReader, documents: Sequence[str]) -> Windows:
    """By the mean of the model's own token vectors, which no concept read."""
    ids, of = _cut(reader, documents)
    means = [token_means(reader.model, part, _pad(reader)) for part in ids.split(256)]
    return Windows(torch.cat(means).numpy(), of, len(documents))


def truncated(reader: TextReader, documents: Sequence[str]) -> NDArray[np.bool_]:
    """(documents,) Which of them are longer than what is read of a document."""
    return np.array([len(tokens) > LONGEST for tokens in reader.tokenizer.encode(documents)], dtype=np.bool_)


def whole(reader: TextReader, documents: Sequence[str]) -> Vectors:
    """(documents, D) mean concepts of whole documents: positions are squeezed into the trained range."""
    found = []
    for tokens in reader.tokenizer.encode(documents):
        ids = torch.from_numpy(tokens[:LONGEST].astype(np.int64))
        stretched = copy.deepcopy(reader.model)                             # a learned table would not come back
        stretched.resize(max(len(ids), reader.length))
        found.append(encode(stretched, ids[None], _pad(reader)).mean(dim=1))
    return torch.cat(found).numpy()


def _cut(reader: TextReader, documents: Sequence[str]) -> tuple[Tensor, NDArray[np.int64]]:
    """(W, N) token ids, padded, and (W,) the document of each row."""
    facts = reader.tokenizer.vocabulary
    rows: list[Tensor] = []
    of: list[int] = []
    for number, tokens in enumerate(reader.tokenizer.encode(documents)):
        ids = torch.from_numpy(tokens[:LONGEST].astype(np.int64))
        parts = ids.split(reader.length) if len(ids) else (torch.tensor([facts.separator_id]),)
        rows += parts
        of += [number] * len(parts)
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=facts.pad_id)
    return padded, np.array(of)


def _pad(reader: TextReader) -> int:
    return reader.tokenizer.vocabulary.pad_id

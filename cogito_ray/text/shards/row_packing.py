"""Documents of any length become rows of exactly N tokens."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from cogito_ray.text.vocabulary import Vocabulary

Ids = np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]


class Packer(Protocol):
    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) rows that are complete once these documents came."""
        ...

    def close(self) -> Ids:
        """(R, N) what is left, padded."""
        ...


class Concatenate:
    """Documents one after the other, a separator after each, cut every N tokens: no padding but in the last row."""

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.pad_id = length, vocabulary.pad_id
        self.separator = np.array([vocabulary.separator_id], dtype)
        self.left = self.separator[:0]

    def add(self, documents: Sequence[Ids]) -> Ids:
        stream = np.concatenate([self.left, *(ids for document in documents for ids in (document, self.separator))])
        whole = len(stream) // self.length * self.length
        self.left = stream[whole:]
        return stream[:whole].reshape(-1, self.length)  # (R, N)

    def close(self) -> Ids:
        return _cut(self.left, self.length, self.pad_id)


class OneDocument:
    """Each document starts a row of its own; its last row ends in padding."""

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.pad_id = length, vocabulary.pad_id
        self.none = np.empty((0, length), dtype)

    def add(self, documents: Sequence[Ids]) -> Ids:
        return np.concatenate([self.none, *(_cut(document, self.length, self.pad_id) for document in documents)])

    def close(self) -> Ids:
        return self.none


PACKERS: dict[str, type[Concatenate] | type[OneDocument]] = {"concatenate": Concatenate, "document": OneDocument}


def _cut(ids: Ids, length: int, pad_id: int) -> Ids:
    padded = np.pad(ids, (0, -len(ids) % length), constant_values=pad_id)
    return padded.reshape(-1, length)  # (R, N)

"""Packing: documents of any length become rows of exactly N tokens."""

from collections.abc import Sequence

import numpy as np

from cogito_ray.text.vocabulary_info import Vocabulary

Ids = np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]


class Concatenate:
    """Documents one after the other, a separator after each, cut every N tokens: no padding but in the last row."""

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.pad_id = length, vocabulary.pad_id
        self.separator = np.array([vocabulary.separator_id], dtype)
        self.remainder = self.separator[:0]

    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) the rows that are complete once these documents came."""
        separated = (ids for document in documents for ids in (document, self.separator))
        stream = np.concatenate([self.remainder, *separated])
        whole = len(stream) // self.length * self.length
        self.remainder = stream[whole:]
        return stream[:whole].reshape(-1, self.length)  # (R, N)

    def close(self) -> Ids:
        """(R, N) what is left, padded."""
        return _cut(self.remainder, self.length, self.pad_id)


class OneDocument:
    """Each document starts a row of its own; its last row ends in padding."""

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.pad_id = length, vocabulary.pad_id
        self.none = np.empty((0, length), dtype)

    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) the rows that are complete once these documents came."""
        return np.concatenate([self.none, *(_cut(document, self.length, self.pad_id) for document in documents)])

    def close(self) -> Ids:
        """(0, N) no row waits for another document."""
        return self.none


PACKERS: dict[str, type[Concatenate] | type[OneDocument]] = {"concatenate": Concatenate, "document": OneDocument}


def _cut(ids: Ids, length: int, pad_id: int) -> Ids:
    padded = np.pad(ids, (0, -len(ids) % length), constant_values=pad_id)
    return padded.reshape(-1, length)  # (R, N)

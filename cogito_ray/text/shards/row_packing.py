"""Packing: documents of any length become rows of exactly N tokens."""

from collections.abc import Sequence

import numpy as np

from cogito_ray.text.vocabulary_info import Vocabulary

Ids = np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]
PACKED_AT_ONCE = 2**22
"""Tokens that wait to be packed by `BestFit`: enough that hardly a row could be fuller, few enough for any machine."""


class Concatenate:
    """Documents one after the other, a separator after each, cut every N tokens: no padding but in the last row."""

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.pad_id = length, vocabulary.pad_id
        self.separator = np.array([vocabulary.separator_id], dtype)
        self.remainder = self.separator[:0]
        self.cut_documents = 0

    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) the rows that are complete once these documents came."""
        lengths = np.array([len(document) for document in documents], np.int64)
        starts = len(self.remainder) + np.cumsum(lengths + 1) - lengths - 1
        self.cut_documents += int((starts // self.length < (starts + lengths - 1) // self.length).sum())
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
        self.cut_documents = 0

    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) the rows that are complete once these documents came."""
        self.cut_documents += sum(len(document) > self.length for document in documents)
        return np.concatenate([self.none, *(_cut(document, self.length, self.pad_id) for document in documents)])

    def close(self) -> Ids:
        """(0, N) no row waits for another document."""
        return self.none


class BestFit:
    """Best-fit decreasing (arXiv:2404.10830): whole documents share a row, a separator between two of them.

    A document longer than a row fills rows of its own, and its rest is packed as a document. The longest goes first,
    into the fullest row in which it fits. All documents of a part are packed together, PACKED_AT_ONCE tokens at most.
    """

    def __init__(self, length: int, vocabulary: Vocabulary, dtype: np.dtype[np.unsignedinteger]):
        self.length, self.dtype = length, dtype
        self.pad_id, self.separator_id = vocabulary.pad_id, vocabulary.separator_id
        self.waiting: list[Ids] = []
        self.tokens_waiting = self.cut_documents = 0

    def add(self, documents: Sequence[Ids]) -> Ids:
        """(R, N) the rows that are complete once these documents came."""
        complete = [np.empty((0, self.length), self.dtype)]
        for document in documents:
            whole = len(document) // self.length * self.length
            self.cut_documents += len(document) > self.length
            complete.append(document[:whole].reshape(-1, self.length))
            if whole < len(document):
                self.waiting.append(document[whole:].copy())     # a view would keep all of it in memory
                self.tokens_waiting += len(document) - whole
            if self.tokens_waiting >= PACKED_AT_ONCE:
                complete.append(self.close())
        return np.concatenate(complete)

    def close(self) -> Ids:
        """(R, N) what is left, packed."""
        packed = self._packed()
        self.waiting, self.tokens_waiting = [], 0
        rows = np.full((len(packed), self.length), self.pad_id, self.dtype)
        for row, documents in zip(rows, packed, strict=True):
            end = 0
            for document in documents:
                if end:
                    row[end] = self.separator_id
                    end += 1
                row[end : end + len(document)] = document
                end += len(document)
        return rows

    def _packed(self) -> list[list[Ids]]:
        """Documents by row. With its separator one takes a token more, of rows that have room for one more."""
        rows: list[list[Ids]] = []
        with_room: list[list[int]] = [[] for _ in range(self.length + 1)]    # [r]: rows with room for r tokens
        rooms = 0                                                            # bit r is set where with_room[r] has any
        for document in sorted(self.waiting, key=len, reverse=True):
            size = len(document) + 1
            if fitting := rooms >> size:
                room = size + (fitting & -fitting).bit_length() - 1          # the lowest bit: the least room
                row = with_room[room].pop()
                rooms ^= 0 if with_room[room] else 1 << room
            else:
                room, row = self.length + 1, len(rows)
                rows.append([])
            rows[row].append(document)
            with_room[room - size].append(row)
            rooms |= 1 << (room - size)
        return rows


PACKERS: dict[str, type[Concatenate] | type[OneDocument] | type[BestFit]] = {
    "concatenate": Concatenate,
    "document": OneDocument,
    "best_fit": BestFit,
}


def _cut(ids: Ids, length: int, pad_id: int) -> Ids:
    padded = np.pad(ids, (0, -len(ids) % length), constant_values=pad_id)
    return padded.reshape(-1, length)  # (R, N)

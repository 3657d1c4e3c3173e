"""Reads neighbouring pieces one after the other: what several share is decoded once, not from its start for each."""

from collections.abc import Iterator

from cogito_ray.text.sources.columnar_files import ParquetPiece
from cogito_ray.text.sources.documents import Piece, RawDocument, Rejected
from cogito_ray.text.sources.line_files import JsonLinesPiece


class SequentialReader:
    """For the pieces of a row group, and of a compressed file."""

    def __init__(self) -> None:
        self.shared: object = None
        """What the last piece was cut from."""
        self.stop: int | None = 0
        """Where the last piece ended in it."""
        self.rest: Iterator[tuple[int, RawDocument | Rejected]] = iter(())
        self.waiting: tuple[int, RawDocument | Rejected] | None = None

    def read(self, piece: Piece) -> Iterator[RawDocument | Rejected]:
        """What `piece.read` yields; what stands after an unreadable place is told once for all of them."""
        if not isinstance(piece, ParquetPiece | JsonLinesPiece) or piece.cut_from is None:
            yield from piece.read()
            return
        if self.shared != piece.cut_from or self.stop != piece.start:
            self.rest = piece.from_start()
            self.waiting = next(self.rest, None)
        self.shared, self.stop = piece.cut_from, piece.stop
        while self.waiting is not None and (piece.stop is None or self.waiting[0] < piece.stop):
            found = self.waiting[1]
            self.waiting = next(self.rest, None)
            yield found

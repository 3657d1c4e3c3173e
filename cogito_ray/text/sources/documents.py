"""What a source yields: documents, and the parts in which independent tasks read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from typing import Literal, NamedTuple, Protocol, TypeVar

from pydantic import PositiveFloat

SMALLEST_PART, LARGEST_PART = 4 * 2**20, 128 * 2**20  # bytes of text
SOON_READ = 3 * 2**19
"""Bytes of text in a part that training waits for: tokenised within seconds by one core."""
PARTS = 64
"""Parts a source is cut into when its size allows: enough to keep a cluster busy, few enough to name each."""
MOST_CUTS = 32
"""Pieces at most of a row group or a compressed file: who reads one alone decodes what stands before it, too."""

Weight = PositiveFloat | Literal["size"]
"""Share of the rows drawn from a source, relative to the others; size: as many as it has, for all sources or none."""
BOM = "\ufeff"


@dataclass(frozen=True)
class Rejected:
    """A document that cannot be used, or a whole file that cannot be read."""

    place: str
    """File, and the row or byte in it."""
    reason: str
    whole_file: bool = False
    is_missing: bool = False
    """Whether the record has no such field, or nothing in it: it is left out, and no fault."""


class RawDocument(NamedTuple):
    """What stands where a document's text should be: text, or a list of it, whose lines are joined."""

    place: str
    value: object

    def text(self) -> str | Rejected:
        """The text, if it is one that can be tokenised."""
        if self.value is None:
            return Rejected(self.place, "not text but NoneType", is_missing=True)
        lines = [line for line in _listed(self.value) if isinstance(line, str | bytes)]
        if len(lines) != len(_listed(self.value)):
            return Rejected(self.place, f"not text but {type(self.value).__name__}")
        try:
            text = "\n".join(line.decode() if isinstance(line, bytes) else line for line in lines).removeprefix(BOM)
            text.encode()
        except UnicodeError as error:
            return Rejected(self.place, f"not UTF-8: {error}")
        if 4 * text.count("\0") > len(text):
            return Rejected(self.place, "not UTF-8: every other character is NUL, as in UTF-16")
        return text if text and not text.isspace() else Rejected(self.place, "empty")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


class Sized(Protocol):
    """What holds some text."""

    @property
    def size(self) -> int:
        """Bytes of text, estimated."""
        ...


SizedT = TypeVar("SizedT", bound=Sized)


class Piece(Sized, Protocol):
    """A stretch of one file. Plain data, so that it can be sent to another machine."""

    def read(self) -> Iterator[RawDocument | Rejected]:
        """Its documents, in order; what cannot be read is told, not raised."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """What one task reads, tokenises and packs. Parts depend on the source alone, never on the cluster."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of text, estimated."""
        return sum(piece.size for piece in self.pieces)

    def read(self) -> Iterator[RawDocument | Rejected]:
        """The documents of all pieces, in order."""
        for piece in self.pieces:
            yield from piece.read()


def parts_of(pieces: Sequence[Piece], largest: int = LARGEST_PART) -> list[Part]:
    """Neighbouring pieces joined to parts of similar size."""
    target = target_size(sum(piece.size for piece in pieces), largest)
    return [Part(tuple(run)) for _, run in neighbours(pieces, target)]


def until(
    stop: int | None, placed: Iterator[tuple[int, RawDocument | Rejected]]
) -> Iterator[RawDocument | Rejected]:
    """The documents that begin before a place; None = all."""
    return (found for _, found in takewhile(lambda each: stop is None or each[0] < stop, placed))


def neighbours(things: Sequence[SizedT], size: int) -> Iterator[tuple[int, Sequence[SizedT]]]:
    """Pieces or parts joined until they hold `size` bytes of text, each time with the number of the first of them."""
    first = held = 0
    for stop, thing in enumerate(things, start=1):
        held += thing.size
        if held >= size or stop == len(things):
            yield first, things[first:stop]
            first, held = stop, 0


def field_splits(column: str) -> Iterator[tuple[str, str]]:
    """A field and what is meant inside of it, for every way to read a dotted name: `a.b.c` -> (a, b.c), (a.b, c)."""
    for place, sign in enumerate(column):
        if sign == ".":
            yield column[:place], column[place + 1 :]


def target_size(total: int, largest: int = LARGEST_PART) -> int:
    """Bytes of text per part for a source of `total` bytes."""
    return min(max(total // PARTS, SMALLEST_PART), largest)


def fraction(text: bytes, salt: bytes = b"") -> float:
    """A number in [0, 1) that depends on the text alone: decides which documents are held out or sampled, so that equal
    documents are on one side, whichever file they are in. `salt` makes the two decisions independent."""
    return int.from_bytes(blake2b(text, digest_size=8, salt=salt).digest(), "big") / 2**64

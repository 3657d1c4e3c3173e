"""Where a token stands in its row, as vectors to add or as rotations of queries and keys.

Positions are whole numbers below the row length. `resize` makes a trained model run at another length by position
interpolation (arXiv:2306.15595): the new length is squeezed into the range seen in training.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec


@dataclass(frozen=True)
class Turns:
    """Rotations of one sequence's queries or keys by where they stand (arXiv:2104.09864)."""

    places: Tensor
    """(S,) or (B, S), in tokens."""
    longest: float = 10_000.0
    """Longest wavelength, as a multiple of 2 pi tokens."""
    _made: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Head width -> cosines and sines, so that all blocks share them."""

    def apply(self, x: Tensor) -> Tensor:
        """x (B, H, S, D/H) turned pair by pair: coordinate i with coordinate i + D/2H."""
        width = x.shape[-1]
        if width not in self._made:
            self._made[width] = self._waves(width)
        cos, sin = self._made[width]
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)

    def _waves(self, width: int) -> tuple[Tensor, Tensor]:
        pairs = torch.arange(width // 2, device=self.places.device)
        angles = self.places[..., None].float() * self.longest ** (-2 * pairs / width)     # (..., S, D/2H)
        angles = angles.unsqueeze(-3)                                                      # (..., 1, S, D/2H)
        return angles.cos(), angles.sin()


class Positions(nn.Module, ABC):
    """What every kind of positions offers."""

    @abstractmethod
    def forward(self, positions: Tensor) -> Tensor:
        """positions (B, S) int64 -> (B, S, width), to be added."""

    @abstractmethod
    def code(self, places: Tensor, width: int) -> Tensor:
        """places (S,) float, in tokens -> (S, width) for concepts that stand between whole positions."""

    @abstractmethod
    def turns(self, positions: Tensor) -> Turns | None:
        """positions (B, S) -> rotations, None for kinds that only add."""

    @abstractmethod
    def anchor_turns(self, centres: Tensor) -> Turns | None:
        """centres (C,), in tokens of the rows of training -> rotations, None for kinds that only add."""

    @abstractmethod
    def at_width(self, width: int) -> "Positions":
        """The same positions for vectors of another width; ValueError where the kind has no such thing."""

    @abstractmethod
    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on, squeezed into the trained range."""


class SinusoidalPositionsSpec(Spec):
    """Fixed sines and cosines (arXiv:1706.03762), whose wavelengths suit the row: with the usual 10,000 half of them
    would hardly change along a short row, and places would look alike."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    fits_any_width: ClassVar[bool] = True
    turns_queries: ClassVar[bool] = False
    span: PositiveFloat = 2.0
    """Longest wavelength, in rows; the shortest is 2 pi tokens."""

    def build(self, length: int, width: int) -> "SinusoidalPositions":
        return SinusoidalPositions(length, width, self.longest(length))

    def longest(self, length: int) -> float:
        """The longest wavelength, as a multiple of 2 pi tokens."""
        return max(1.0, self.span * length / math.tau)


class LearnedPositionsSpec(Spec):
    """One learned vector per position, started at the sinusoidal code; interpolated at other lengths."""

    kind: Literal["learned"] = "learned"
    fits_any_width: ClassVar[bool] = False
    turns_queries: ClassVar[bool] = False

    def build(self, length: int, width: int) -> "LearnedPositions":
        return LearnedPositions(length, width)


class RotaryPositionsSpec(Spec):
    """Queries and keys turn by angles proportional to position (arXiv:2104.09864)."""

    kind: Literal["rotary"] = "rotary"
    fits_any_width: ClassVar[bool] = False
    turns_queries: ClassVar[bool] = True
    longest: PositiveFloat = 10_000.0
    """Longest wavelength, as a multiple of 2 pi tokens."""

    def build(self, length: int, width: int) -> "RotaryPositions":
        return RotaryPositions(length, width, self.longest)


PositionsSpec = Annotated[
    SinusoidalPositionsSpec | LearnedPositionsSpec | RotaryPositionsSpec, Field(discriminator="kind")
]


def sinusoidal_code(places: Tensor, width: int, longest: float) -> Tensor:
    """places (S,) float -> (S, width), with wavelengths from 2 pi to `longest` x 2 pi tokens.

    The code of a smaller width is a prefix of the code of a larger one, so that a thin token and a wide concept at one
    place agree on the coordinates that they share: exponents follow van der Corput's sequence (0, 1/2, 1/4,
    3/4, ...), of which every prefix spreads evenly over the whole range.
    """
    pairs = (width + 1) // 2
    exponents = torch.tensor([_van_der_corput(pair) for pair in range(pairs)], device=places.device)
    angles = places[:, None].float() * longest**-exponents             # (S, width/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def _completed(vectors: Tensor, code: Tensor) -> Tensor:
    """vectors (S, T) -> as wide as code (S, D), whose further coordinates they take."""
    shared = min(code.shape[1], vectors.shape[1])
    return torch.cat([vectors[:, :shared], code[:, shared:]], dim=1)


def _van_der_corput(number: int) -> float:
    """The binary digits of `number`, mirrored at the point."""
    value, digit = 0.0, 0.5
    while number:
        value, number, digit = value + digit * (number & 1), number >> 1, digit / 2
    return value


class SinusoidalPositions(Positions):
    table: Tensor

    def __init__(self, length: int, width: int, longest: float):
        super().__init__()
        self.trained, self.width, self.longest = length, width, longest
        self.register_buffer("table", self.code(torch.arange(length), width))

    def forward(self, positions: Tensor) -> Tensor:
        return F.embedding(positions, self.table)                      # (B, S, width)

    def code(self, places: Tensor, width: int) -> Tensor:
        return sinusoidal_code(places, width, self.longest)

    def turns(self, positions: Tensor) -> None:
        return None

    def anchor_turns(self, centres: Tensor) -> None:
        return None

    def at_width(self, width: int) -> "SinusoidalPositions":
        return self if width == self.width else SinusoidalPositions(len(self.table), width, self.longest)

    def resize(self, length: int) -> None:
        places = torch.arange(length, device=self.table.device) * (self.trained / length)
        self.table = self.code(places, self.width).to(self.table.dtype)


class LearnedPositions(Positions):
    def __init__(self, length: int, width: int):
        super().__init__()
        self.longest = SinusoidalPositionsSpec().longest(length)
        self.table = nn.Parameter(sinusoidal_code(torch.arange(length), width, self.longest))

    def forward(self, positions: Tensor) -> Tensor:
        return F.embedding(positions, self.table)                      # (B, S, width)

    def code(self, places: Tensor, width: int) -> Tensor:
        return _completed(_between(self.table, places), sinusoidal_code(places, width, self.longest))

    def turns(self, positions: Tensor) -> None:
        return None

    def anchor_turns(self, centres: Tensor) -> None:
        return None

    def at_width(self, width: int) -> "LearnedPositions":
        if width != self.table.shape[1]:
            raise ValueError(
                f"learned positions of width {self.table.shape[1]} cannot serve width {width}; "
                "give the decoder positions of its own, or use sinusoidal ones"
            )
        return self

    @torch.no_grad()
    def resize(self, length: int) -> None:
        self.table = nn.Parameter(interpolated(self.table, length))


class RotaryPositions(Positions):
    """Adds one learned vector, the same everywhere, so that queries that are nothing but a position can turn."""

    def __init__(self, length: int, width: int, longest: float = 10_000.0):
        super().__init__()
        self.trained, self.length, self.longest = length, length, longest
        self.anywhere = nn.Parameter(torch.randn(width) * width**-0.5)

    def forward(self, positions: Tensor) -> Tensor:
        return self.anywhere.expand(*positions.shape, -1)              # (B, S, width)

    def code(self, places: Tensor, width: int) -> Tensor:
        code = sinusoidal_code(places, width, SinusoidalPositionsSpec().longest(self.trained))
        return _completed(self.anywhere.expand(len(places), -1), code)

    def turns(self, positions: Tensor) -> Turns:
        return Turns(positions * (self.trained / self.length), self.longest)

    def anchor_turns(self, centres: Tensor) -> Turns:
        return Turns(centres, self.longest)

    def at_width(self, width: int) -> "RotaryPositions":
        if width != len(self.anywhere):
            raise ValueError(
                f"rotary positions of width {len(self.anywhere)} cannot serve width {width}; "
                "give the decoder positions of its own, or use sinusoidal ones"
            )
        return self

    def resize(self, length: int) -> None:
        self.length = length


def interpolated(table: Tensor, length: int) -> Tensor:
    """table (N, width) -> (length, width): the same rows, spread over another length."""
    return _between(table, torch.arange(length, device=table.device) * (len(table) / length))


def _between(table: Tensor, places: Tensor) -> Tensor:
    """table (N, width), places (S,) -> (S, width) on straight lines between the table's rows."""
    low = places.floor().clamp(0, len(table) - 1)
    high = (low + 1).clamp(max=len(table) - 1)
    return torch.lerp(table[low.long()], table[high.long()], (places - low).clamp(0, 1)[:, None])


def segment_centres(segments: int, length: int) -> Tensor:
    """(segments,) the middle of each of `segments` equal parts of a row, in tokens."""
    return (torch.arange(segments) + 0.5) * (length / segments) - 0.5

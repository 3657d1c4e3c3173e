"""Position encodings: where a token stands in its row, as vectors to add or as rotations of queries and keys.

Positions are whole numbers below the row length. `resize` makes a trained model run at another length by position
interpolation (arXiv:2306.15595): the new length is squeezed into the range seen in training.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec


@dataclass(frozen=True)
class Rotary:
    """Rotations of one sequence's queries or keys by where they stand (arXiv:2104.09864)."""

    positions: Tensor
    """(S,) or (B, S), in tokens."""
    base: float = 10_000.0
    """Longest wavelength, as a multiple of 2 pi tokens (RoPE's theta)."""
    _made: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Head width -> cosines and sines, so that all blocks share them."""

    def apply(self, x: Tensor) -> Tensor:
        """x (B, H, S, D/H) rotated pair by pair: coordinate i with coordinate i + D/2H, as GPT-NeoX pairs them."""
        width = x.shape[-1]
        if width not in self._made:
            self._made[width] = self._waves(width)
        cos, sin = self._made[width]
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)

    def _waves(self, width: int) -> tuple[Tensor, Tensor]:
        pairs = torch.arange(width // 2, device=self.positions.device)
        angles = self.positions[..., None].float() * self.base ** (-2 * pairs / width)     # (..., S, D/2H)
        angles = angles.unsqueeze(-3)                                                      # (..., 1, S, D/2H)
        return angles.cos(), angles.sin()


class ContextualPositions(nn.Module):
    """Positions that count what a query finds worth counting (CoPE, arXiv:2405.18719): all from it to a key, each as
    far as its gate, the sigmoid of its score, lets it. Here queries look both ways, so there is a table of codes for
    what stands before them and one for what stands behind; the codes' scores have the attention's scale."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"table": "latents"}

    def __init__(self, length: int, width: int):
        """For sequences of `length`, all of which may count."""
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2, length + 1, width))

    def forward(self, query: Tensor, scores: Tensor, scale: float, visible: Tensor | None) -> Tensor:
        """query (B, H, S, D/H), its scores (B, H, S, S), visible (B, 1, S, S) or None -> what to add to the scores."""
        counts = contextual_counts(scores.float().sigmoid() if visible is None else scores.float().sigmoid() * visible)
        codes = self.table.unflatten(-1, (query.shape[1], -1))                             # (2, S + 1, H, D/H)
        before, behind = torch.einsum("bhqd,tphd->tbhqp", query, codes.to(query.dtype)) * scale
        at = torch.arange(query.shape[2], device=query.device)
        of_counts = torch.where(at > at[:, None], _interpolated(behind, counts), _interpolated(before, counts))
        return of_counts.to(scores.dtype)


def contextual_counts(gates: Tensor) -> Tensor:
    """gates (..., S, S) of queries and keys -> the sum of each query's gates from it to each key, both counted."""
    upto, own = gates.cumsum(dim=-1), gates.diagonal(dim1=-2, dim2=-1)[..., None]
    upto_self = upto.diagonal(dim1=-2, dim2=-1)[..., None]
    at = torch.arange(gates.shape[-1], device=gates.device)
    return torch.where(at > at[:, None], upto - upto_self + own, upto_self - upto + gates)


def _interpolated(scores: Tensor, counts: Tensor) -> Tensor:
    """scores (..., S, P) of whole counts -> (..., S, S) those of counts that fall between."""
    low = counts.floor().clamp(0, scores.shape[-1] - 2)     # sums of gates may be below 0 by rounding
    below, above = scores.gather(-1, low.long()), scores.gather(-1, low.long() + 1)
    return torch.lerp(below.float(), above.float(), counts - low)


class Positions(nn.Module, ABC):
    """What every kind of position encoding offers."""

    @abstractmethod
    def forward(self, positions: Tensor) -> Tensor:
        """positions (B, S) int64 -> (B, S, width), to be added."""

    @abstractmethod
    def code(self, positions: Tensor, width: int) -> Tensor:
        """positions (S,) float, in tokens -> (S, width) for concepts that stand between whole positions."""

    @abstractmethod
    def rotary(self, positions: Tensor) -> Rotary | None:
        """positions (B, S) -> rotations, None for kinds that only add."""

    @abstractmethod
    def rotary_at(self, centres: Tensor) -> Rotary | None:
        """centres (C,), in tokens of the rows of training -> rotations, None for kinds that only add."""

    @abstractmethod
    def at_width(self, width: int) -> "Positions":
        """The same positions for vectors of another width; ValueError where the kind has no such thing."""

    @abstractmethod
    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on, squeezed into the trained range."""


class SinusoidalPositionsSpec(Spec):
    """Fixed sines and cosines (arXiv:1706.03762), whose wavelengths suit the row: with the usual 10,000 half of them
    would hardly change along a short row, and positions would look alike."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    fits_any_width: ClassVar[bool] = True
    rotates_queries: ClassVar[bool] = False
    span: PositiveFloat = 2.0
    """Longest wavelength, in rows; the shortest is 2 pi tokens."""

    def build(self, length: int, width: int) -> "SinusoidalPositions":
        """For rows of `length` tokens and vectors of this width."""
        return SinusoidalPositions(length, width, self.base(length))

    def base(self, length: int) -> float:
        """The longest wavelength, as a multiple of 2 pi tokens."""
        return max(1.0, self.span * length / math.tau)


class LearnedPositionsSpec(Spec):
    """One learned vector per position, started at the sinusoidal code; interpolated at other lengths."""

    kind: Literal["learned"] = "learned"
    fits_any_width: ClassVar[bool] = False
    rotates_queries: ClassVar[bool] = False

    def build(self, length: int, width: int) -> "LearnedPositions":
        """For rows of `length` tokens and vectors of this width."""
        return LearnedPositions(length, width)


class RotaryPositionsSpec(Spec):
    """Queries and keys are rotated by angles proportional to position (arXiv:2104.09864)."""

    kind: Literal["rotary"] = "rotary"
    fits_any_width: ClassVar[bool] = False
    rotates_queries: ClassVar[bool] = True
    base: PositiveFloat = 10_000.0
    """Longest wavelength, as a multiple of 2 pi tokens (RoPE's theta)."""

    def build(self, length: int, width: int) -> "RotaryPositions":
        """For rows of `length` tokens and vectors of this width."""
        return RotaryPositions(length, width, self.base)


PositionsSpec = Annotated[
    SinusoidalPositionsSpec | LearnedPositionsSpec | RotaryPositionsSpec, Field(discriminator="kind")
]


def sinusoidal_code(positions: Tensor, width: int, base: float) -> Tensor:
    """positions (S,) float -> (S, width), with wavelengths from 2 pi to `base` x 2 pi tokens.

    The code of a smaller width is a prefix of the code of a larger one, so that a narrow token and a wide concept at
    one position agree on the coordinates that they share. Evenly spaced exponents, i / pairs, depend on the width;
    those of van der Corput's sequence (0, 1/2, 1/4, 3/4, 1/8, ...) do not, and each of its prefixes still spreads
    over the whole range.
    """
    pairs = (width + 1) // 2
    exponents = _van_der_corput(pairs, positions.device)               # (width/2,)
    angles = positions[:, None].float() * base**-exponents             # (S, width/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def _completed(vectors: Tensor, code: Tensor) -> Tensor:
    """vectors (S, T) -> as wide as code (S, D), of which they take the coordinates that they lack."""
    shared = min(code.shape[1], vectors.shape[1])
    return torch.cat([vectors[:, :shared], code[:, shared:]], dim=1)


def _van_der_corput(count: int, device: torch.device) -> Tensor:
    """(count,) the binary digits of each number from 0 on, mirrored at the point (1 -> 0.1, 2 -> 0.01, 3 -> 0.11): each
    next one is in the middle of the widest gap. Made on the device, which waits for no copy."""
    digits = count.bit_length()
    place = torch.arange(digits, device=device)
    ones = (torch.arange(count, device=device)[:, None] >> place) & 1  # (count, digits)
    return (ones << (digits - 1 - place)).sum(dim=1) / 2**digits


class SinusoidalPositions(Positions):
    """A table of `sinusoidal_code`, computed and not learned."""

    table: Tensor

    def __init__(self, length: int, width: int, base: float):
        super().__init__()
        self.trained_length, self.width, self.base = length, width, base
        self.register_buffer("table", self.code(torch.arange(length), width))

    def forward(self, positions: Tensor) -> Tensor:
        return F.embedding(positions, self.table)                      # (B, S, width)

    def code(self, positions: Tensor, width: int) -> Tensor:
        return sinusoidal_code(positions, width, self.base)

    def rotary(self, positions: Tensor) -> None:
        return None

    def rotary_at(self, centres: Tensor) -> None:
        return None

    def at_width(self, width: int) -> "SinusoidalPositions":
        return self if width == self.width else SinusoidalPositions(len(self.table), width, self.base)

    def at_length(self, length: int) -> "SinusoidalPositions":
        """Those of a model for rows of `length` tokens."""
        return SinusoidalPositions(length, self.width, max(1.0, self.base * length / self.trained_length))

    def resize(self, length: int) -> None:
        positions = torch.arange(length, device=self.table.device) * (self.trained_length / length)
        self.table = self.code(positions, self.width).to(self.table.dtype)


class LearnedPositions(Positions):
    """A learned table, started at the sinusoidal code."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"table": "embeddings"}

    def __init__(self, length: int, width: int):
        super().__init__()
        self.base = SinusoidalPositionsSpec().base(length)
        self.table = nn.Parameter(sinusoidal_code(torch.arange(length), width, self.base))

    def forward(self, positions: Tensor) -> Tensor:
        return F.embedding(positions, self.table)                      # (B, S, width)

    def code(self, positions: Tensor, width: int) -> Tensor:
        return _completed(_between(self.table, positions), sinusoidal_code(positions, width, self.base))

    def rotary(self, positions: Tensor) -> None:
        return None

    def rotary_at(self, centres: Tensor) -> None:
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
    """Adds one learned vector, the same everywhere, so that queries that are nothing but a position can be rotated:
    a rotation of 0 is 0."""

    def __init__(self, length: int, width: int, base: float = 10_000.0):
        super().__init__()
        self.trained_length, self.length, self.base = length, length, base
        self.constant = nn.Parameter(torch.randn(width) * width**-0.5)

    def forward(self, positions: Tensor) -> Tensor:
        return self.constant.expand(*positions.shape, -1)              # (B, S, width)

    def code(self, positions: Tensor, width: int) -> Tensor:
        code = sinusoidal_code(positions, width, SinusoidalPositionsSpec().base(self.trained_length))
        return _completed(self.constant.expand(len(positions), -1), code)

    def rotary(self, positions: Tensor) -> Rotary:
        return Rotary(positions * (self.trained_length / self.length), self.base)

    def rotary_at(self, centres: Tensor) -> Rotary:
        return Rotary(centres, self.base)

    def at_width(self, width: int) -> "RotaryPositions":
        if width != len(self.constant):
            raise ValueError(
                f"rotary positions of width {len(self.constant)} cannot serve width {width}; "
                "give the decoder positions of its own, or use sinusoidal ones"
            )
        return self

    def resize(self, length: int) -> None:
        self.length = length


def interpolated(table: Tensor, length: int) -> Tensor:
    """table (N, width) -> (length, width): the same rows, spread over another length."""
    return _between(table, torch.arange(length, device=table.device) * (len(table) / length))


def _between(table: Tensor, positions: Tensor) -> Tensor:
    """table (N, width), positions (S,) -> (S, width) on straight lines between the table's rows."""
    low = positions.floor().clamp(0, len(table) - 1)
    high = (low + 1).clamp(max=len(table) - 1)
    return torch.lerp(table[low.long()], table[high.long()], (positions - low).clamp(0, 1)[:, None])


def segment_centres(segments: int, length: int) -> Tensor:
    """(segments,) the middle of each of `segments` equal parts of a row, in tokens."""
    return (torch.arange(segments) + 0.5) * (length / segments) - 0.5

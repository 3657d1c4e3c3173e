"""How settings may vary: the domains a sweep's `space` is made of, told apart by their key.

Searchers only ever see str, int, float, bool and None: a preset's name stands for its sub-tree, a bundle's for several
settings, a ratio's fraction for the number it becomes.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Self, TypeAlias, overload

from pydantic import Discriminator, Field, JsonValue, PositiveFloat, PositiveInt, Tag, model_validator

from cogito_ray.base_spec import Spec

Scalar: TypeAlias = bool | int | float | str | None
"""What a searcher may draw."""
Sample: TypeAlias = dict[str, Scalar]
"""One point of a space: a drawn value per dotted path."""
Values = Annotated[tuple[Scalar, ...], Field(min_length=1)]
EXACT = 2**53
"""Beyond it a sampler, which counts in floats, cannot tell a whole number from the next."""


class Steps(Sequence[float]):
    """low, low + step, ... up to high, in decimal so that 0.1 + 0.2 is 0.3; never listed, for they may be millions."""

    def __init__(self, bounds: tuple[float, float], step: float):
        self._low, high, self._step = (Decimal(str(number)) for number in (*bounds, step))
        self._count = int((high - self._low) // self._step) + 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> "Sequence[float]": ...
    def __getitem__(self, place: int | slice) -> "float | Sequence[float]":
        if isinstance(place, slice):
            return [self[number] for number in range(self._count)[place]]
        return float(self._low + range(self._count)[place] * self._step)

    def nearest(self, value: float) -> float:
        """The one that a computed number stands for."""
        place = round((Decimal(str(value)) - self._low) / self._step)
        return self[min(max(place, 0), self._count - 1)]

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.nearest(value) == value


class _Domain(Spec):
    when: dict[str, Scalar | Values] = {}
    """Where the axis varies: per other axis, the value it must have, or several. Elsewhere the run stays as it is."""

    def applies(self, sample: Sample) -> bool:
        """Does the axis vary at this point?"""
        return all(path in sample and sample[path] in values for path, values in self.conditions().items())

    def conditions(self) -> dict[str, tuple[Scalar, ...]]:
        """The values that other axes may have where this one varies."""
        return {path: values if isinstance(values, tuple) else (values,) for path, values in self.when.items()}

    def values(self) -> Sequence[Scalar] | None:
        """Every value, in order; None if they cannot be listed. They may be too many to go through."""
        return None

    def extremes(self) -> tuple[Scalar, ...]:
        """Values to try before anything starts: all that are listed by name, the ends of a range."""
        return tuple(self.values() or ())

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self._refuse()
        return self

    def _refuse(self) -> None:
        """ValueError for values that are none."""


class Choice(_Domain):
    """One of these values."""

    choice: Values

    def values(self) -> Sequence[Scalar]:
        return self.choice

    def _refuse(self) -> None:
        _refuse_repeats(self.choice)


class Grid(_Domain):
    """Every one of these values, crossed with the other grids and with the sampled axes: never left to the sampler."""

    grid: Values

    def values(self) -> Sequence[Scalar]:
        return self.grid

    def _refuse(self) -> None:
        _refuse_repeats(self.grid)


class Preset(_Domain):
    """One of these sub-trees, drawn by its name; it replaces what `run` has at the path."""

    preset: dict[str, JsonValue] = Field(min_length=1)

    def values(self) -> Sequence[Scalar]:
        return tuple(self.preset)


class Bundle(_Domain):
    """One of these bundles of settings, by dotted path, drawn by its name. The axis has a name instead of a path."""

    bundle: dict[str, Annotated[dict[str, JsonValue], Field(min_length=1)]] = Field(
        min_length=1, examples=[{"small": {"model.width": 64, "model.heads": 2}}]
    )

    def values(self) -> Sequence[Scalar]:
        return tuple(self.bundle)


class Uniform(_Domain):
    """A number between two bounds, both included; with `step`, one of low, low + step, ... up to high."""

    uniform: tuple[float, float]
    step: PositiveFloat | None = None

    def values(self) -> Sequence[Scalar] | None:
        return None if self.step is None else Steps(self.uniform, self.step)

    def extremes(self) -> tuple[Scalar, ...]:
        listed = self.values()
        return self.uniform if listed is None else (listed[0], listed[-1])

    def _refuse(self) -> None:
        _refuse_empty(self.uniform, self.step)


class LogUniform(_Domain):
    """A number between two positive bounds, its logarithm drawn uniformly."""

    loguniform: tuple[float, float]

    def extremes(self) -> tuple[Scalar, ...]:
        return self.loguniform

    def _refuse(self) -> None:
        low, _ = self.loguniform
        if low <= 0:
            raise ValueError(f"loguniform needs positive bounds, got {low}; start it above 0, or use uniform")
        _refuse_empty(self.loguniform, None)


class RandInt(_Domain):
    """A whole number between two bounds, both included (as in Optuna, not in Ray); with `step`, every step-th one."""

    randint: tuple[int, int]
    step: PositiveInt = 1

    def values(self) -> Sequence[Scalar]:
        low, high = self.randint
        return range(low, high + 1, self.step)

    def extremes(self) -> tuple[Scalar, ...]:
        every = self.values()
        return every[0], every[-1]

    def _refuse(self) -> None:
        if beyond := [bound for bound in self.randint if abs(bound) > EXACT]:
            raise ValueError(f"{beyond[0]} is beyond 2^53, where samplers do not count; keep bounds below")
        _refuse_empty(self.randint, self.step)


class ChoiceOf(Spec):
    """One of some fractions of a number elsewhere in the run."""

    of: str
    """Dotted path of the number the fraction is taken of."""
    choice: tuple[PositiveFloat, ...] = Field(min_length=1)

    def fractions(self) -> Choice:
        """As a domain."""
        return Choice(choice=self.choice)


class UniformOf(Spec):
    """A fraction between two bounds of a number elsewhere in the run."""

    of: str
    """Dotted path of the number the fraction is taken of."""
    uniform: tuple[PositiveFloat, PositiveFloat]
    step: PositiveFloat | None = None

    def fractions(self) -> Uniform:
        """As a domain."""
        return Uniform(uniform=self.uniform, step=self.step)


class Ratio(_Domain):
    """A fraction of the number at another path, rounded where the setting is a whole number.

    Drawing fractions instead of sizes keeps the axis meaningful while the other path varies too.
    """

    ratio: Annotated[
        Annotated[ChoiceOf, Tag("choice")] | Annotated[UniformOf, Tag("uniform")],
        Discriminator(
            lambda given: _key_of(given, ("choice", "uniform")),
            custom_error_type="ratio",
            custom_error_message="say of which path and which fractions: {of: model.width, choice: [0.5, 1.0]}",
        ),
    ]

    def values(self) -> Sequence[Scalar] | None:
        return self.ratio.fractions().values()

    def extremes(self) -> tuple[Scalar, ...]:
        return self.ratio.fractions().extremes()

    def _refuse(self) -> None:
        self.ratio.fractions()


KEYS = ("choice", "uniform", "loguniform", "randint", "preset", "bundle", "ratio", "grid")


def _key_of(given: object, keys: tuple[str, ...] = KEYS) -> str | None:
    """The key that tells which domain `given` (a mapping or a domain) is."""
    has = given.__contains__ if isinstance(given, dict) else lambda key: hasattr(given, key)
    return next((key for key in keys if has(key)), None)


Domain = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[RandInt, Tag("randint")]
    | Annotated[Preset, Tag("preset")]
    | Annotated[Bundle, Tag("bundle")]
    | Annotated[Ratio, Tag("ratio")]
    | Annotated[Grid, Tag("grid")],
    Discriminator(
        _key_of,
        custom_error_type="domain",
        custom_error_message="say how it varies: a mapping with one of " + ", ".join(KEYS),
    ),
]


def written(axis: str, domain: Domain) -> tuple[str, ...]:
    """The dotted paths that an axis of this name sets."""
    if isinstance(domain, Bundle):
        return tuple(dict.fromkeys(path for settings in domain.bundle.values() for path in settings))
    return (axis,)


def sets_always(domain: Domain, path: str) -> bool:
    """Does every value of an axis that sets this path at some of them set it?"""
    return not isinstance(domain, Bundle) or all(path in settings for settings in domain.bundle.values())


def settings_of(
    axis: str, domain: Domain, value: Scalar, number_at: Callable[[str], float]
) -> Mapping[str, JsonValue]:
    """What is written into the run when `value` was drawn, by dotted path, wide ones first."""
    if isinstance(domain, Bundle):
        chosen = domain.bundle[str(value)]
        return {path: chosen[path] for path in sorted(chosen, key=lambda path: path.count("."))}
    return {axis: setting(domain, value, number_at)}


def setting(domain: Domain, value: Scalar, number_at: Callable[[str], float]) -> JsonValue:
    """What `value` stands for where a single setting varies; `number_at` looks up what a ratio is of.

    A sampler's 0.6000000000000001 becomes the 0.6 it stands for, so that equal points are equal runs.
    """
    match domain:
        case Preset(preset=named):
            return named[str(value)]
        case Ratio(ratio=fraction):
            return float(str(value)) * number_at(fraction.of)
        case Uniform(step=float() as step, uniform=bounds):
            return Steps(bounds, step).nearest(float(str(value)))
    return value


def at(domain: Domain, share: float) -> Scalar:
    """The value that lies this share of the way through a domain, from 0 to below 1."""
    match domain:
        case Ratio(ratio=fraction):
            return at(fraction.fractions(), share)
        case Uniform(step=None, uniform=(low, high)):
            return low + share * (high - low)
        case LogUniform(loguniform=(low, high)):
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    listed = domain.values()
    assert listed is not None
    return listed[int(share * len(listed))]


def is_whole(domain: Domain) -> bool:
    """Does it hold no number with a fraction?"""
    match domain:
        case Uniform(step=step, uniform=(low, _)):
            return step is not None and step.is_integer() and low.is_integer()
        case LogUniform():
            return False
        case Choice(choice=listed) | Grid(grid=listed):
            return not any(isinstance(value, float) and not value.is_integer() for value in listed)
    return True


def is_unordered(domain: Domain) -> bool:
    """Does a sampler take its values for a list without order?"""
    drawn = domain.ratio.fractions() if isinstance(domain, Ratio) else domain
    return isinstance(drawn, Choice | Preset | Bundle | Grid)


def is_inexact(domain: Domain) -> bool:
    """Does a sampler draw its numbers as floats that it computes?"""
    drawn = domain.ratio.fractions() if isinstance(domain, Ratio) else domain
    return isinstance(drawn, Uniform | LogUniform)


def reads(domain: Domain) -> tuple[str, ...]:
    """Dotted paths of numbers that this domain's value is a share of."""
    return (domain.ratio.of,) if isinstance(domain, Ratio) else ()


def _refuse_repeats(values: tuple[Scalar, ...]) -> None:
    times = Counter((type(value), value) for value in values)
    if repeats := sorted({repr(value) for (_, value), count in times.items() if count > 1}):
        raise ValueError(f"{', '.join(repeats)} stands here more than once; list each value once")


def _refuse_empty(bounds: tuple[float, float], step: float | None) -> None:
    low, high = bounds
    if low >= high:
        raise ValueError(f"the range {low} to {high} is empty; write [low, high] with low < high, or fix it under run")
    if step is not None and step > high - low:
        raise ValueError(f"step {step} is larger than the range {low} to {high}; make it at most {high - low:g}")
    if step is not None and high - low > EXACT * step:
        raise ValueError(f"step {step} makes more than 2^53 values of {low} to {high}; make it larger, or leave it out")

"""Which points of a sweep's space are valid runs, and which of their settings are to blame where they are none."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

from pydantic import ValidationError

from cogito_ray.base_spec import brief
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.domains import Bundle, Preset, Sample, Scalar
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.search_space import Space
from cogito_ray.sweeps.space.space_points import drawn, listing, named
from cogito_ray.sweeps.space.validation_messages import explain

WAYS = 20_000
"""Sets of as many axes that are gone through in search of those to blame."""


@dataclass(frozen=True)
class Tried:
    """Points of a space, each tried as a run."""

    points: list[Sample]
    runs: dict[int, RunSpec]
    """The valid ones, by their places in `points`."""
    faults: dict[str, int]
    """What is wrong with the others: the places of each fault, as bits."""


def tried(space: Space, points: Iterable[Sample]) -> Tried:
    """Each of these points as a run. A few milliseconds each."""
    seen = Tried(list(points), {}, {})
    for number, point in enumerate(seen.points):
        tree: Tree = {}
        try:
            seen.runs[number] = RunSpec.model_validate(tree := space.tree(point))
        except ValidationError as error:
            for line in explain(error, tree, RunSpec):
                seen.faults[line] = seen.faults.get(line, 0) | 1 << number
        except ValueError as error:
            seen.faults[str(error)] = seen.faults.get(str(error), 0) | 1 << number
    return seen


def certain(space: Space) -> list[Sample]:
    """Points that a sweep must be able to run: all that are made of values which its file names, or its grid walks.

    Where they are many, corners of the space, and some that a grid walks. What lies inside of ranges is not among them:
    a sampler that draws an invalid point there draws another.
    """
    walked = space.is_grid
    few = (listing if walked else named)(space.ordered, space.exclude)
    if few is None:
        return [*space.corners(), *(drawn(space.ordered, space.exclude) if walked else ())]
    return few


def refused(seen: Tried, space: Space) -> Iterator[str]:
    """What is wrong with points that must be valid runs, under the settings that are to blame."""
    for fault, where in seen.faults.items():
        yield from _blamed(fault, where, seen, space)


def tried_in_all(space: Space) -> tuple[str, list[str]]:
    """How many points of a sound sweep were tried, and what to know of those inside of its ranges."""
    few = listing(space.ordered, space.exclude)
    inside = tried(space, drawn(space.ordered, space.exclude) if few is None else few)
    count = len(inside.points) + (len(certain(space)) if few is None else 0)
    notes, where = [], "drawn from the space" if few is None else "of the space"
    if lost := len(inside.points) - len(inside.runs):
        example = next(_blamed(*next(iter(inside.faults.items())), inside, space))
        notes.append(
            f"{lost} of {len(inside.points)} points {where} are no valid runs, and a sampler that draws one draws "
            f"again: {example}"
        )
    return f"{'' if few is None else 'all '}{count} points tried", notes


def _blamed(fault: str, where: int, seen: Tried, space: Space) -> Iterator[str]:
    """The fewest settings that explain why `fault` occurs at the points `where` and at no other."""
    having = dict[tuple[str, str], int]()
    for number, point in enumerate(seen.points):
        for path, value in point.items():
            having[path, repr(value)] = having.get((path, repr(value)), 0) | 1 << number
    left = where
    for size in (size for size in range(4) if comb(len(space.axes), size) <= WAYS):
        for number in _places(where):
            for paths in combinations(space.axes, size):
                held = {path: seen.points[number][path] for path in paths if path in seen.points[number]}
                same = (1 << len(seen.points)) - 1
                for path, value in held.items():
                    same &= having[path, repr(value)]
                if left >> number & 1 and not same & ~where:
                    left &= ~same
                    yield _line(fault, held, space)
                    break
    if left:
        yield _line(fault, seen.points[(left & -left).bit_length() - 1], space)


def _line(fault: str, held: Sample, space: Space) -> str:
    """`fault` under the place of the settings that bring it about."""
    if not held:
        first = re.split(r"[:. ]", fault)[0]
        return f"run.{fault}" if first in RunSpec.model_fields or first in space.run else f"run: {fault}"
    for path in held:
        fault = fault.removeprefix(f"{path}.").removeprefix(f"{path}: ")
    return f"{' with '.join(_place(path, value, space) for path, value in held.items())}: {fault}"


def _place(path: str, value: Scalar, space: Space) -> str:
    named = isinstance(space.axes[path], Preset | Bundle)
    return f"space.{path}.{value}" if named else f"space.{path}={value if isinstance(value, str) else brief(value)}"


def _places(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]

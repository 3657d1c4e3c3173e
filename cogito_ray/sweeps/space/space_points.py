"""Points of a space: counted without listing them, listed as far as somebody asks, and drawn. Pure.

A space is its axes in an order in which each stands after those that it depends on.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate, chain, combinations, islice
from math import prod

from cogito_ray.sweeps.space.domains import Domain, Sample, Scalar, at

Axes = Mapping[str, Domain]
Listed = Mapping[str, Sequence[Scalar]]
"""Values of axes, which may be too many to go through."""
FEW = 512
"""Points that are all tried as runs; of more, at most as many corners are, and DRAWN others."""
DRAWN = 256
TRIES = 20
"""Times that another completion of a pair of extremes is drawn, where a combination is left out."""
UNNAMED = "\0unnamed"
"""Stands for all values of an axis that no condition names."""


def count(axes: Axes, listed: Listed) -> int:
    """How many combinations these values have, each without axes that do not vary there."""
    conditions = [path for path in listed if any(path in domain.when for domain in axes.values())]

    def further(number: int, sample: Sample) -> int:
        if number == len(conditions):
            return prod(len(listed[path]) for path in listed if path not in conditions and axes[path].applies(sample))
        path = conditions[number]
        if not axes[path].applies(sample):
            return further(number + 1, sample)
        values = {value for domain in axes.values() for value in domain.conditions().get(path, ())}
        named = [value for value in values if value in listed[path]]
        rest = len(listed[path]) - len(named)
        return sum(further(number + 1, sample | {path: value}) for value in named) + (
            rest * further(number + 1, sample | {path: UNNAMED}) if rest else 0
        )

    return further(0, {})


def combined(axes: Axes, listed: Listed, exclude: Collection[Sample] = ()) -> Iterator[Sample]:
    """Each combination once, one after the other, but those that are left out."""
    return (sample for _, sample in _combined(axes, listed, _by_last(listed, exclude), list(listed), {}))


def in_order(axes: Axes, listed: Listed, exclude: Collection[Sample], names: Sequence[str]) -> list[Sample]:
    """All of them, as the axes `names` count: the last one first."""
    found = list(_combined(axes, listed, _by_last(listed, exclude), list(listed), {}))
    found.sort(key=lambda one: [one[0].get(name, 0) for name in names])
    return [{name: sample[name] for name in names if name in sample} for _, sample in found]


Holes = Mapping[tuple[str, Scalar], Sequence[Sample]]
"""Combinations that are left out, by the last of their values."""


def _by_last(paths: Collection[str], exclude: Collection[Sample]) -> Holes:
    order, found = {path: place for place, path in enumerate(paths)}, dict[tuple[str, Scalar], list[Sample]]()
    for hole in exclude:
        if hole.keys() <= order.keys():
            last = max(hole, key=order.__getitem__)
            found.setdefault((last, hole[last]), []).append(hole)
    return found


def _combined(
    axes: Axes, listed: Listed, holes: Holes, left: list[str], sample: Sample
) -> Iterator[tuple[dict[str, int], Sample]]:
    """With the places of their values."""
    if not left:
        yield {}, sample
        return
    path, *left = left
    if not axes[path].applies(sample):
        yield from _combined(axes, listed, holes, left, sample)
        return
    for place, value in enumerate(listed[path]):
        longer = sample | {path: value}
        if not left_out(longer, holes.get((path, value), ())):
            for places, found in _combined(axes, listed, holes, left, longer):
                yield places | {path: place}, found


def listing(axes: Axes, exclude: Collection[Sample]) -> list[Sample] | None:
    """Every point, where there are at most FEW; None where there are more."""
    values = {path: domain.values() for path, domain in axes.items()}
    listed = {path: found for path, found in values.items() if found is not None}
    if len(listed) < len(axes):
        return None
    found = list(islice(combined(axes, listed, exclude), FEW + 1))
    return found if len(found) <= FEW else None


def named(axes: Axes, exclude: Collection[Sample]) -> list[Sample] | None:
    """Every point that is made of extremes, where the space has at most FEW."""
    few, extremes = listing(axes, exclude), {path: set(domain.extremes()) for path, domain in axes.items()}
    if few is None:
        return None
    return [point for point in few if all(value in extremes[path] for path, value in point.items())]


def corners(axes: Axes, exclude: Collection[Sample]) -> Iterator[Sample]:
    """Points that touch every pair of extremes of every two axes; of more than FEW a share, and every value once.

    The other axes are at their first value where they vary, or where the point is left out, at others.
    """
    extremes, draw = {path: domain.extremes() for path, domain in axes.items()}, random.Random(0)
    first = {path: values[0] for path, values in extremes.items()}
    held = {path: _where(axes, path) for path in axes}
    few, holes, seen = named(axes, exclude), _by_last(axes, exclude), set()
    for pair in _pairs(extremes, draw):
        fixed = {key: value for path in pair for key, value in held[path].items()} | pair
        others: Iterator[Sample] = (
            ({path: draw.choice(values) for path, values in extremes.items()} for _ in range(TRIES))
            if few is None
            else (point for point in few if fixed.items() <= point.items())
        )
        tried = (within(axes, start | fixed) for start in chain([first], others))
        corner = next((sample for sample in tried if not _is_hole(sample, holes)), None)
        if corner is not None and (key := tuple(map(repr, corner.items()))) not in seen:
            seen.add(key)
            yield corner


def _pairs(extremes: Listed, draw: random.Random) -> Iterator[Sample]:
    """As many, each as the values that are given."""
    twos = list(combinations(extremes, 2)) or [(path, path) for path in extremes]
    ends = list(accumulate(len(extremes[one]) * (len(extremes[two]) if one != two else 1) for one, two in twos))
    places: Sequence[int] = range(ends[-1])
    if ends[-1] > FEW:
        longest = min(FEW // 2, max(map(len, extremes.values())))
        yield from ({path: values[n % len(values)] for path, values in extremes.items()} for n in range(longest))
        places = sorted(draw.sample(places, FEW - longest))
    which = 0
    for place in places:
        while place >= ends[which]:
            which += 1
        one, two = twos[which]
        high, low = divmod(place - (ends[which - 1] if which else 0), len(extremes[two]))
        yield {one: extremes[one][high], two: extremes[two][low]} if one != two else {one: extremes[one][low]}


def _where(axes: Axes, path: str) -> Sample:
    """Values of other axes under which the axis varies."""
    found = {other: values[0] for other, values in axes[path].conditions().items()}
    for other in list(found):
        found = _where(axes, other) | found
    return found


def drawn(axes: Axes, exclude: Collection[Sample]) -> list[Sample]:
    """DRAWN points anywhere in the space, fewer where it has few: at random, but always the same ones."""
    draw, holes = random.Random(0), _by_last(axes, exclude)

    def samples() -> Iterator[Sample]:
        for _ in range(DRAWN * TRIES):
            sample: Sample = {}
            for path, domain in axes.items():
                share = draw.random()
                if domain.applies(sample):
                    sample[path] = at(domain, share)
            if not _is_hole(sample, holes):
                yield sample

    return list({repr(one): one for one in islice(samples(), DRAWN)}.values())


def within(axes: Axes, sample: Sample) -> Sample:
    """The sample without axes that do not vary there."""
    kept: Sample = {}
    for path, domain in axes.items():
        if path in sample and domain.applies(kept):
            kept[path] = sample[path]
    return kept


def left_out(sample: Sample, exclude: Collection[Sample]) -> bool:
    """Is it one of these combinations?"""
    return any(hole.items() <= sample.items() for hole in exclude)


def _is_hole(sample: Sample, holes: Holes) -> bool:
    return any(left_out(sample, holes[item]) for item in sample.items() if item in holes)

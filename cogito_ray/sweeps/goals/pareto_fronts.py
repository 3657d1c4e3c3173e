"""Trials in order of merit for several goals: by non-dominated front, within a front by hypervolume or by spread.

Fronts as in NSGA-II (10.1109/4235.996017); hypervolumes and fronts are moocore's. Spread is the order in which a greedy
net over the front takes its points, each as far as possible from those before (as in multi-objective ASHA,
arXiv:2106.12639): cut anywhere, what was taken covers the front. Infeasible points come after all feasible ones, and
what is not finite comes last. By hypervolume, which ranks what has ended, the least infeasible come first. By spread,
which compares what is half-way, they are ordered by fronts of their own, in which the violation is one more goal: a
constraint need only hold at the end, so that who breaks it a little more but is far better in a goal is not given up.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import moocore
import numpy as np
from numpy.typing import NDArray

from cogito_ray.sweeps.goals.goal_spec import Merit

Costs: TypeAlias = NDArray[np.float64]
"""(n points, m goals), all finite, the smaller the better."""
MARGIN = 0.1
"""The reference point lies this share of each goal's range beyond its worst value, so that extremes count."""


def fronts(merits: Sequence[Merit]) -> list[int | None]:
    """The front each feasible point is on, from 1; None for others."""
    placed: list[int | None] = [None] * len(merits)
    feasible = [index for index, merit in enumerate(merits) if merit.feasible]
    if feasible:
        layers = moocore.pareto_rank(_costs(merits, feasible))
        for index, layer in zip(feasible, layers, strict=True):
            placed[index] = int(layer) + 1
    return placed


def by_hypervolume(merits: Sequence[Merit]) -> list[int]:
    """Indices, best first; within a front, those whose loss would cost the front most hypervolume come first."""
    placed = fronts(merits)
    layers: dict[int, list[int]] = {}
    for index, front in enumerate(placed):
        if front is not None:
            layers.setdefault(front, []).append(index)
    everything = _costs(merits, [index for layer in layers.values() for index in layer])
    ordered = [
        layer[at] for _, layer in sorted(layers.items()) for at in _by_contribution(_costs(merits, layer), everything)
    ]
    rest = [index for index, front in enumerate(placed) if front is None]
    return ordered + sorted(rest, key=lambda index: (_misery(merits[index]), index))


def place_by_spread(merits: Sequence[Merit]) -> int:
    """How many come before the first of `merits`.

    Within a front, each goal's best comes first, then what is farthest from those taken. Among equals it is ahead.
    """
    first = merits[0]
    if len(first.costs) == 1 and first.feasible:  # a front is one value then, and there are as many as trials
        return sum(merit.feasible and merit.costs < first.costs for merit in merits)
    before = 0
    for members, scaled in _layers(merits):
        if 0 in members:
            return before + _by_net(scaled).index(members.index(0))
        before += len(members)
    return before


def by_spread(merits: Sequence[Merit], count: int) -> list[int]:
    """Indices of the best `count` finite ones, best first, in the order of `place_by_spread`; the earlier of equals."""
    feasible = [index for index, merit in enumerate(merits) if merit.feasible]
    if len(feasible) >= count and feasible and len(merits[0].costs) == 1:
        return sorted(feasible, key=lambda index: merits[index].costs)[:count]
    taken = list[int]()
    for members, scaled in _layers(merits):
        if len(taken) >= count:
            break
        taken += [members[at] for at in _by_net(scaled)]
    return taken[:count]


def hypervolume(costs: Costs, reference: Sequence[float]) -> float:
    """What the points (n, m) dominate up to the reference point (m); for one goal, the best one's lead on it."""
    if not len(costs):
        return 0.0
    if len(reference) == 1:
        return max(0.0, reference[0] - float(costs.min()))
    return float(moocore.hypervolume(costs, ref=reference))


def _layers(merits: Sequence[Merit]) -> Iterator[tuple[list[int], Costs]]:
    """The finite ones, front by front, with costs scaled by their range over all feasible, or all infeasible ones."""
    feasible = [index for index, merit in enumerate(merits) if merit.feasible]
    infeasible = [index for index, merit in enumerate(merits) if merit.finite and not merit.feasible]
    if feasible:
        yield from _fronts_of(feasible, _costs(merits, feasible))
    if infeasible:
        violations = np.array([[merits[index].excess] for index in infeasible])
        known = violations[np.isfinite(violations)]
        unmeasured = float(known.max()) + 1.0 if len(known) else 0.0
        violations = np.where(np.isfinite(violations), violations, unmeasured)
        yield from _fronts_of(infeasible, np.hstack([_costs(merits, infeasible), violations]))


def _fronts_of(members: list[int], costs: Costs) -> Iterator[tuple[list[int], Costs]]:
    scaled, places = _scaled(costs, costs), np.asarray(moocore.pareto_rank(costs))
    for layer in np.unique(places):
        (at,) = np.nonzero(places == layer)
        yield [members[index] for index in at], scaled[at]


def _misery(merit: Merit) -> tuple[bool, float]:
    """By what infeasible trials are sorted: those that measured nothing finite come last."""
    return not merit.finite, merit.excess


def _by_contribution(front: Costs, everything: Costs) -> list[int]:
    if front.shape[1] == 1:
        return list(range(len(front)))
    scaled = _scaled(front, everything)
    gained = moocore.hv_contributions(scaled, ref=[1 + MARGIN] * front.shape[1])
    return [int(index) for index in np.argsort(-gained, kind="stable")]


def _by_net(scaled: Costs) -> list[int]:
    taken = list(dict.fromkeys(int(index) for index in scaled.argmin(axis=0)))
    gaps = np.min([np.linalg.norm(scaled - scaled[index], axis=1) for index in taken], axis=0)  # (n,)
    while len(taken) < len(scaled):
        gaps[taken] = -1.0
        taken.append(int(gaps.argmax()))
        gaps = np.minimum(gaps, np.linalg.norm(scaled - scaled[taken[-1]], axis=1))
    return taken


def _scaled(front: Costs, everything: Costs) -> Costs:
    """The front with each goal's range over all feasible points mapped to 0 ... 1."""
    low, span = everything.min(axis=0), np.ptp(everything, axis=0)
    scaled: Costs = (front - low) / np.where(span > 0, span, 1.0)
    return scaled


def _costs(merits: Sequence[Merit], members: Sequence[int]) -> Costs:
    return np.array([merits[index].costs for index in members], dtype=np.float64)

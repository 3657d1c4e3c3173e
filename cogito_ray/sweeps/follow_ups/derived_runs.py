"""How a run differs from the trial of which it is made, its seed among it, and whether it may. Pure."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import JsonValue, ValidationError

from cogito_ray.base_spec import brief, did_you_mean
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.follow_ups import horizon_rules
from cogito_ray.sweeps.space.domains import Sample, reads, written
from cogito_ray.sweeps.space.dotted_paths import Tree, above, default_at, get, kinds_at, near, overlap
from cogito_ray.sweeps.space.search_space import Space, write
from cogito_ray.sweeps.space.validation_messages import explain

MOST_SEEDS = 100
"""Of one run: more tell nothing new."""


def other_seeds(seed: int, count: int) -> list[int]:
    """`count` seeds that differ from `seed` and from each other; the first ones stay when more are asked for."""
    found: list[int] = []
    for number in range(2 * count + 1):
        drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)
        if drawn != seed and drawn not in found:
            found.append(drawn)
    return found[:count]


SEED, BRANCH = "seed", "branch"


@dataclass(frozen=True)
class Derivation:
    """Settings that replace or multiply a trial's own; what it found in the space stays."""

    place: str
    """The sweep's key that asks for it, ..."""
    key: str
    """... and the one below it that holds `overrides`."""
    overrides: Mapping[str, JsonValue]
    """What a run has instead, by dotted path."""
    scale: Mapping[str, float] = field(default_factory=dict)
    """How many times a trial's number a run has, by dotted path."""
    rules: tuple[horizon_rules.RuleName, ...] = ()
    """By which further settings follow from these; none changes what is overridden or multiplied."""
    noun: str = "a full run"

    def tree(self, space: Space, sample: Sample) -> Tree:
        """The run: the trial's sample over the changed base run, and what follows by rules."""
        return self.explained(space, sample)[0]

    def explained(self, space: Space, sample: Sample) -> tuple[Tree, Mapping[str, list[str]]]:
        """The run, and the rules by which settings of it follow, by dotted path. ValidationError where rules are asked
        about what is no run."""
        base = copy.deepcopy(space.run)
        for path in sorted(self.overrides, key=lambda path: path.count(".")):
            write(base, path, self.overrides[path])
        tree = space.written(base, sample, self.scale)
        if not self.rules:
            return tree, {}
        return tree, horizon_rules.follow(self.rules, space.trial(sample), tree, [*self.overrides, *self.scale])

    def undeclared(self, changes: Iterable[str], space: Space) -> list[str]:
        """Those of the lines `place: old -> new` that neither are declared nor follow from what is."""
        declared = [*self.overrides, *self.scale, SEED, BRANCH]     # a full run is no copy that branches off
        declared += horizon_rules.WRITTEN if self.rules else ()
        for path in space.ordered:
            if any(overlap(read, other) for read in reads(space.axes[path]) for other in declared):
                declared.append(path)
        return [line for line in changes if not any(overlap(line.partition(":")[0], path) for path in declared)]

    def faults(self, space: Space, points: list[Sample], *, may_be_idle: bool = False) -> Iterator[str]:
        """What is wrong with such runs of this space, of which these points are valid ones. `may_be_idle`: settings may
        be what every trial has already."""
        found = [*self._unknown(), *self._lost(space), *self._unscalable(space)]
        if not found and not may_be_idle:
            found += self._idle(space, points)
        found = found or [*replace(self, rules=())._run_faults(space, points)] or [*self._run_faults(space, points)]
        yield from found or ([] if may_be_idle else self._idle_rules(space, points))

    def _unknown(self) -> Iterator[str]:
        for key, path in [*((self.key, path) for path in self.overrides), *(("scale", path) for path in self.scale)]:
            if not kinds_at(RunSpec, path):
                meant = did_you_mean(near(RunSpec, path), list(RunSpec.model_fields))
                yield f"{self.place}.{key}.{path}: there is no such setting in a run; {meant}"
            if path == SEED:
                yield f"{self.place}.{key}.seed: say how many seeds with {self.place}.seeds"

    def _lost(self, space: Space) -> Iterator[str]:
        for path in self.overrides:
            wide = {path, *above(path)}
            if searched := [axis for axis, domain in space.axes.items() if not wide.isdisjoint(written(axis, domain))]:
                yield (
                    f"{self.place}.{self.key}.{path}: the sweep searches over {', '.join(searched)}, and {self.noun} "
                    "keeps what it found; leave it out, or, in a full run, multiply it under promote.scale"
                )

    def _unscalable(self, space: Space) -> Iterator[str]:
        for path, factor in self.scale.items():
            place, kinds = f"{self.place}.scale.{path}", kinds_at(RunSpec, path)
            if kinds and not {int, float} & kinds:
                yield f"{place}: is no number of a run; set it under {self.place}.{self.key}"
            if factor == 1:
                yield f"{place}: 1 times a number is that number; leave it out"
            if given := [other for other in self.overrides if overlap(other, path)]:
                yield f"{place}: {self.place}.{self.key}.{given[0]} sets it already; keep one"
            if path in space.axes and (read := reads(space.axes[path])):
                yield f"{place}: is a share of {read[0]} and grows with it; leave it out"

    def _idle(self, space: Space, points: list[Sample]) -> Iterator[str]:
        trees = [space.tree(point) for point in points]
        for path, value in self.overrides.items():
            if all((get(tree, path) or default_at(RunSpec, path)) == value for tree in trees):
                yield f"{self.place}.{self.key}.{path}: every trial has {brief(value)} there already; leave it out"

    def _idle_rules(self, space: Space, points: list[Sample]) -> Iterator[str]:
        followed = {name for point in points for names in self.explained(space, point)[1].values() for name in names}
        for name in dict.fromkeys(self.rules):
            if name not in followed:
                yield (
                    f"{self.place}.rules: {name} changes no full run: what it goes by is as in the trials, or what it "
                    "would set is set already; leave it out"
                )

    def _run_faults(self, space: Space, points: list[Sample]) -> Iterator[str]:
        for point in points:
            full: Tree = {}
            try:
                RunSpec.model_validate(full := self.tree(space, point))
            except ValidationError as error:
                yield from map(self._placed, explain(error, full, RunSpec))
            except ValueError as error:
                yield f"{self.place}: {self.noun} would be none: {error}"

    def _placed(self, fault: str) -> str:
        """A fault of a run under the override that brings it about, if it is told of that place."""
        place = re.split("[:= ]", fault, maxsplit=1)[0]
        own = any(overlap(place, path) for path in self.overrides)
        return f"{self.place}.{self.key}.{fault}" if own else f"{self.place}: {self.noun} would be none: {fault}"


def with_seeds(tree: Tree, count: int) -> list[Tree]:
    """The run under so many seeds, its own first."""
    own = tree.get(SEED)
    first = own if isinstance(own, int) else 0
    return [tree | {SEED: seed} for seed in (first, *other_seeds(first, count - 1))]

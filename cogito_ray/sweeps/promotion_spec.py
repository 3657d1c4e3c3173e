"""Full runs from a sweep's winners: what may be scaled up, and nothing else. Pure."""

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Self

from pydantic import ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt, ValidationError, model_validator

from cogito_ray.base_spec import Spec, brief, did_you_mean
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.run_seeds import MOST_SEEDS, other_seeds
from cogito_ray.sweeps.space.domains import Sample, reads, written
from cogito_ray.sweeps.space.dotted_paths import Tree, above, default_at, get, kinds_at, near, overlap
from cogito_ray.sweeps.space.search_space import Space, write
from cogito_ray.sweeps.space.validation_messages import explain

SEED, BRANCH = "seed", "branch"


class PromoteSpec(Spec):
    """`cogito-ray promote` trains the best trials again at full size. A sweep does not start such runs by itself.

    A full run is the trial's point of the space over the changed base run: shares of a number that grows grow with it.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    top: PositiveInt = 1
    """Trials, from the best down."""
    overrides: dict[str, JsonValue] = Field(default={}, alias="with", examples=[{"training.steps": 50000}])
    """What a full run has instead, by dotted path."""
    scale: dict[str, PositiveFloat] = Field(default={}, examples=[{"model.width": 4}])
    """How many times a trial's number a full run has, by dotted path, also where the sweep searches over it."""
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS)
    """Full runs of each, the trial's own seed first."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.overrides and not self.scale:
            raise ValueError("a full run would be its trial again; say what it has instead: with: {training.steps: N}")
        return self

    def trees(self, space: Space, sample: Sample) -> list[Tree]:
        """The full runs that are made of a trial, one per seed: its sample over the changed base run."""
        base = copy.deepcopy(space.run)
        for path in sorted(self.overrides, key=lambda path: path.count(".")):
            write(base, path, self.overrides[path])
        full = space.written(base, sample, self.scale)
        own = full.get(SEED)
        first = own if isinstance(own, int) else 0
        return [full | {SEED: seed} for seed in (first, *other_seeds(first, self.seeds - 1))]

    def undeclared(self, changes: Iterable[str], space: Space) -> list[str]:
        """Those of the lines `place: old -> new` that neither are declared nor follow from what is."""
        declared = [*self.overrides, *self.scale, SEED, BRANCH]     # a full run is no copy that branches off
        for path in space.ordered:
            if any(overlap(read, other) for read in reads(space.axes[path]) for other in declared):
                declared.append(path)
        return [line for line in changes if not any(overlap(line.partition(":")[0], path) for path in declared)]

    def faults(self, space: Space, points: list[Sample]) -> Iterator[str]:
        """What is wrong with promoting from this space, of which these points are valid runs."""
        found = [*self._unknown(), *self._lost(space), *self._unscalable(space)]
        yield from found or self._full_run_faults(space, points)

    def _unknown(self) -> Iterator[str]:
        for place, path in [*(("with", path) for path in self.overrides), *(("scale", path) for path in self.scale)]:
            if not kinds_at(RunSpec, path):
                meant = did_you_mean(near(RunSpec, path), list(RunSpec.model_fields))
                yield f"promote.{place}.{path}: there is no such setting in a run; {meant}"
            if path == SEED:
                yield f"promote.{place}.seed: say how many seeds with promote.seeds"

    def _lost(self, space: Space) -> Iterator[str]:
        for path in self.overrides:
            wide = {path, *above(path)}
            if searched := [axis for axis, domain in space.axes.items() if not wide.isdisjoint(written(axis, domain))]:
                yield (
                    f"promote.with.{path}: the sweep searches over {', '.join(searched)}, and a full run keeps what it "
                    "found; leave it out, or multiply it under promote.scale"
                )

    def _unscalable(self, space: Space) -> Iterator[str]:
        for path, factor in self.scale.items():
            place, kinds = f"promote.scale.{path}", kinds_at(RunSpec, path)
            if kinds and not {int, float} & kinds:
                yield f"{place}: is no number of a run; set it under promote.with"
            if factor == 1:
                yield f"{place}: 1 times a number is that number; leave it out"
            if given := [other for other in self.overrides if overlap(other, path)]:
                yield f"{place}: promote.with.{given[0]} sets it already; keep one"
            if path in space.axes and (read := reads(space.axes[path])):
                yield f"{place}: is a share of {read[0]} and grows with it; leave it out"

    def _full_run_faults(self, space: Space, points: list[Sample]) -> Iterator[str]:
        trees = [space.tree(point) for point in points]
        for path, value in self.overrides.items():
            if all((get(tree, path) or default_at(RunSpec, path)) == value for tree in trees):
                yield f"promote.with.{path}: every trial has {brief(value)} there already; leave it out"
        for point in points:
            full: Tree = {}
            try:
                RunSpec.model_validate(full := self.trees(space, point)[0])
            except ValidationError as error:
                yield from map(self._placed, explain(error, full, RunSpec))
            except ValueError as error:
                yield f"promote: a full run would be none: {error}"

    def _placed(self, fault: str) -> str:
        """A fault of a full run under the override that brings it about, if it is told of that place."""
        place = re.split("[:= ]", fault, maxsplit=1)[0]
        own = any(overlap(place, path) for path in self.overrides)
        return f"promote.with.{fault}" if own else f"promote: a full run would be none: {fault}"

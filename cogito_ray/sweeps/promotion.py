"""Full runs from a sweep's winners: what may be scaled up, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, JsonValue, PositiveInt, ValidationError

from cogito_ray.run import RunSpec
from cogito_ray.spec import Spec, explain
from cogito_ray.sweeps.paths import Tree, default_at, get, kinds_at, near, overlap, put
from cogito_ray.sweeps.replication import other_seeds

if TYPE_CHECKING:
    from cogito_ray.sweeps.spec import SweepSpec

SEED = "seed"


class PromoteSpec(Spec):
    """`cogito-ray promote` trains the best trials again at full size. A sweep does not start such runs by itself."""

    model_config = ConfigDict(serialize_by_alias=True)

    top: PositiveInt = 1
    """Trials, from the best down."""
    scaled: Annotated[dict[str, JsonValue], Field(alias="with", min_length=1, examples=[{"training.steps": 50000}])]
    """What a full run has instead, by dotted path. In nothing else may it differ from its trial."""
    seeds: PositiveInt = 1
    """Full runs of each, the trial's own seed first."""

    def trees(self, trial: Tree) -> list[Tree]:
        """The full runs of a trial, one per seed."""
        seed = get(trial, SEED)
        own = seed if isinstance(seed, int) else 0
        found = []
        for used in [own, *other_seeds(own, self.seeds - 1)]:
            tree = deepcopy(trial) | {SEED: used}
            for path, value in self.scaled.items():
                put(tree, path, value)
            found.append(tree)
        return found

    def undeclared(self, changes: list[str]) -> list[str]:
        """Those of the lines `place: old -> new` that are not declared as scaled."""
        declared = [*self.scaled, SEED]
        return [line for line in changes if not any(overlap(line.partition(":")[0], path) for path in declared)]

    def faults(self, sweep: SweepSpec) -> Iterator[str]:
        """What is wrong with promoting from this sweep, whose corners are all valid runs."""
        unknown = [path for path in self.scaled if not kinds_at(RunSpec, path)]
        for path in unknown:
            known = near(RunSpec, path)
            yield f"promote.with.{path}: there is no such setting in a run; did you mean {' or '.join(known) or '?'}"
        for path in self.scaled:
            if searched := [axis for axis in sweep.space if overlap(axis, path)]:
                yield (
                    f"promote.with.{path}: the sweep searches over {', '.join(searched)}; "
                    "a full run would lose what it found, so leave it out"
                )
            if path == SEED:
                yield "promote.with.seed: say how many seeds with promote.seeds"
        if not unknown:
            yield from self._corner_faults([sweep.tree(corner) for corner in sweep.corners()])

    def _corner_faults(self, trees: list[Tree]) -> Iterator[str]:
        for path, value in self.scaled.items():
            if all((get(tree, path) or default_at(RunSpec, path)) == value for tree in trees):
                yield f"promote.with.{path}: every trial has {value!r} there already; leave it out"
        for tree in trees:
            try:
                RunSpec.model_validate(self.trees(tree)[0])
            except ValidationError as error:
                yield from (f"promote.with: a full run would be none: {line}" for line in explain(error))
            except ValueError as error:
                yield f"promote.with: a full run would be none: {error}"

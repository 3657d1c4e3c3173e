"""A ladder of sizes: the runs from which a sweep foretells what its full runs will reach. Pure."""

import itertools
import math
from collections.abc import Iterator
from typing import Self

from pydantic import Field, JsonValue, model_validator

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.follow_ups.derived_runs import Derivation, with_seeds
from cogito_ray.sweeps.follow_ups.horizon_rules import RuleName
from cogito_ray.sweeps.follow_ups.promotion_spec import PromoteSpec
from cogito_ray.sweeps.follow_ups.run_seeds import MOST_SEEDS
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.search_space import Space

FEWEST_RUNGS = 3
"""Of a law: fewer show no curvature."""


class ScaleSpec(Spec):
    """A ladder of smaller runs of the trials that `promote` takes. A scaling law that is fitted to what they reach
    foretells each full run, with an interval, before it starts; afterwards the forecast is judged by it."""

    sizes: dict[str, tuple[JsonValue, ...]] = Field(
        min_length=1, examples=[{"model.width": [64, 128], "training.steps": [100, 200, 400]}]
    )
    """Values by dotted path, crossed: every combination is a rung, and the full run lies beyond them. What grows in the
    full run should grow along the ladder, too."""
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS)
    """Runs of each rung, the trial's own seed first. Several tell the noise of a seed from what the law leaves."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if (rungs := math.prod(len(values) for values in self.sizes.values())) < FEWEST_RUNGS:
            raise ValueError(f"sizes: {rungs} rungs, and a law needs {FEWEST_RUNGS}; list more values")
        return self

    def rungs(self) -> list[dict[str, JsonValue]]:
        """What each rung has instead of the trial's settings, by dotted path."""
        return [dict(zip(self.sizes, values, strict=True)) for values in itertools.product(*self.sizes.values())]

    def trees(
        self, space: Space, sample: Sample, rules: tuple[RuleName, ...] = ()
    ) -> list[tuple[dict[str, JsonValue], Tree]]:
        """Each rung with the run that it makes of a trial, by the rules of `promote`, once per seed."""
        return [
            (rung, tree)
            for rung in self.rungs()
            for tree in with_seeds(self._derivation(rung, rules).tree(space, sample), self.seeds)
        ]

    def faults(self, space: Space, points: list[Sample], promote: PromoteSpec | None) -> Iterator[str]:
        """What is wrong with a ladder over this space, of which these points are valid runs."""
        if promote is None:
            yield "scale: foretells full runs, and there are none; say them: promote: {with: {training.steps: N}}"
        for rung in self.rungs():
            rules = promote.rules if promote else ()
            yield from self._derivation(rung, rules).faults(space, points, may_be_idle=True)

    def _derivation(self, rung: dict[str, JsonValue], rules: tuple[RuleName, ...]) -> Derivation:
        return Derivation("scale", "sizes", rung, rules=rules, noun="a rung")

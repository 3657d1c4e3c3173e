"""What may follow a sweep: full runs of its winners, a ladder of sizes that foretells them, and runs that tell which of
a winner's settings matter. Pure."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from pydantic import ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cogito_ray.base_spec import Spec
from cogito_ray.gate_spec import GateSpec
from cogito_ray.sweeps.follow_ups.derived_runs import MOST_SEEDS, Derivation, with_seeds
from cogito_ray.sweeps.follow_ups.horizon_rules import RuleName
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.search_space import Space


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
    rules: tuple[RuleName, ...] = Field(default=(), examples=[["rate_by_tokens", "decay_by_time_scale"]])
    """By which settings follow from how much longer a full run is and how much larger its batch; rungs of a ladder go
    by them, too. What `with` or `scale` sets stays. () = learning rate, weight decay and warm-up stay the trial's.
    rate_by_batch: the learning rate grows with the root of the batch. rate_by_tokens: it falls as tokens^-0.32.
    decay_by_time_scale: rate x weight decay x steps stays. warmup_by_steps: a warm-up keeps its share of the steps."""
    gates: tuple[GateSpec, ...] = Field(default=(), exclude_if=lambda gates: not gates)
    """What must hold of the sweep's winner, or of every trial of its front, before a full run starts. A person may
    promote all the same: `cogito-ray promote FILE promote.gates=[]`."""
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS)
    """Full runs of each, the trial's own seed first."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.overrides and not self.scale:
            raise ValueError("a full run would be its trial again; say what it has instead: with: {training.steps: N}")
        return self

    def trees(self, space: Space, sample: Sample) -> list[Tree]:
        """The full runs that are made of a trial, one per seed: its sample over the changed base run."""
        return with_seeds(self._derivation.tree(space, sample), self.seeds)

    def reasons(self, space: Space, sample: Sample) -> Mapping[str, list[str]]:
        """The rules by which settings of a trial's full runs follow, by dotted path."""
        return self._derivation.explained(space, sample)[1]

    def undeclared(self, changes: Iterable[str], space: Space) -> list[str]:
        """Those of the lines `place: old -> new` that neither are declared nor follow from what is."""
        return self._derivation.undeclared(changes, space)

    def faults(self, space: Space, points: list[Sample]) -> Iterator[str]:
        """What is wrong with promoting from this space, of which these points are valid runs."""
        yield from self._derivation.faults(space, points)

    @property
    def _derivation(self) -> Derivation:
        return Derivation("promote", "with", self.overrides, self.scale, self.rules)


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


class SimplifySpec(Spec):
    """Takes back each setting in which the winner differs from the base run, alone, and runs it again under the seeds
    that the winner is run again with, too; then takes back together what is not needed (cf. Ax's BONSAI)."""

    tolerance: float = Field(default=0.005, ge=0, lt=1)
    """Share of the goal's value that a setting may be worth at most, its interval included, not to be needed."""
    seeds: int = Field(default=3, ge=2, le=MOST_SEEDS)
    """Of each. They are those of `seeds`, so that runs which were made for it are not made again."""

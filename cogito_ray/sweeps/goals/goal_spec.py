"""What trials are ranked by: goals, and constraints that a trial must keep to count as a result at all."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from cogito_ray.base_spec import Spec, brief
from cogito_ray.gate_spec import COMPARE

NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"


class GoalSpec(Spec):
    """One metric to make small or large."""

    metric: str
    """One that every run reports, such as eval/reconstruction_nats."""
    mode: Literal["min", "max"]

    @property
    def sign(self) -> int:
        """By which a value becomes something to make small."""
        return {"min": 1, "max": -1}[self.mode]

    @property
    def minimised(self) -> bool:
        """Is less better?"""
        return self.sign > 0

    def cost(self, metrics: Mapping[str, float]) -> float:
        """The metric as something to make small; NaN where it was not measured."""
        return metrics.get(self.metric, math.nan) * self.sign


@dataclass(frozen=True)
class Bound:
    """A comparison with a number, such as `>= 0.45`."""

    sign: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = re.fullmatch(rf"(<=|>=|<|>) *({NUMBER})", text.strip())
        if found is None or not math.isfinite(float(found[2])):
            raise ValueError(f"{brief(text)} is no comparison with a number; write for example '>= 0.45'")
        return cls(found[1], float(found[2]))

    def holds(self, value: float) -> bool:
        """NaN holds nowhere."""
        return bool(COMPARE[self.sign](value, self.number))

    def excess(self, value: float) -> float:
        """How far `value` lies beyond the bound; at most 0 where it holds, infinite for NaN."""
        if math.isnan(value):
            return math.inf
        return (value - self.number) * (1 if self.sign.startswith("<") else -1)

    def __str__(self) -> str:
        return f"{self.sign} {self.number:g}"


def _closed(text: str) -> str:
    """The text of a bound that its number itself keeps, since NaN and equality must be decided."""
    if len(Bound.parse(text).sign) == 1:
        raise ValueError(f"{brief(text)} leaves its number out; write >= or <=")
    return text


BoundText = Annotated[
    str,
    AfterValidator(_closed),
    Field(examples=[">= 0.45"], json_schema_extra={"pattern": rf"^(<=|>=) *{NUMBER}$"}),
]


@dataclass(frozen=True)
class Aim:
    """Goals and constraints together: how good a trial's metrics are."""

    goals: tuple[GoalSpec, ...]
    constraints: Mapping[str, Bound]

    @classmethod
    def of(cls, goals: tuple[GoalSpec, ...], constraints: Mapping[str, str]) -> Self:
        """Constraints as the YAML says them: a bound such as `>= 0.45` per metric."""
        return cls(goals, {metric: Bound.parse(text) for metric, text in constraints.items()})

    def merit(self, metrics: Mapping[str, float]) -> "Merit":
        """Of what a trial measured at one step."""
        excess = sum(max(0.0, excess) for excess in self.excesses(metrics).values())
        return Merit(tuple(goal.cost(metrics) for goal in self.goals), excess)

    def excesses(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """How far each constraint is broken; at most 0 where it holds."""
        return {metric: bound.excess(metrics.get(metric, math.nan)) for metric, bound in self.constraints.items()}

    def broken(self, metrics: Mapping[str, float]) -> list[str]:
        """The constraints that do not hold, in words."""
        values = {metric: metrics.get(metric, math.nan) for metric in self.constraints}
        return [
            f"{metric} {values[metric]:.4g}, not {bound}"
            for metric, bound in self.constraints.items()
            if not bound.holds(values[metric])
        ]


@dataclass(frozen=True)
class Merit:
    """What is known of a trial at one step, for comparing it with others at the same step."""

    costs: tuple[float, ...]
    """One per goal, the smaller the better."""
    excess: float
    """Sum over constraints of how far each is broken; 0 = all hold."""

    @cached_property
    def finite(self) -> bool:
        """Was every goal measured, and is a number?"""
        return all(map(math.isfinite, self.costs))

    @cached_property
    def feasible(self) -> bool:
        """Are all constraints kept, too?"""
        return self.finite and self.excess == 0

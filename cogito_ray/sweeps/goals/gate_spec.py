"""Gates: rules that say what a result means, such as `if: concepts/nuclear_rank < 20, then: try slot attention`."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from cogito_ray.base_spec import Spec, brief
from cogito_ray.sweeps.goals.goal_spec import Bound

COMPARISON = re.compile(r"([^\s<>=]+)\s*([<>].*)")
"""A metric, and what it is compared with."""


class GateSpec(Spec):
    """Judged when the sweep ends, on the winner, or on every trial of the front where there are several goals."""

    model_config = ConfigDict(serialize_by_alias=True)

    condition: Annotated[str, Field(alias="if", examples=["concepts/nuclear_rank < 20"])]
    """`metric < number`, with one of < <= > >=; several are joined by `and`."""
    then: Annotated[str, Field(min_length=1)]
    """What follows if it holds."""

    @field_validator("condition")
    @classmethod
    def _sound(cls, condition: str) -> str:
        list(_parts(condition))
        return condition

    def parts(self) -> list[tuple[str, Bound]]:
        """Each metric with what it is compared with."""
        return list(_parts(self.condition))

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """What was not measured holds nowhere."""
        return all(bound.holds(metrics.get(metric, math.nan)) for metric, bound in self.parts())


def _parts(condition: str) -> Iterator[tuple[str, Bound]]:
    """Read, never run."""
    for part in re.split(r"\s+and\s+", condition.strip()):
        found = COMPARISON.fullmatch(part)
        if found is None:
            raise ValueError(f"{brief(part)} is no comparison with a number; write it like concepts/nuclear_rank < 20")
        yield found[1], Bound.parse(found[2])

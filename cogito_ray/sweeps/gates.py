"""Gates: rules that say what a result means, such as `if: concepts/nuclear_rank < 20, then: try slot attention`."""

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from cogito_ray.spec import Spec
from cogito_ray.sweeps.goals import Bound

AND = " and "


class GateSpec(Spec):
    """Judged when the sweep ends, on the winner, or on every trial of the front where there are several goals."""

    model_config = ConfigDict(serialize_by_alias=True)

    condition: Annotated[str, Field(alias="if", examples=["concepts/nuclear_rank < 20"])]
    """`metric < number`, with one of < <= > >=; several are joined by `and`."""
    then: Annotated[str, Field(min_length=1)]
    """What follows if it holds."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.parts()
        return self

    def parts(self) -> list[tuple[str, Bound]]:
        """Each metric with what it is compared with."""
        said = [part.strip().partition(" ") for part in self.condition.split(AND)]
        return [(metric, Bound.parse(comparison)) for metric, _, comparison in said]

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """What was not measured holds nowhere."""
        return all(bound.holds(metrics.get(metric, math.nan)) for metric, bound in self.parts())

"""Learning-rate schedules as pure functions of progress, so that resuming needs no scheduler state."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from cogito_ray.base_spec import Spec

Share = Annotated[float, Field(ge=0, le=1)]


class CosineSpec(Spec):
    """Linear warm-up, then half a cosine down to `floor` (arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup: Share = 0.05
    """Share of all steps spent rising from 0."""
    warmup_steps: NonNegativeInt | None = Field(default=None, exclude_if=lambda steps: steps is None)
    """Steps spent so, instead of a share."""
    floor: Share = 0.0
    """Last factor of the learning rate."""

    def factor(self, step: int, steps: int) -> float:
        """Factor of the learning rate in step `step` (from 1) of `steps`."""
        warmup = self.warmup if self.warmup_steps is None else min(1.0, self.warmup_steps / steps)
        done = max(0.0, step / steps - warmup) / max(1 - warmup, 1e-9)
        fall = self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
        return min(_rise(step, warmup * steps), fall)

    def lengthened(self, times: float) -> Self:
        """For so many times the steps, of which the warm-up keeps its share."""
        if self.warmup_steps is None:
            return self
        return self.model_copy(update={"warmup_steps": round(times * self.warmup_steps)})

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps is not None and self.warmup != type(self).model_fields["warmup"].default:
            raise ValueError("takes either warmup or warmup_steps; write one of them")
        return self


class StableDecaySpec(Spec):
    """Warm-up, a constant stretch, then a linear fall (warm-up-stable-decay, arXiv:2404.06395).

    Until the fall begins, the rate does not depend on the planned number of steps: rungs of runs with different
    budgets compare, which a cosine's do not.
    """

    kind: Literal["wsd"] = "wsd"
    warmup_steps: NonNegativeInt = 20
    """Steps spent rising from 0."""
    decay: Share = 0.2
    """Share of all steps spent falling, at the end."""
    floor: Share = 0.0
    """Last factor of the learning rate."""

    def factor(self, step: int, steps: int) -> float:
        """Factor of the learning rate in step `step` (from 1) of `steps`."""
        left = (steps - step + 1) / max(self.decay * steps, 1.0)
        return min(_rise(step, self.warmup_steps), self.floor + (1 - self.floor) * min(1.0, left))

    def lengthened(self, times: float) -> Self:
        """For so many times the steps, of which the warm-up keeps its share."""
        return self.model_copy(update={"warmup_steps": round(times * self.warmup_steps)})


ScheduleSpec = Annotated[CosineSpec | StableDecaySpec, Field(discriminator="kind")]


def _rise(step: int, warmup: float) -> float:
    return min(1.0, step / warmup) if warmup > 0 else 1.0

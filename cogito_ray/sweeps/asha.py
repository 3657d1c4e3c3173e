"""Asynchronous successive halving (ASHA, arXiv:1810.05934) as a pure policy, the variant that stops instead of pausing.

Rungs stand at first_rung * eta^k steps, below the last step. A trial that reaches a rung goes on if its value is among
the best 1/eta of those recorded there so far, itself included, and always if it is the best. Nothing waits for others.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cogito_ray.spec import Spec
from cogito_ray.sweeps.goals import Mode


class NoStoppingSpec(Spec):
    """Every trial runs to its last step."""

    kind: Literal["none"] = "none"

    def rungs(self, steps: int) -> tuple[int, ...]:
        return ()

    def faults(self, shortest: int) -> list[str]:
        return []

    def policy(self, steps: int, mode: Mode) -> "Asha":
        return Asha((), 2, mode)


class AshaSpec(Spec):
    kind: Literal["asha"] = "asha"
    first_rung: PositiveInt
    """Steps after which a trial may be stopped for the first time."""
    eta: int = Field(3, ge=2)
    """One in `eta` trials passes a rung; the next rung stands at `eta` times its steps."""

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Steps at which trials of `steps` steps are compared, ascending."""
        every = (self.first_rung * self.eta**k for k in count())
        return tuple(takewhile(lambda rung: rung < steps, every))

    def faults(self, shortest: int) -> list[str]:
        """What is wrong with this for a sweep whose shortest trial has `shortest` steps."""
        if self.first_rung < shortest:
            return []
        return [
            f"early_stopping.first_rung: {self.first_rung} is not before the last step ({shortest}) of every trial, "
            f"so that some are never compared; make it less than {shortest}, or use kind: none"
        ]

    def policy(self, steps: int, mode: Mode) -> "Asha":
        """A fresh policy for trials of `steps` steps."""
        return Asha(self.rungs(steps), self.eta, mode)


StoppingSpec = Annotated[NoStoppingSpec | AshaSpec, Field(discriminator="kind")]


@dataclass(frozen=True)
class Verdict:
    keep: bool
    rung: int | None = None
    """The rung, in steps, at which this was decided; None where none was reached."""


@dataclass
class Asha:
    """The values recorded at each rung. Fed the same reports in the same order it decides the same: so it resumes."""

    rungs: tuple[int, ...]
    eta: int
    mode: Mode
    _recorded: dict[int, dict[str, float]] = field(default_factory=dict)
    _verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)

    def report(self, trial: str, step: int, value: float) -> Verdict:
        """A trial's metric after `step` steps. It counts for the highest rung reached; each rung decides once."""
        rung = max((rung for rung in self.rungs if rung <= step), default=None)
        if rung is None:
            return Verdict(keep=True)
        if (trial, rung) not in self._verdicts:
            others = self._recorded.setdefault(rung, {})
            self._verdicts[trial, rung] = Verdict(decide(others.values(), value, eta=self.eta, mode=self.mode), rung)
            others[trial] = value
        return self._verdicts[trial, rung]


def decide(recorded: Collection[float], value: float, *, eta: int, mode: Mode) -> bool:
    """May a trial with `value` pass a rung where others left `recorded`? NaN never passes, and loses to any number."""
    if math.isnan(value):
        return False
    sign = 1 if mode == "min" else -1
    better = sum(sign * other < sign * value for other in recorded)
    return better < max(1, (len(recorded) + 1) // eta)

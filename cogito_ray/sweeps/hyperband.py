"""Asynchronous HyperBand (arXiv:1603.06560, run as in arXiv:1810.05934): halving in brackets, for one goal.

Each bracket halves from a later first rung than the one before, the last not at all, so that no choice of first rung
can ruin a whole sweep. Brackets are filled in turn, the earliest rung first, in the sizes HyperBand gives them; a trial
belongs to a bracket from its first report on, and is compared within it.
"""

import itertools
from collections.abc import Mapping
from typing import ClassVar, Literal

from cogito_ray.sweeps.asha import AshaSpec, Halving, Pausing, Verdict
from cogito_ray.sweeps.goals import Aim


class HyperbandSpec(AshaSpec):
    kind: Literal["hyperband"] = "hyperband"  # type: ignore[assignment]  # another kind of the same settings
    many_goals: ClassVar[bool] = False

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> "Brackets":  # type: ignore[override]  # several of what it was
        rungs = self.rungs(steps)
        brackets = [self.halving(rungs[first:], aim) for first in range(len(rungs) + 1)]
        sizes = [-(-len(brackets) * self.eta**halvings // (halvings + 1)) for halvings in range(len(brackets))][::-1]
        return Brackets(brackets, sizes)


class Brackets:
    """Fed the same reports in the same order it decides the same: so it resumes."""

    copies: ClassVar[tuple[()]] = ()
    sources: ClassVar[tuple[()]] = ()

    def __init__(self, brackets: list[Halving | Pausing], sizes: list[int]):
        """`sizes`: trials that go to each bracket in turn, round and round."""
        self._brackets = brackets
        turns = (itertools.repeat(bracket, size) for bracket, size in zip(brackets, sizes, strict=True))
        self._turns = itertools.cycle(itertools.chain.from_iterable(turns))
        self._of: dict[str, Halving | Pausing] = {}

    @property
    def waiting(self) -> Mapping[str, Verdict]:
        """Of all brackets."""
        return {name: verdict for bracket in self._brackets for name, verdict in bracket.waiting.items()}

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps, judged in its bracket."""
        if trial not in self._of:
            self._of[trial] = next(self._turns)
        return self._of[trial].report(trial, step, metrics)

    def promoted(self, *, idle: bool) -> str | None:
        """Of the first bracket that has somebody to promote."""
        return next(filter(None, (bracket.promoted(idle=idle) for bracket in self._brackets)), None)

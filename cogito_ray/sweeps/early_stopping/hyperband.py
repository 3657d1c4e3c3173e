"""Asynchronous HyperBand (arXiv:1603.06560, run as in arXiv:1810.05934): halving in brackets, for one goal.

Each bracket halves from a later first rung than the one before, the last not at all, so that no choice of first rung
can ruin a whole sweep. Every trial goes to the bracket that is furthest behind its share, the shares being the sizes
that HyperBand gives its brackets: so all brackets fill side by side, however few trials there are. A trial belongs to a
bracket from its first report on, and is compared within it; what is not finite at a rung of any bracket is over in all.
"""

from collections import ChainMap
from collections.abc import Container, Mapping
from typing import Literal

from cogito_ray.sweeps.early_stopping.asha import AshaSpec, Halving, Pausing
from cogito_ray.sweeps.early_stopping.policy import Policy, Verdict, measured
from cogito_ray.sweeps.goals.goal_spec import Aim


class HyperbandSpec(AshaSpec):
    """For one goal: halving from several first rungs side by side."""

    kind: Literal["hyperband"] = "hyperband"  # type: ignore[assignment]  # another kind of the same settings

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        rungs = self.rungs(steps)
        brackets = [self.halving(rungs[first:], aim) for first in range(len(rungs) + 1)]
        sizes = [-(-len(brackets) * self.eta**halvings // (halvings + 1)) for halvings in range(len(brackets))][::-1]
        return Brackets(brackets, sizes, aim)


class Brackets(Policy):
    """Fed the same reports in the same order it decides the same: so it resumes."""

    def __init__(self, brackets: list[Halving | Pausing], sizes: list[int], aim: Aim):
        """`brackets`: the one with most rungs first. `sizes`: how many trials go to each bracket, in proportion."""
        self._brackets, self._sizes, self._aim = brackets, sizes, aim
        self._members = [0] * len(brackets)
        self._of: dict[str, Halving | Pausing] = {}
        self._finite: dict[tuple[str, int], Verdict | None] = {}
        """By trial and rung: None where what it measured was finite."""

    @property
    def waiting(self) -> Mapping[str, Verdict]:
        return ChainMap(*(bracket.waiting for bracket in self._brackets))  # type: ignore[arg-type]  # read, not written

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """A trial's metrics after `step` steps, judged in its bracket."""
        if trial not in self._of:
            self._of[trial] = self._brackets[self._next()]
        return self._lost(trial, step, metrics) or self._of[trial].report(trial, step, metrics)

    def promoted(self, among: Container[str], *, idle: bool) -> str | None:
        """Of the first bracket that has somebody to promote."""
        return next(filter(None, (bracket.promoted(among, idle=idle) for bracket in self._brackets)), None)

    def resumed(self, trial: str) -> None:
        self._of[trial].resumed(trial)

    def _lost(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict | None:
        """Why it is over, if it reached a rung of the first bracket without a finite value: a bracket of few rungs
        would train it on, the last one to its end."""
        rung = max((rung for rung in self._brackets[0].rungs if rung <= step), default=None)
        if rung is None:
            return None
        if (trial, rung) not in self._finite:
            said = f"{measured(self._aim, metrics)} is not finite at rung {rung}"
            lost = None if self._aim.merit(metrics).finite else Verdict(False, rung, said)
            self._finite[trial, rung] = lost
        return self._finite[trial, rung]

    def _next(self) -> int:
        """The bracket that is furthest behind its share; the first one begins, for its share is the largest."""
        total, count = sum(self._sizes), sum(self._members) + 1
        behind = [size * count - members * total for size, members in zip(self._sizes, self._members, strict=True)]
        chosen = behind.index(max(behind))
        self._members[chosen] += 1
        return chosen

"""Why a run is dead: each guard looks at a run's reports so far and convicts it by name, with the numbers behind it.

A guard is a pure policy: the same reports give the same verdict. Its `offence` judges the newest report; it convicts
when the last `reports` reports offend without a break. All of this happens once per report, never inside a step.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from cogito_ray.spec import Spec
from cogito_ray.training.schedule import Share

MEMORY = 64
"""Reports that guards look back on."""
READ = (
    "loss/",
    "optimizer/",
    "concepts/effective_rank",
    "concepts/nuclear_rank",
    "eval/reconstruction_nats",
    "eval/unigram_nats",
)
"""Beginnings of the names of the metrics that guards look at. Others may be NaN where they have no meaning."""
Numbers = dict[str, float]


class RunDied(RuntimeError):
    """A run that cannot recover. `cause` is one word for the record, `numbers` what was seen."""

    def __init__(self, cause: str, step: int, numbers: Mapping[str, float]):
        seen = ", ".join(f"{name}={value:g}" for name, value in numbers.items())
        super().__init__(f"{cause} at step {step}: {seen}")
        self.cause, self.step, self.numbers = cause, step, dict(numbers)

    def __reduce__(self) -> tuple[type["RunDied"], tuple[str, int, dict[str, float]]]:
        return RunDied, (self.cause, self.step, self.numbers)  # exceptions cross process borders by their arguments


@dataclass(frozen=True)
class Seen:
    """One report."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Watched:
    """What guards must know of a run."""

    steps: int
    """Planned."""
    tasks: tuple[str, ...]
    """Terms that ask something of the concepts, those of weight 0 left out."""
    bound: float
    """Of the total: what its terms' lower bounds come to under the run's weighting."""
    rank: int
    """Highest that concepts can have: their number or their width."""


@dataclass(frozen=True)
class Verdict:
    cause: str
    numbers: Numbers
    diverged: bool
    """May a smaller learning rate help?"""


class ExplosionSpec(Spec):
    """The gradient bursts and a task's loss rises with it. A burst alone is clipped, and healthy runs have some."""

    cause: ClassVar[str] = "gradient-explosion"
    diverged: ClassVar[bool] = True
    reports: ClassVar[int] = 1
    norm: Annotated[float, Field(gt=1)] = 30.0
    """Largest gradient norm before clipping, in units of the median of the reports before."""
    rise: PositiveFloat = 0.5
    """Of a task's loss above its best so far, in nats."""
    after: PositiveInt = 3
    """Reports that must have come before, so that there is something to compare with."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        name = "optimizer/gradient_norm"
        past = [report.metrics[name] for report in seen[:-1]]
        if len(past) < self.after or seen[-1].metrics[name] <= self.norm * median(past):
            return {}
        risen = _risen(seen, run.tasks, self.rise)
        return {name: seen[-1].metrics[name], f"{name}_median": median(past), **risen} if risen else {}


class DivergenceSpec(Spec):
    """A task's loss has left its best far behind, and stays there."""

    cause: ClassVar[str] = "divergence"
    diverged: ClassVar[bool] = True
    rise: PositiveFloat = 1.0
    """Of a task's loss above its best so far, in nats."""
    reports: PositiveInt = 4
    """In a row: a spike that heals sooner is none of this guard's business."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        return _risen(seen, run.tasks, self.rise)


class BoundSpec(Spec):
    """The total is below what its terms can add up to, so that it no longer measures them."""

    cause: ClassVar[str] = "below-bound"
    diverged: ClassVar[bool] = False
    reports: PositiveInt = 3
    """In a row."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        total = seen[-1].metrics["loss/total"]
        slack = 1e-3 * (1 + abs(run.bound))  # rounding, in bfloat16 too
        return {"loss/total": total, "bound": run.bound} if total < run.bound - slack else {}


class MutedSpec(Spec):
    """Other terms drown a task: hardly any of the gradient on the concepts is its own, though it is not solved."""

    cause: ClassVar[str] = "muted-task"
    diverged: ClassVar[bool] = False
    share: Share = 0.002
    """Of the gradient on the concepts. Next to contrast, reconstruction was seen to learn with 0.02."""
    solved: NonNegativeFloat = 0.1
    """Nats: a task whose loss is below this has a small gradient because it is solved."""
    reports: PositiveInt = 5
    """In a row."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        metrics, numbers = seen[-1].metrics, Numbers()
        for task in run.tasks:
            loss, share = f"loss/{task}", f"loss/{task}_gradient_share"
            if metrics[share] < self.share and metrics[loss] >= self.solved:
                numbers |= {share: metrics[share], loss: metrics[loss]}
        return numbers


class CollapseSpec(Spec):
    """Late in the run, concepts use hardly any of the directions they could. Early, it is a plateau that some leave."""

    cause: ClassVar[str] = "rank-collapse"
    diverged: ClassVar[bool] = False
    measure: Literal["effective_rank", "nuclear_rank"] = "effective_rank"
    """effective_rank: of each text's concepts; nuclear_rank: of the mean concepts over texts."""
    share: Share = 0.1
    """Of the way from 1, where all concepts lie on a line, to the highest rank that so many of this width can have."""
    after: Share = 0.5
    """Of the run's steps, before which nothing is judged."""
    rising: NonNegativeFloat = 0.25
    """A rank by this share above its lowest of the last 64 reports is on its way up, and left alone."""
    reports: PositiveInt = 3
    """In a row."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        name, floor = f"concepts/{self.measure}", 1 + self.share * (run.rank - 1)
        rank, lowest = seen[-1].metrics[name], min(report.metrics[name] for report in seen)
        spared = seen[-1].step < self.after * run.steps or rank > (1 + self.rising) * lowest
        return {} if spared or rank >= floor else {name: rank, "floor": floor}


class LeakSpec(Spec):
    """Held-out tokens are predicted better than text allows: the answer must be in what the model sees."""

    cause: ClassVar[str] = "leak"
    diverged: ClassVar[bool] = False
    reports: ClassVar[int] = 1
    share: Share = 0.02
    """Of eval/unigram_nats, the loss of predicting word frequencies."""

    def offence(self, seen: tuple[Seen, ...], run: Watched) -> Numbers:
        nats, unigram = (f"eval/{name}_nats" for name in ("reconstruction", "unigram"))
        found = {name: seen[-1].metrics[name] for name in (nats, unigram) if name in seen[-1].metrics}
        return found if len(found) == 2 and found[nats] < self.share * found[unigram] else {}


Guard = ExplosionSpec | DivergenceSpec | BoundSpec | MutedSpec | CollapseSpec | LeakSpec


class GuardsSpec(Spec):
    """What ends a run. null switches a guard off; a loss, gradient or weight that is not finite always ends it."""

    explosion: ExplosionSpec | None = ExplosionSpec()
    divergence: DivergenceSpec | None = DivergenceSpec()
    bound: BoundSpec | None = BoundSpec()
    muted: MutedSpec | None = MutedSpec()
    collapse: CollapseSpec | None = CollapseSpec()
    leak: LeakSpec | None = LeakSpec()

    def active(self) -> list[Guard]:
        guards = (self.explosion, self.divergence, self.bound, self.muted, self.collapse, self.leak)
        return [guard for guard in guards if guard is not None]

    def faults(self, *, terms: int, rebuilds: bool) -> list[str]:
        """What has no effect on a run of so many loss terms that rebuilds text, or not.

        A guard left at its defaults is not at fault: it stands in every run.
        """
        idle = {
            "muted": (terms == 1 and self.muted not in (None, MutedSpec()), "a single loss term has all the gradient"),
            "leak": (not rebuilds and self.leak not in (None, LeakSpec()), "without model.decoder nothing is rebuilt"),
        }
        return [
            f"training.guards.{name} has no effect: {why}; leave it out" for name, (found, why) in idle.items() if found
        ]


class StopSpec(Spec):
    """A run that diverges is over."""

    kind: Literal["stop"] = "stop"
    times: ClassVar[int] = 0
    factor: ClassVar[float] = 1.0


class RollbackSpec(Spec):
    """A run that diverges goes back to its last checkpoint, which may be its beginning, with a smaller learning rate.

    It sees the same rows again. A run that is muted, collapsed or leaks is over: smaller steps do not cure that.
    """

    kind: Literal["rollback"] = "rollback"
    times: PositiveInt = 2
    """Rollbacks before the run is over."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Each one multiplies the learning rate of all later steps by this."""


OnDivergence = Annotated[StopSpec | RollbackSpec, Field(discriminator="kind")]


class Guards:
    """The guards of one run and the reports they look back on."""

    def __init__(self, spec: GuardsSpec, run: Watched):
        self._guards, self._run = spec.active(), run
        self._seen: deque[Seen] = deque(maxlen=MEMORY)

    @property
    def seen(self) -> tuple[Seen, ...]:
        """What must be kept to judge the same after an interruption."""
        return tuple(self._seen)

    def remember(self, seen: Iterable[Seen]) -> None:
        """Go on from what an earlier process, or an earlier checkpoint, had seen."""
        self._seen = deque(seen, maxlen=MEMORY)

    def judge(self, step: int, metrics: Mapping[str, float]) -> Verdict | None:
        """The first conviction, if any, after one more report."""
        if verdict := not_finite(metrics):
            return verdict
        self._seen.append(Seen(step, {name: value for name, value in metrics.items() if name.startswith(READ)}))
        return next(self._convictions(), None)

    def suspect_divergence(self) -> bool:
        """May the newest report turn out to be the first of a divergence? Then it is no place to come back to."""
        return any(guard.offence(self.seen, self._run) for guard in self._guards if guard.diverged and self._seen)

    def _convictions(self) -> Iterator[Verdict]:
        for guard in self._guards:
            offences = [guard.offence(seen, self._run) for seen in self._prefixes(guard.reports)]
            if len(offences) == guard.reports and all(offences):
                yield Verdict(guard.cause, offences[0], guard.diverged)

    def _prefixes(self, count: int) -> list[tuple[Seen, ...]]:
        """The reports as they stood at each of the last `count` ones, newest first."""
        whole = self.seen
        return [whole[:end] for end in range(len(whole), max(0, len(whole) - count), -1)]


def not_finite(metrics: Mapping[str, float]) -> Verdict | None:
    """The conviction of a run with a metric that guards look at and that is NaN or infinite."""
    broken = {name: value for name, value in metrics.items() if name.startswith(READ) and not math.isfinite(value)}
    return Verdict("non-finite", broken, diverged=True) if broken else None


def _risen(seen: tuple[Seen, ...], tasks: tuple[str, ...], rise: float) -> Numbers:
    """Loss and best loss of each task that is more than `rise` nats above its best."""
    numbers = Numbers()
    for name in (f"loss/{task}" for task in tasks):
        best = min(report.metrics[name] for report in seen)
        if seen[-1].metrics[name] > best + rise:
            numbers |= {name: seen[-1].metrics[name], f"{name}_best": best}
    return numbers

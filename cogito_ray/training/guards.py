"""Why a run is dead: each guard looks at a run's reports so far and convicts it by name, with the numbers behind it.

A guard is a pure policy: the same reports give the same verdict. It convicts when the last `reports` reports offend
without a break. Its `violation` judges one report: `seen` ends with it, and `settled` are the reports before the whole
stretch under suspicion, to compare with. All of this happens once per report, never inside a step.

A loss that is measured on few rows is noisy, so guards compare it with the level that it held over several reports, not
with its luckiest one, and by as much as it usually rises from report to report (recorded in tests/training). This is a
control chart (Shewhart 1931) with a median for its centre line and a quantile for its spread, as both tails are heavy.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from cogito_ray.base_spec import Spec
from cogito_ray.training.learning_rate_schedule import Share

MEMORY = 64
"""Reports that guards look back on."""
HELD = 4
"""Reports in a row whose median loss is a level that a run has held."""
NOISE = 3.0
"""Rises of a loss are beyond noise from so many times the upper quartile of its rises between two reports on."""
GUARDED_METRICS = (
    "loss/",
    "optimizer/",
    "concepts/effective_rank",
    "concepts/nuclear_rank",
    "eval/reconstruction_nats",
    "eval/shuffled_reconstruction_nats",
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
class GuardReport:
    """One report."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class GuardedRun:
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
    """Why a run is dead, and the numbers behind it."""

    cause: str
    numbers: Numbers
    diverged: bool
    """May a smaller learning rate help?"""


class ExplosionSpec(Spec):
    """The gradient bursts, and a task's loss rises with it and stays there. A burst alone is clipped, and healthy runs
    have some; a single hard batch has both, and is forgotten in the next report."""

    cause: ClassVar[str] = "gradient-explosion"
    diverged: ClassVar[bool] = True
    reports: ClassVar[int] = 3
    norm: Annotated[float, Field(gt=1)] = 30.0
    """Largest gradient norm before clipping, in units of the median of the reports before."""
    rise: PositiveFloat = 0.5
    """Of a task's loss above the best level that it held, in nats, where its noise is not larger."""
    after: PositiveInt = 3
    """Reports that must have come before, so that there is something to compare with."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """A gradient norm far above its median, and a loss that rose with it; empty where there is none."""
        if len(settled) < self.after:
            return {}
        name = "optimizer/gradient_norm"
        usual = median(report.metrics[name] for report in settled)
        burst = max(report.metrics[name] for report in seen[len(settled) - 1 :])    # it may precede the loss's rise
        risen = _risen(seen[-1], settled, run.tasks, self.rise) if burst > self.norm * usual else {}
        return {name: burst, f"{name}_median": usual, **risen} if risen else {}


class DivergenceSpec(Spec):
    """A task's loss has left the best level that it held far behind, and stays there."""

    cause: ClassVar[str] = "divergence"
    diverged: ClassVar[bool] = True
    rise: PositiveFloat = 1.0
    """Of a task's loss above the best level that it held, in nats, where its noise is not larger."""
    reports: PositiveInt = 4
    """In a row: a spike that heals sooner is none of this guard's business."""
    after: PositiveInt = 4
    """Reports that must have come before, so that there are a level and a noise to compare with."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """A loss that is far above the level that it held; empty where there is none."""
        return _risen(seen[-1], settled, run.tasks, self.rise) if len(settled) >= self.after else {}


class BoundSpec(Spec):
    """The total is below what its terms can add up to, so that it no longer measures them."""

    cause: ClassVar[str] = "below-bound"
    diverged: ClassVar[bool] = False
    reports: PositiveInt = 3
    """In a row."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """A total below its bound; empty where there is none."""
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

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """Tasks with hardly any gradient, though they are not solved; empty where there is none."""
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
    """effective_rank: of each text's concepts; nuclear_rank: of the mean concepts over texts, the
    effective rank of older logs."""
    share: Share = 0.1
    """Of the way from 1, where all concepts lie on a line, to the highest rank that so many of this width can have."""
    after: Share = 0.5
    """Of the run's steps, before which nothing is judged."""
    rising: NonNegativeFloat = 0.25
    """A rank by this share above its lowest of the last 64 reports is on its way up, and left alone."""
    reports: PositiveInt = 3
    """In a row."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """A rank that is low, late, and not on its way up; empty where there is none."""
        name, floor = f"concepts/{self.measure}", 1 + self.share * (run.rank - 1)
        rank, lowest = seen[-1].metrics[name], min(report.metrics[name] for report in seen)
        spared = seen[-1].step < self.after * run.steps or rank > (1 + self.rising) * lowest
        return {} if spared or rank >= floor else {name: rank, "floor": floor}


class LeakSpec(Spec):
    """Held-out tokens are rebuilt as well from the concepts of another text: the answer must reach the decoder past
    them. (A low loss with a text's own concepts is success, at least where the encoder reads all of it.)"""

    cause: ClassVar[str] = "leak"
    diverged: ClassVar[bool] = False
    reports: ClassVar[int] = 1
    share: Share = 0.02
    """Of eval/unigram_nats, the loss of predicting word frequencies."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """Held-out loss from another text's concepts, where it is far too good; empty where there is none."""
        nats, unigram = (f"eval/{name}_nats" for name in ("shuffled_reconstruction", "unigram"))
        found = {name: seen[-1].metrics[name] for name in (nats, unigram) if name in seen[-1].metrics}
        return found if len(found) == 2 and found[nats] < self.share * found[unigram] else {}


class SkippedSpec(Spec):
    """Too many steps are skipped because their gradient is not finite. A few, in which some row overflows, do no harm:
    weights and moments stay what they were."""

    cause: ClassVar[str] = "non-finite"
    diverged: ClassVar[bool] = True
    share: Share = 0.1
    """Of the steps since the report before."""
    reports: PositiveInt = 1
    """In a row."""

    def violation(self, seen: tuple[GuardReport, ...], settled: tuple[GuardReport, ...], run: GuardedRun) -> Numbers:
        """A share of skipped steps above the allowed one; empty where it is not."""
        skipped = seen[-1].metrics["optimizer/skipped_share"]
        return {"optimizer/skipped_share": skipped} if skipped > self.share else {}


Guard = SkippedSpec | ExplosionSpec | DivergenceSpec | BoundSpec | MutedSpec | CollapseSpec | LeakSpec


class GuardsSpec(Spec):
    """What ends a run. null switches a guard off; what is not finite in a report always ends it: a weight, or a loss
    where every step was skipped."""

    skipped: SkippedSpec | None = SkippedSpec()
    explosion: ExplosionSpec | None = ExplosionSpec()
    divergence: DivergenceSpec | None = DivergenceSpec()
    bound: BoundSpec | None = BoundSpec()
    muted: MutedSpec | None = MutedSpec()
    collapse: CollapseSpec | None = CollapseSpec()
    leak: LeakSpec | None = LeakSpec()

    def active(self) -> list[Guard]:
        """Those that are not switched off."""
        return [guard for guard in self._all() if guard is not None]

    def _all(self) -> tuple[Guard | None, ...]:
        return self.skipped, self.explosion, self.divergence, self.bound, self.muted, self.collapse, self.leak

    def faults(self, *, terms: int, rebuilds: bool, rank: int, steps: int, report_every: int) -> list[str]:
        """What has no effect on a run of so many loss terms that rebuilds text, or not, whose concepts can have so high
        a rank. A guard left at its defaults is not at fault: it stands in every run.
        """
        idle = {
            "muted": "a single loss term has all the gradient" if terms == 1 else "",
            "leak": "" if rebuilds else "without model.decoder nothing is rebuilt",
            "collapse": "a single direction cannot collapse" if rank == 1 else "",
        }
        faults = []
        for name, guard in zip(type(self).model_fields, self._all(), strict=True):
            if guard is None or guard == type(guard)():
                continue
            if why := idle.get(name) or _too_few(guard, steps, report_every):
                faults.append(f"training.guards.{name} has no effect: {why}; leave it out")
        return faults


def _too_few(guard: Guard, steps: int, report_every: int) -> str:
    """Says so where a run has not as many reports as the guard needs to convict."""
    since = math.ceil(guard.after * steps) if isinstance(guard, CollapseSpec) else 1
    first = -(-since // report_every) * report_every
    reports = len(range(first, steps, report_every)) + 1                # the last step has one in any case
    needed = guard.reports + (guard.after if isinstance(guard, ExplosionSpec | DivergenceSpec) else 0)
    if reports >= needed:
        return ""
    begin = f" from step {since} on" if since > 1 else ""
    return f"it needs {needed} reports{begin}, but the run has {reports}: lower training.report_every"


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

    def __init__(self, spec: GuardsSpec, run: GuardedRun):
        self._guards, self._run = spec.active(), run
        self._seen: deque[GuardReport] = deque(maxlen=MEMORY)

    @property
    def seen(self) -> tuple[GuardReport, ...]:
        """What must be kept to judge the same after an interruption."""
        return tuple(self._seen)

    def remember(self, seen: Iterable[GuardReport]) -> None:
        """Go on from what an earlier process, or an earlier checkpoint, had seen."""
        self._seen = deque(seen, maxlen=MEMORY)

    def judge(self, step: int, metrics: Mapping[str, float]) -> Verdict | None:
        """The first conviction, if any, after one more report."""
        if verdict := not_finite(metrics):
            return verdict
        guarded = {name: value for name, value in metrics.items() if name.startswith(GUARDED_METRICS)}
        self._seen.append(GuardReport(step, guarded))
        return next(self._convictions(), None)

    def suspect_divergence(self) -> bool:
        """May the last few reports turn out to be the first of a divergence? Then this is no place to come back to."""
        return any(
            all(self._violations(guard, stretch))
            for guard in self._guards
            for stretch in range(1, min(guard.reports, len(self._seen)) + 1)
            if guard.diverged
        )

    def _convictions(self) -> Iterator[Verdict]:
        for guard in self._guards:
            violations = self._violations(guard, guard.reports) if len(self._seen) >= guard.reports else [{}]
            if all(violations):
                yield Verdict(guard.cause, violations[0], guard.diverged)

    def _violations(self, guard: Guard, stretch: int) -> list[Numbers]:
        """Of each of the last `stretch` reports, newest first, judged by those before the stretch."""
        whole, begin = self.seen, len(self._seen) - stretch
        return [guard.violation(whole[:end], whole[:begin], self._run) for end in range(len(whole), begin, -1)]


def not_finite(metrics: Mapping[str, float]) -> Verdict | None:
    """The conviction of a run with a metric that guards look at and that is NaN or infinite."""
    guarded = {name: value for name, value in metrics.items() if name.startswith(GUARDED_METRICS)}
    broken = {name: value for name, value in guarded.items() if not math.isfinite(value)}
    return Verdict("non-finite", broken, diverged=True) if broken else None


def _risen(newest: GuardReport, settled: tuple[GuardReport, ...], tasks: tuple[str, ...], rise: float) -> Numbers:
    """Loss, and best level held before, of each task that is above that level by `rise` nats and by its noise."""
    numbers = Numbers()
    for name in (f"loss/{task}" for task in tasks):
        past = [report.metrics[name] for report in settled]
        held = min(median(past[first : first + HELD]) for first in range(max(1, len(past) - HELD + 1)))
        rises = sorted(after - before for before, after in pairwise(past) if after > before)
        noise = rises[3 * len(rises) // 4] if rises else 0.0                # upper quartile: outliers do not count
        if newest.metrics[name] > held + max(rise, NOISE * noise):
            numbers |= {name: newest.metrics[name], f"{name}_held": held}
    return numbers

"""Trials in order of merit, for the live table, the final one and the report. Pure.

Only a trial that ran to its last step and keeps every constraint has a rank: by its value where there is one goal, by
front and then by what the front would lose in hypervolume without it where there are several. One that was stopped
early is listed below, farthest first: its value is that of an unfinished schedule (the learning rate had not fallen
yet), which says that it was worse than others at the same step, and not what it would have reached.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from cogito_ray.records.ledger import Status
from cogito_ray.records.record import Record, Trial
from cogito_ray.sweeps.domains import Scalar
from cogito_ray.sweeps.goals import Aim, GoalSpec
from cogito_ray.sweeps.pareto import by_hypervolume, fronts
from cogito_ray.sweeps.paths import get
from cogito_ray.sweeps.replication import Interval, intervals

UNIGRAM = "eval/unigram_nats"
"""Entropy of the held-out rows' tokens: what the best constant prediction reaches, so what learning must get below."""
SHOWN = ("concepts/effective_rank", "concepts/nuclear_rank", "time/tokens_per_s")
"""Metrics listed beside the goals' and the constraints'."""


@dataclass(frozen=True)
class Row:
    rank: int | None
    """1 = best; None for a trial without a sound final value."""
    front: int | None
    """1 = no other trial beats it in every goal; None for a trial without a rank."""
    trial: str
    number: int
    status: Status
    values: dict[str, float | None]
    """Each goal's metric at the last report; its mean over further runs, where there are any."""
    step: int
    steps: int | None
    seconds: float
    metrics: dict[str, float | None]
    """Constraints' metrics and SHOWN, at the last report."""
    settings: dict[str, str]
    """Value on each axis, as read by people."""
    note: str
    """How it ended, where that was not in order."""
    spread: dict[str, Interval] = field(default_factory=dict)
    """Of each goal's metric over further runs with other seeds; empty where there are none."""
    like: tuple[int, ...] = ()
    """Numbers of the trials it cannot be told from: their intervals overlap in every goal."""
    copied: tuple[int, int] | None = None
    """Number of the trial of which it is a copy, and the step at which it branches off."""

    @property
    def value(self) -> float | None:
        """The first goal's metric."""
        return next(iter(self.values.values()))


@dataclass(frozen=True)
class Ranking:
    goals: tuple[GoalSpec, ...]
    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    unigram_nats: float | None
    """Of the held-out rows; None where no trial reported it or the trials' rows differ."""

    @property
    def goal(self) -> GoalSpec:
        """The first one."""
        return self.goals[0]

    @property
    def winner(self) -> Row | None:
        """The best trial. None where there are several goals, for which to prefer is not ours to say, or where others
        cannot be told from it."""
        first = self._first
        return first if first is not None and len(self.goals) == 1 and not first.like else None

    @property
    def _first(self) -> Row | None:
        return next((row for row in self.rows if row.rank == 1), None)

    @property
    def standing(self) -> str:
        """What the best ones are, in a word."""
        if len(self.goals) > 1:
            return "front"
        return "winner" if self.winner else "indistinguishable"

    @property
    def best(self) -> tuple[Row, ...]:
        """The winner and whatever cannot be told from it, or the trials of the first front."""
        first = self._first
        if len(self.goals) == 1:
            return tuple(row for row in self.rows if first and (row is first or row.number in first.like))
        return tuple(row for row in self.rows if row.front == 1)

    @property
    def footnote(self) -> str:
        """What a reader of the table must know; empty if nothing."""
        said = []
        if len(self.goals) > 1 and self.best:
            said.append("Trials of front 1 are beaten by no other in every goal; which to prefer is yours to say.")
        if any(row.spread for row in self.rows):
            said.append("Values with an interval are means over further runs with other seeds; they rank first.")
        if any(row.status is Status.COMPLETED and row.rank is None for row in self.rows):
            said.append("Completed trials without a rank break a constraint, or reported no finite value.")
        if any(row.status is Status.STOPPED for row in self.rows):
            said.append(
                "Trials stopped early have no rank: theirs is the value of an unfinished schedule. "
                "They were worse than others at the same step; where they would have ended is not known."
            )
        return " ".join(said)


def rank(record: Record) -> Ranking:
    """Completed trials by merit, then the infeasible, the stopped, the unfinished and the failed ones."""
    aim, trials = record.aim, list(record.trials.values())
    completed = [trial for trial in trials if trial.status is Status.COMPLETED]
    merits = [aim.merit(_known(record, trial)) for trial in completed]
    layers = {trial.id: front for trial, front in zip(completed, fronts(merits), strict=True) if front}
    sound = [completed[index] for index in by_hypervolume(merits) if completed[index].id in layers]
    spreads = _spreads(record, sound, aim)
    if len(aim.goals) == 1:  # a single run may be lucky, so it does not come before a mean
        sound.sort(key=lambda trial: trial.id not in spreads)
    ranks = {trial.id: place for place, trial in enumerate(sound, start=1)}
    others = sorted((trial for trial in trials if trial.id not in ranks), key=lambda trial: _order(trial, aim))
    numbers = {trial.id: trial.number for trial in sound}
    rows = tuple(
        replace(
            _compared(_row(trial, ranks.get(trial.id), layers.get(trial.id), aim), spreads, numbers),
            copied=_copied(record, trial),
        )
        for trial in [*sound, *others]
    )
    return Ranking(aim.goals, tuple(record.axes), rows, _constant(trials, aim))


def _copied(record: Record, trial: Trial) -> tuple[int, int] | None:
    if trial.branch is None:
        return None
    name, step = trial.branch
    return record.trials[name].number, step


def _known(record: Record, trial: Trial) -> dict[str, float]:
    """What is known of a trial at its end: means over its further runs, where there are any."""
    runs = [run.latest() for run in record.again(trial.id)]
    if len(runs) < 2:
        return trial.latest()
    return {name: fmean(run[name] for run in runs) for name in runs[0] if all(name in run for run in runs)}


def _spreads(record: Record, sound: list[Trial], aim: Aim) -> dict[str, dict[str, Interval]]:
    """Of each trial that was run again, each goal's interval."""
    runs = {trial.id: [run.latest() for run in record.again(trial.id)] for trial in sound}
    told = {
        goal.metric: intervals({name: [one.get(goal.metric, math.nan) for one in ones] for name, ones in runs.items()})
        for goal in aim.goals
    }
    tested = [trial.id for trial in sound if all(trial.id in found for found in told.values())]
    return {name: {metric: found[name] for metric, found in told.items()} for name in tested}


def _compared(row: Row, spreads: Mapping[str, dict[str, Interval]], numbers: Mapping[str, int]) -> Row:
    """The row with its intervals, and with the trials whose intervals overlap them."""
    if (own := spreads.get(row.trial)) is None:
        return row
    others = {name: theirs for name, theirs in spreads.items() if name != row.trial}
    like = (name for name, theirs in others.items() if all(own[metric].overlaps(theirs[metric]) for metric in own))
    means: dict[str, float | None] = {metric: interval.mean for metric, interval in own.items()}
    return replace(row, values=means, spread=own, like=tuple(numbers[name] for name in like))


def _constant(trials: list[Trial], aim: Aim) -> float | None:
    values = {value for trial in trials if (value := trial.last(UNIGRAM)) is not None}
    return values.pop() if len(values) == 1 and aim.goals[0].metric.endswith("_nats") else None


def _order(trial: Trial, aim: Aim) -> tuple[int, int, tuple[float, ...], int]:
    merit = aim.merit(trial.latest())
    group = {Status.COMPLETED: 0, Status.STOPPED: 1, Status.UNFINISHED: 2}.get(trial.status, 3)
    costs = tuple(cost if math.isfinite(cost) else math.inf for cost in merit.costs)
    return group, -trial.step, (not merit.finite, merit.excess, *costs), trial.number


def _row(trial: Trial, place: int | None, front: int | None, aim: Aim) -> Row:
    goals = [goal.metric for goal in aim.goals]
    return Row(
        rank=place,
        front=front,
        trial=trial.id,
        number=trial.number,
        status=trial.status,
        values={metric: trial.last(metric) for metric in goals},
        step=trial.step,
        steps=trial.steps,
        seconds=trial.seconds,
        metrics={name: trial.last(name) for name in dict.fromkeys([*aim.constraints, *SHOWN]) if name not in goals},
        settings=settings(trial),
        note=_note(trial, aim),
    )


def settings(trial: Trial) -> dict[str, str]:
    """Value on each axis; for a ratio the size it became, with the fraction behind it."""
    return {path: _shown(value, get(trial.spec, path)) for path, value in trial.sample.items()}


def _shown(value: Scalar, became: object) -> str:
    number = isinstance(became, int | float) and not isinstance(became, bool) and isinstance(value, int | float)
    shown, drawn = plain(became), plain(value)
    return f"{shown} ({drawn})" if number and shown != drawn else drawn


def plain(value: object) -> str:
    """A value as people write it: four significant digits, thousands apart, YAML's words."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"
    return str(value)


def figures(value: float | None) -> str:
    """A measured number with four figures, those at its end too; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:#.4g}".removesuffix(".")


def _note(trial: Trial, aim: Aim) -> str:
    if trial.status is Status.COMPLETED:
        latest = trial.latest()
        lost = [goal.metric for goal in aim.goals if not math.isfinite(goal.cost(latest))]
        return "; ".join([*(f"reported no finite {metric}" for metric in lost), *aim.broken(latest)])
    at = f"at step {trial.step}" + (f" of {trial.steps}" if trial.steps else "")
    return f"{at}: {trial.cause}" if trial.cause else at

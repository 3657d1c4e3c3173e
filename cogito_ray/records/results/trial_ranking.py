"""Trials in order of merit, for the live table, the final one and the report. Pure.

Only a trial that ran to its last step and keeps every constraint has a rank: by its value where there is one goal, by
front and then by what the front would lose in hypervolume without it where there are several. One of which further runs
with other seeds failed comes after all of which none, or fewer, did, whatever its other runs reached: a recipe that
diverges under one seed in three is no good recipe. One that was stopped early is listed below, farthest first: its
value is that of an unfinished schedule (the learning rate had not fallen yet), which says that it was worse than others
at the same step, and not what it would have reached.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from cogito_ray.records.ledger import Status
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec
from cogito_ray.sweeps.goals.pareto_fronts import by_hypervolume, fronts
from cogito_ray.sweeps.space.domains import Scalar
from cogito_ray.sweeps.space.dotted_paths import get
from cogito_ray.sweeps.statistics.seed_intervals import Interval, as_good_as_best, intervals, told_apart

UNIGRAM = "eval/unigram_nats"
"""Entropy of the held-out rows' tokens: what the best constant prediction reaches, so what learning must get below."""
SHOWN = (
    "concepts/effective_rank", "concepts/nuclear_rank", "time/tokens_per_s", "time/mfu", "time/data_wait_share",
)  # fmt: skip
"""Metrics listed beside the goals' and the constraints'."""


@dataclass(frozen=True)
class Row:
    """One trial of the table."""

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
    """Constraints' metrics and SHOWN: as `values`."""
    settings: dict[str, str]
    """Value on each axis, as read by people."""
    note: str
    """How it ended, where that was not in order, and how many further runs failed."""
    spread: dict[str, Interval] = field(default_factory=dict)
    """Of each goal's metric over further runs with other seeds; empty where there are none."""
    further: tuple[int, int] | None = None
    """Of further runs with other seeds that are over: how many ended in order, and how many there are."""
    code: tuple[str, ...] = ()
    """By which code it was made, and its further runs; more than one where that changed meanwhile."""
    like: tuple[int, ...] = ()
    """Numbers of the trials it cannot be told from; see `sweeps.replication`."""
    copied: tuple[int, int] | None = None
    """Number of the trial of which it is a copy, and the step at which it branches off."""

    @property
    def value(self) -> float | None:
        """The first goal's metric."""
        return next(iter(self.values.values()))


@dataclass(frozen=True)
class Ranking:
    """All trials of a record in order, and what may be said of the best."""

    goals: tuple[GoalSpec, ...]
    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    unigram_nats: float | None
    """Of the held-out rows; None where no trial reported it or the trials' rows differ."""

    @property
    def goal(self) -> GoalSpec:
        """The first one."""
        return self.goals[0]

    @cached_property
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

    @cached_property
    def best(self) -> tuple[Row, ...]:
        """The winner and whatever cannot be told from it, or the trials of the first front."""
        first = self._first
        if len(self.goals) == 1:
            return tuple(row for row in self.rows if first and (row is first or row.number in first.like))
        return tuple(row for row in self.rows if row.front == 1)

    @cached_property
    def best_names(self) -> frozenset[str]:
        """Of those, to look one up."""
        return frozenset(row.trial for row in self.best)

    @property
    def footnote(self) -> str:
        """What a reader of the table must know; empty if nothing."""
        said = []
        if len(self.goals) > 1 and self.best:
            said.append("Trials of front 1 are beaten by no other in every goal; which to prefer is yours to say.")
        if any(row.spread for row in self.rows):
            said.append(
                "Values with an interval are means over further runs with other seeds; they rank first. Whether two "
                "differ is asked of their differences under the same seeds, not of these intervals."
            )
        if any(row.further and row.further[0] < row.further[1] for row in self.rows):
            said.append("Trials of which further runs failed rank below those of which none, or fewer, did.")
        if any(row.metrics.get("concepts/nuclear_rank") is not None for row in self.rows):
            said.append("concepts/nuclear_rank is what older logs call effective rank.")
        if len({row.code for row in self.rows}) > 1 or any(len(row.code) > 1 for row in self.rows):
            said.append("Trials were made by different code: a difference between them may be one of the code.")
        if any(row.status is Status.COMPLETED and row.rank is None for row in self.rows):
            said.append("Completed trials without a rank break a constraint, or reported no finite value.")
        if any(row.status is Status.STOPPED for row in self.rows):
            said.append(
                "Trials stopped early have no rank: theirs is the value of an unfinished schedule. "
                "They were worse than others at the same step; where they would have ended is not known."
            )
        return " ".join(said)


def rank(record: Record) -> Ranking:
    """Completed trials by merit, then the infeasible, the stopped, the unfinished and the failed ones.

    Computed once per event of the record. Costs grow with its trials, and with their square for several goals.
    """
    return record.computed(_ranked)


def _ranked(record: Record) -> Ranking:
    aim, trials = record.aim, list(record.trials.values())
    order = in_order(record, trials)
    further, ranks = order.further, {trial.id: place for place, trial in enumerate(order.sound, start=1)}
    spreads = _spreads(order.sound, further, aim)
    rows = tuple(
        replace(
            _row(trial, ranks.get(trial.id), order.fronts.get(trial.id), aim, order.known.get(trial.id, trial.known)),
            spread=spreads.get(trial.id, {}),
            further=further[trial.id].counts,
            code=_code([trial, *further[trial.id].sound]),
            note="; ".join(filter(None, [_note(trial, aim, order.known.get(trial.id, {})), further[trial.id].note])),
            like=order.like.get(trial.id, ()),
            copied=_copied(record, trial),
        )
        for trial in [*order.sound, *order.others]
    )
    return Ranking(aim.goals, tuple(record.axes), rows, _constant(trials, aim))


@dataclass(frozen=True)
class Order:
    """Trials in order of merit, without what is told of each."""

    sound: list[Trial]
    """Those that count as a result, best first."""
    others: list[Trial]
    fronts: dict[str, int]
    like: dict[str, tuple[int, ...]]
    """Of those that were run again, numbers of those that they cannot be told from."""
    further: Mapping[str, "Further"]
    known: dict[str, dict[str, float]]
    """Of the completed ones, what they are ranked by."""

    def best(self, goals: int) -> set[str]:
        """Names, as `Ranking.best` has them: the first and those like it, or with several goals the first front."""
        if goals > 1:
            return {name for name, front in self.fronts.items() if front == 1}
        like = self.like.get(self.sound[0].id, ()) if self.sound else ()
        return {trial.id for trial in self.sound if trial is self.sound[0] or trial.number in like}


def in_order(record: Record, trials: Sequence[Trial]) -> Order:
    """These trials of the record among each other."""
    aim = record.aim
    further = further_runs(record, aim)
    completed = [trial for trial in trials if trial.status is Status.COMPLETED]
    known = {trial.id: further[trial.id].means(trial) for trial in completed}
    sound, layers = _in_order(completed, known, further, aim)
    others = sorted((trial for trial in trials if trial.id not in layers), key=lambda trial: _order(trial, aim))
    return Order(sound, others, layers, _alike(sound, further, aim), further, known)


def _code(runs: Sequence[Trial]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(made.code for run in runs for made in run.made_by))


def _in_order(
    completed: list[Trial], known: Mapping[str, Mapping[str, float]], further: Mapping[str, "Further"], aim: Aim
) -> tuple[list[Trial], dict[str, int]]:
    """Those that count as a result, best first, and the front of each."""
    sound, layers = list[Trial](), dict[str, int]()
    for failures in sorted({len(further[trial.id].failed) for trial in completed}):
        group = [trial for trial in completed if len(further[trial.id].failed) == failures]
        merits, before = [aim.merit(known[trial.id]) for trial in group], max(layers.values(), default=0)
        placed = fronts(merits)
        layers |= {trial.id: before + front for trial, front in zip(group, placed, strict=True) if front}
        merited = [group[index] for index in by_hypervolume(merits) if placed[index]]
        if len(aim.goals) == 1:  # a single run may be lucky, so it does not come before a mean
            merited.sort(key=lambda trial: not further[trial.id].tested)
        sound += merited
    return sound, layers


@dataclass(frozen=True)
class Further:
    """Further runs of a trial with other seeds that are over."""

    sound: tuple[Trial, ...] = ()
    """Those that ran to their last step and measured every goal."""
    failed: tuple[Trial, ...] = ()

    @property
    def tested(self) -> bool:
        """Are there enough for a mean and its interval?"""
        return len(self.sound) > 1

    @property
    def counts(self) -> tuple[int, int] | None:
        """How many ended in order, of how many; None where there are none."""
        over = len(self.sound) + len(self.failed)
        return (len(self.sound), over) if over else None

    @property
    def note(self) -> str:
        """How many failed, and of what; empty where none did."""
        if not self.failed:
            return ""
        causes = dict.fromkeys(run.cause or "reported no finite value" for run in self.failed)
        over = len(self.sound) + len(self.failed)
        return f"{len(self.failed)} of {over} further runs failed: {'; '.join(causes)}"

    def means(self, trial: Trial) -> dict[str, float]:
        """What is known of the trial: means over further runs, or what it measured itself while they are too few. It
        was chosen for being good, so a single one that is left beside failed ones tells more."""
        if not self.tested and not (self.sound and self.failed):
            return trial.known
        runs = [run.known for run in self.sound]
        return {name: fmean(run[name] for run in runs) for name in runs[0] if all(name in run for run in runs)}

    def by_seed(self, goal: GoalSpec) -> dict[int, float]:
        """What each cost under its seed."""
        return {int(str(get(run.spec, "seed"))): goal.cost(run.known) for run in self.sound}


def further_runs(record: Record, aim: Aim) -> Mapping[str, Further]:
    """Of every trial."""
    over: dict[str, list[Trial]] = defaultdict(list)
    for run in record.replicates.values():
        if run.end is not None and run.replicates is not None:
            over[run.replicates].append(run)

    def is_sound(run: Trial) -> bool:
        return run.status is Status.COMPLETED and aim.merit(run.known).finite

    found = {
        name: Further(tuple(filter(is_sound, runs)), tuple(run for run in runs if not is_sound(run)))
        for name, runs in over.items()
    }
    return defaultdict(Further, found)


def _copied(record: Record, trial: Trial) -> tuple[int, int] | None:
    if trial.branch is None:
        return None
    name, step = trial.branch
    return record.trials[name].number, step


def _spreads(sound: list[Trial], further: Mapping[str, Further], aim: Aim) -> dict[str, dict[str, Interval]]:
    """Of each trial that was run again, each goal's interval."""
    tested = [trial.id for trial in sound if further[trial.id].tested]
    values = {
        goal.metric: intervals({name: [run.known[goal.metric] for run in further[name].sound] for name in tested})
        for goal in aim.goals
    }
    return {name: {metric: found[name] for metric, found in values.items()} for name in tested}


def _alike(sound: list[Trial], further: Mapping[str, Further], aim: Aim) -> dict[str, tuple[int, ...]]:
    """For each trial run again without a failure, the numbers of those that it cannot be told from: with one goal, of
    all that may be the best; with several, of those that differ in none."""
    tested = {trial.id: trial.number for trial in sound if further[trial.id].tested and not further[trial.id].failed}
    costs = [{name: further[name].by_seed(goal) for name in tested} for goal in aim.goals]
    if len(costs) == 1:
        best = as_good_as_best(costs[0])
        if sound and sound[0].id in tested.keys() - set(best):  # while runs are under way, some have more seeds
            best.insert(0, sound[0].id)
        return {name: tuple(tested[other] for other in best if other != name) for name in best}
    apart = set[frozenset[str]]().union(*(told_apart(cost, goals=len(costs)) for cost in costs))
    return {
        name: tuple(tested[other] for other in tested if other != name and frozenset((name, other)) not in apart)
        for name in tested
    }


def _constant(trials: Sequence[Trial], aim: Aim) -> float | None:
    values = {value for trial in trials if (value := trial.known.get(UNIGRAM)) is not None}
    return values.pop() if len(values) == 1 and aim.goals[0].metric.endswith("_nats") else None


def _order(trial: Trial, aim: Aim) -> tuple[int, int, tuple[float, ...], int]:
    merit = aim.merit(trial.known)
    group = {Status.COMPLETED: 0, Status.STOPPED: 1, Status.UNFINISHED: 2}.get(trial.status, 3)
    costs = tuple(cost if math.isfinite(cost) else math.inf for cost in merit.costs)
    return group, -trial.step, (not merit.finite, merit.excess, *costs), trial.number


def _row(trial: Trial, place: int | None, front: int | None, aim: Aim, known: Mapping[str, float]) -> Row:
    goals = [goal.metric for goal in aim.goals]
    return Row(
        rank=place,
        front=front,
        trial=trial.id,
        number=trial.number,
        status=trial.status,
        values={metric: known.get(metric) for metric in goals},
        step=trial.step,
        steps=trial.steps,
        seconds=trial.seconds,
        metrics={name: known.get(name) for name in dict.fromkeys([*aim.constraints, *SHOWN]) if name not in goals},
        settings=settings(trial),
        note="",
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


def _note(trial: Trial, aim: Aim, known: Mapping[str, float]) -> str:
    if trial.status is Status.COMPLETED:
        lost = [goal.metric for goal in aim.goals if not math.isfinite(goal.cost(known))]
        return "; ".join([*(f"reported no finite {metric}" for metric in lost), *aim.broken(known)])
    at = f"at step {trial.step}" + (f" of {trial.steps}" if trial.steps else "")
    return f"{at}: {trial.cause}" if trial.cause else at

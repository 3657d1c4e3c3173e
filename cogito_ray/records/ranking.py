"""Trials in order of merit, for the live table, the final one and the report. Pure.

Only a trial that ran to its last step has a rank. One that was stopped early is listed below, farthest first: its value
is that of an unfinished schedule (the learning rate had not fallen yet), which says that it was worse than others at
the same step, and not what it would have reached.
"""

import math
from dataclasses import dataclass

from cogito_ray.records.record import Record, Trial
from cogito_ray.sweeps.domains import Scalar
from cogito_ray.sweeps.goals import GoalSpec
from cogito_ray.sweeps.paths import get

UNIGRAM = "eval/unigram_nats"
"""Entropy of the held-out rows' tokens: what the best constant prediction reaches, so what learning must get below."""
SHOWN = ("concepts/effective_rank", "concepts/nuclear_rank", "time/tokens_per_s")
"""Metrics listed beside the goal's."""


@dataclass(frozen=True)
class Row:
    rank: int | None
    """1 = best; None for a trial without a final value."""
    trial: str
    number: int
    status: str
    value: float | None
    """The goal's metric at the last report."""
    step: int
    steps: int | None
    seconds: float
    metrics: dict[str, float | None]
    """SHOWN, at the last report."""
    settings: dict[str, str]
    """Value on each axis, as read by people."""
    note: str
    """How it ended, where that was not in order."""


@dataclass(frozen=True)
class Ranking:
    goal: GoalSpec
    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    unigram_nats: float | None
    """Of the held-out rows; None where no trial reported it or the trials' rows differ."""

    @property
    def winner(self) -> Row | None:
        return next((row for row in self.rows if row.rank == 1), None)

    @property
    def footnote(self) -> str:
        """What a reader of the table must know; empty if nothing."""
        if not any(row.status == "stopped" for row in self.rows):
            return ""
        return (
            "Trials stopped early have no rank: theirs is the value of an unfinished schedule. "
            "They were worse than others at the same step; where they would have ended is not known."
        )


def rank(record: Record) -> Ranking:
    """Completed trials by the goal's last value, then the stopped, the unfinished and the failed ones."""
    goal = record.goal
    ordered = sorted(record.trials.values(), key=lambda trial: _order(trial, goal))
    ranks = {trial.id: place for place, trial in enumerate(filter(lambda t: _final(t, goal), ordered), start=1)}
    rows = tuple(_row(trial, ranks.get(trial.id), goal) for trial in ordered)
    constants = {value for trial in ordered if (value := trial.last(UNIGRAM)) is not None}
    same = constants.pop() if len(constants) == 1 and goal.metric.endswith("_nats") else None
    return Ranking(goal, tuple(record.axes), rows, same)


def _final(trial: Trial, goal: GoalSpec) -> bool:
    value = trial.last(goal.metric)
    return trial.status == "completed" and value is not None and math.isfinite(value)


def _order(trial: Trial, goal: GoalSpec) -> tuple[int, int, float, int]:
    value = trial.last(goal.metric)
    finite = value is not None and math.isfinite(value)
    merit = (value if goal.mode == "min" else -value) if value is not None and finite else math.inf
    group = 0 if _final(trial, goal) else {"stopped": 1, "unfinished": 2}.get(trial.status, 3)
    return group, -trial.step if group else 0, merit, trial.number


def _row(trial: Trial, place: int | None, goal: GoalSpec) -> Row:
    return Row(
        rank=place,
        trial=trial.id,
        number=trial.number,
        status=trial.status,
        value=trial.last(goal.metric),
        step=trial.step,
        steps=trial.steps,
        seconds=trial.seconds,
        metrics={name: trial.last(name) for name in SHOWN},
        settings=settings(trial),
        note=_note(trial, goal),
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


def _note(trial: Trial, goal: GoalSpec) -> str:
    if trial.status == "completed":
        return "" if _final(trial, goal) else f"reported no finite {goal.metric}"
    at = f"at step {trial.step}" + (f" of {trial.steps}" if trial.steps else "")
    return f"{at}: {trial.cause}" if trial.cause else at

"""A sweep's report: one HTML file that needs nothing else, made from the ledger alone."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.ledger import NAME, Status
from cogito_ray.records.pages.page_templates import chart, environment
from cogito_ray.records.pages.report_charts import CURVES, curves, front, importance_bars, parallel
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.evaluation_scores import scored
from cogito_ray.records.results.forecast_calibration import judged
from cogito_ray.records.results.gate_results import looks, stopping
from cogito_ray.records.results.hyperparameter_importance import importances
from cogito_ray.records.results.trial_ranking import Ranking, Row, figures, rank, settings
from cogito_ray.records.sweep_record import Record, read
from cogito_ray.sweeps.budget_spec import duration
from cogito_ray.sweeps.space.domains import written
from cogito_ray.sweeps.space.dotted_paths import get
from cogito_ray.sweeps.yaml_io.yaml_writer import dump, inline

FILE = "report.html"
MOST = 500
"""Rows of any of its tables."""


def write(folder: Path | str) -> Path:
    """Make `<folder>/report.html` from `<folder>/ledger.jsonl`. Raises LedgerFault, or OSError if there is none."""
    folder = Path(folder)
    return atomic_write_text(folder / FILE, render(read(folder / NAME), folder))


def is_up_to_date(folder: Path) -> bool:
    """Is the page newer than the record? Then whoever ends without having done anything need not draw it again."""
    page = folder / FILE
    return page.is_file() and page.stat().st_mtime_ns > (folder / NAME).stat().st_mtime_ns


def render(record: Record, folder: Path) -> str:
    """The page as HTML."""
    ranking = rank(record)
    found = {goal.metric: importances(record, goal.metric) for goal in ranking.goals}
    templates = environment()
    templates.filters |= {"figure": figures, "duration": duration, "day": day}
    templates.filters |= {"breakable": breakable, "settings": settings, "numbered": numbered}
    return templates.get_template("page.html").render(
        record=record,
        ranking=ranking,
        most=MOST,
        curves=CURVES,
        headline=headline(ranking),
        settings={row.number: settings_yaml(record, ranking, row) for row in ranking.best},
        runs={row.number: dump(record.trials[row.trial].spec) for row in ranking.best},
        sweep_yaml=dump(record.opened.spec),
        counts=Counter(row.status for row in ranking.rows),
        stops=stops(record, ranking),
        untried=untried(record),
        failed=[run for run in record.runs.values() if run.status is Status.FAILED],
        saved=saved(ranking),
        looks=looks(record) if record.axes else [],
        forecasts=judged(record),
        ablations=record.ablations,
        importances=found,
        evaluations=scored(record.evaluations),
        charts={
            "front": chart(front(ranking), "front"),
            "curves": {
                goal.metric: chart(curves(record, ranking, goal.metric), f"curves-{number}")
                for number, goal in enumerate(ranking.goals)
            },
            "parallel": chart(parallel(record, ranking), "parallel"),
            "importances": {
                metric: chart(importance_bars(importances), f"importances-{number}")
                for number, (metric, importances) in enumerate(found.items())
            },
        },
        span=span(record),
        origins=origins(record),
        seeds=sorted({str(trial.spec.get("seed", 0)) for trial in record.trials.values()}),
        folder=folder.resolve(),
    )


def untried(record: Record) -> dict[str, int]:
    """Why points of the space were not run -> how many there were of each kind, most first."""
    causes = [event.cause for event in record.rejected] + [event.cause for event in record.exhausted]
    return dict(Counter(causes).most_common())


@dataclass(frozen=True)
class Headline:
    """What came out, in a sentence."""

    text: str
    alarm: bool
    """Must the reader be warned?"""


def headline(ranking: Ranking) -> Headline:
    """What came out, in a sentence."""
    best, constant = ranking.winner, ranking.unigram_nats
    if not ranking.best:
        completed = sum(row.status is Status.COMPLETED for row in ranking.rows)
        why = f"None of {completed} completed trials is sound" if completed else "No trial ran to its end"
        return Headline(f"{why}, so there is no winner.", alarm=bool(ranking.rows))
    if best is None and len(ranking.goals) == 1:
        return _tied_headline(ranking)
    if best is None or best.value is None:
        return _front_headline(ranking)
    said = f"Trial {best.number} is best: {ranking.goal.metric} is {figures(best.value)}"
    doubt = _doubt(best, ranking)
    if constant is None:
        return Headline(f"{said}.{doubt}", alarm=bool(doubt))
    if best.value >= constant:
        return Headline(f"{said}, {_unlearned(constant)}{doubt}", alarm=True)
    below = f"{constant - best.value:.2f} below the best constant prediction"
    return Headline(f"{said}, {below}.{doubt}", alarm=bool(doubt))


def _unlearned(constant: float) -> str:
    return f"no better than the {constant:.2f} nats of the best constant prediction: nothing was learned."


def _doubt(row: Row, ranking: Ranking) -> str:
    """Why not to rely on a row, where others were run again; empty if there is no reason."""
    if row.further and row.further[0] < row.further[1]:
        return f" {row.note}."
    untested = not row.spread and any(other.further for other in ranking.rows)
    return " Other than those ranked below it, it was not run again with other seeds." if untested else ""


def _tied_headline(ranking: Ranking) -> Headline:
    """Several are best, as far as can be told."""
    first, *others = ranking.best
    numbers = ", ".join(str(row.number) for row in others)
    interval, constant = first.spread[ranking.goal.metric], ranking.unigram_nats
    said = (
        f"Trial {first.number} and trial{'s' if len(others) > 1 else ''} {numbers} are indistinguishable: under other "
        f"seeds, {ranking.goal.metric} of trial {first.number} is {figures(interval.mean)} "
        f"({figures(interval.low)} to {figures(interval.high)}, {interval.runs} runs), and under the same seeds the "
        "others differ from it by no more than chance may make of them."
    )
    if constant is None or any(row.value is not None and row.value < constant for row in ranking.best):
        return Headline(said, alarm=False)
    return Headline(f"{said} All are {_unlearned(constant)}", alarm=True)


def _front_headline(ranking: Ranking) -> Headline:
    """Of several goals: how wide the front is, and whether anything on it learned."""
    ranges = []
    for goal in ranking.goals:
        ends = [float(row.values[goal.metric] or 0.0) for row in ranking.best]
        ranges.append(f"{goal.metric} from {figures(min(ends))} to {figures(max(ends))}")
    numbers = ", ".join(str(row.number) for row in ranking.best)
    said = f"{len(ranking.best)} of {len(ranking.rows)} trials are on the front ({numbers}): {'; '.join(ranges)}."
    constant = ranking.unigram_nats
    learned = constant is None or any(row.value is not None and row.value < constant for row in ranking.best)
    if not learned:
        said += f" None is below the {constant:.2f} nats of the best constant prediction: nothing was learned."
    return Headline(said, alarm=not learned)


@dataclass(frozen=True)
class Stop:
    """A trial that was stopped early, and the rung at which that was decided."""

    row: Row
    rung: int | None
    rungs: tuple[int, ...]


def stops(record: Record, ranking: Ranking) -> list[Stop]:
    """Trials stopped early, with the rung where that was decided."""
    policy = stopping(record)
    found = []
    for row in ranking.rows:
        if row.status is Status.STOPPED:
            rungs = policy.rungs(row.steps or row.step + 1)
            found.append(Stop(row, max((rung for rung in rungs if rung <= row.step), default=None), rungs))
    return found


def saved(ranking: Ranking) -> tuple[int, int]:
    """Steps that early stopping spared, and steps that all trials would have taken. Copies take those of others."""
    spared = sum((row.steps or row.step) - row.step for row in ranking.rows if row.status is Status.STOPPED)
    taken = sum((row.steps or row.step) - row.copied[1] for row in ranking.rows if row.copied)
    return spared - taken, sum(row.steps or row.step for row in ranking.rows if not row.copied)


def settings_yaml(record: Record, ranking: Ranking, row: Row) -> str:
    """What a trial has on every axis, as YAML."""
    run = record.trials[row.trial].spec
    paths = [path for axis in ranking.axes for path in written(axis, record.axes[axis])]
    return "\n".join(f"{path}: {inline(get(run, path))}" for path in paths)


@dataclass(frozen=True)
class Origin:
    """One version of code and packages, and what it made."""

    provenance: Provenance
    trials: tuple[int, ...]


def origins(record: Record) -> list[Origin]:
    """Every version that drove the sweep, with the trials that it started or took up again."""
    versions: list[Provenance] = []
    for opening in record.openings:
        if not any(not one.changes(opening.provenance) for one in versions):
            versions.append(opening.provenance)
    runs = record.runs.values()
    return [
        Origin(one, tuple(sorted({run.number for run in runs if any(not one.changes(made) for made in run.made_by)})))
        for one in versions
    ]


def numbered(trials: Sequence[int]) -> str:
    """Trials 0 to 3 and 7."""
    if not trials:
        return "no trial"
    in_a_row = groupby(enumerate(trials), key=lambda placed: placed[1] - placed[0])
    parts = [[number for _, number in run] for _, run in in_a_row]
    said = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in parts]
    return f"trial{'s' if len(trials) > 1 else ''} {', '.join(said)}"


def span(record: Record) -> float:
    """Seconds from the first event that has a time to the last."""
    trials = record.trials.values()
    ends = [trial.end.at for trial in trials if trial.end] + [trial.started + trial.seconds for trial in trials]
    closing = [record.closing.at] if record.closing else []
    return max([*ends, *closing, record.opened.at]) - record.openings[0].at


def day(at: float) -> str:
    """Seconds since 1970 -> a date and time in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def breakable(path: str) -> Markup:
    """A dotted path (or the name of a metric) that may be broken after its dots and slashes."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[./])", path))

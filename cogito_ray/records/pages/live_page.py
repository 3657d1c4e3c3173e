"""What the live page shows of a sweep or run: JSON that a browser draws, made anew whenever the record has grown."""

import json
from dataclasses import replace
from pathlib import Path

from plotly.offline import get_plotlyjs

from cogito_ray.records.control_requests import ON_REQUEST
from cogito_ray.records.ledger import (
    CHECKPOINTS,
    TRIALS,
    Controlled,
    GateJudged,
    Notified,
    SweepClosed,
    TrialEnded,
    TrialPaused,
)
from cogito_ray.records.pages.page_templates import environment
from cogito_ray.records.pages.report_charts import curves, front
from cogito_ray.records.pages.report_page import FILE, day, headline
from cogito_ray.records.results.trial_ranking import Ranking, figures, rank
from cogito_ray.records.sweep_record import Record, Trial

SHOWN, LOGGED = 200, 40
"""Trials of the table and of the curves, and lines of what happened last."""
ANALYSIS = "analysis.html"


def page(**known: object) -> str:
    """The page as HTML, of one sweep or run or of all; what it shows comes as events."""
    return environment().get_template("live.html").render(**known)


def plotly() -> str:
    """The library that draws its charts."""
    return str(get_plotlyjs())


def content(record: Record, folder: Path) -> dict[str, object]:
    """What it shows of a record: table, figures for Plotly, what happened last, further pages in `folder`."""
    ranking, pages = rank(record), links(folder)
    shown = replace(ranking, rows=ranking.rows[:SHOWN])
    drawn = {goal.metric: curves(record, shown, goal.metric) for goal in ranking.goals}
    if (found := front(shown)) is not None:
        drawn = {"front": found} | drawn
    return {
        "headline": headline(ranking).text if record.axes and ranking.best else "",
        "table": _table(shown, record, pages),
        "hidden": len(ranking.rows) - len(shown.rows),
        "charts": [{"name": name, **json.loads(figure.to_json())} for name, figure in drawn.items()],
        "log": log(record),
        "links": pages,
        "elsewhere": _elsewhere(record, None),
    }


def _elsewhere(record: Record, trial: str | None) -> list[tuple[str, str]]:
    return [(where, url) for where, url in record.tracked(trial) if url.startswith(("http://", "https://"))]


def _table(ranking: Ranking, record: Record, pages: list[str]) -> dict[str, object]:
    goals = [goal.metric for goal in ranking.goals]
    rows = []
    for row in ranking.rows:
        status = _status(record, record.trials[row.trial])
        cells = [str(row.rank or ""), str(row.number), status, f"{row.step}/{row.steps}"]
        cells += [figures(row.values[metric]) for metric in goals]
        cells += [row.settings.get(axis, "") for axis in ranking.axes]
        beneath = f"{TRIALS}/{row.trial}/" if record.axes else f"{CHECKPOINTS}/"
        analyses = [(Path(page).parent.name, page) for page in pages if page.startswith(beneath)]
        rows.append({"number": row.number, "status": status, "note": row.note, "cells": cells})
        rows[-1]["links"] = _elsewhere(record, row.trial) + analyses
    return {"head": ["#", "trial", "status", "step", *goals, *ranking.axes], "rows": rows}


def _status(record: Record, trial: Trial) -> str:
    if trial.end is not None:
        return str(trial.status)
    if record.is_running(trial):
        return "running"
    return "paused" if trial.paused and trial.cause.endswith(ON_REQUEST) else "waiting"


def log(record: Record) -> list[str]:
    """What happened last, a line each, the newest first."""
    said = []
    for event in reversed(record.events):
        match event:
            case TrialEnded() | TrialPaused():
                status = event.status if isinstance(event, TrialEnded) else "paused"
                cause, trial = f": {event.cause}" if event.cause else "", record.known(event.trial)
                number = event.trial if trial is None else trial.number
                said.append(f"{day(event.at)} trial {number} {status} at step {event.step}{cause}")
            case Controlled():
                asked = event.request.model_dump(mode="json")
                said.append(f"{day(event.at)} {event.by} asked {asked}: {event.outcome}")
            case Notified() if event.fault:
                said.append(f"{day(event.at)} notify failed ({event.occasion}): {event.fault}")
            case GateJudged() if event.holds:
                said.append(f"gate: {event.condition}, so {event.then}")
            case SweepClosed():
                said.append(f"{day(event.at)} closed: {event.cause}")
            case _:
                pass
        if len(said) == LOGGED:
            break
    notes = [f"trial {trial.number}, {note}" for trial in record.runs.values() for note in trial.notes[-1:]]
    return said + notes[-LOGGED:]


def links(folder: Path) -> list[str]:
    """Pages that stand in it: the report, and analyses of checkpoints."""
    analyses = [*folder.glob(f"{CHECKPOINTS}/*/{ANALYSIS}"), *folder.glob(f"trials/*/{CHECKPOINTS}/*/{ANALYSIS}")]
    found = [folder / FILE, *sorted(analyses)]
    return [str(file.relative_to(folder)) for file in found if file.is_file() and not file.is_symlink()]

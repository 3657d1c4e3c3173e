"""A sweep's report: one HTML file that needs nothing else, made from the ledger alone."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from pydantic import TypeAdapter

from cogito_ray.records.charts import curves, importance_bars, parallel
from cogito_ray.records.importance import importances
from cogito_ray.records.ledger import NAME
from cogito_ray.records.ranking import Ranking, Row, figures, rank
from cogito_ray.records.record import Record, read
from cogito_ray.sweeps.asha import StoppingSpec
from cogito_ray.sweeps.files import dump, inline
from cogito_ray.sweeps.paths import get

FILE = "report.html"
_STOPPING: TypeAdapter[StoppingSpec] = TypeAdapter(StoppingSpec)


def write(folder: Path | str) -> Path:
    """Make `<folder>/report.html` from `<folder>/ledger.jsonl`. Raises LedgerFault, or OSError if there is none."""
    folder = Path(folder)
    page = render(read(folder / NAME), folder)
    unfinished = folder / f".{FILE}.{os.getpid()}"
    unfinished.write_text(page, encoding="utf-8")
    return unfinished.replace(folder / FILE)


def render(record: Record, folder: Path) -> str:
    """The page as HTML."""
    ranking, found = rank(record), importances(record)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"figure": figures, "duration": duration, "day": day, "breakable": breakable}
    return environment.get_template("page.html").render(
        record=record,
        ranking=ranking,
        headline=headline(ranking),
        settings=settings_yaml(record, ranking),
        winner_run=dump(record.trials[ranking.winner.trial].spec) if ranking.winner else "",
        sweep_yaml=dump(record.opened.spec),
        counts=Counter(row.status for row in ranking.rows),
        stops=stops(record, ranking),
        saved=saved(ranking),
        importances=found,
        charts={
            "curves": chart(curves(record, ranking), "curves"),
            "parallel": chart(parallel(record, ranking), "parallel"),
            "importances": chart(importance_bars(found), "importances"),
        },
        span=span(record),
        seeds=sorted({str(trial.spec.get("seed", 0)) for trial in record.trials.values()}),
        folder=folder.resolve(),
        plotly=Markup(get_plotlyjs()),
    )


@dataclass(frozen=True)
class Headline:
    text: str
    alarm: bool
    """Must the reader be warned?"""


def headline(ranking: Ranking) -> Headline:
    """What came out, in a sentence."""
    best, constant = ranking.winner, ranking.unigram_nats
    if best is None or best.value is None:
        return Headline("No trial ran to its end, so there is no winner.", alarm=bool(ranking.rows))
    said = f"Trial {best.number} is best: {ranking.goal.metric} is {figures(best.value)}"
    if constant is None:
        return Headline(f"{said}.", alarm=False)
    if best.value >= constant:
        return Headline(
            f"{said}, no better than the {constant:.2f} nats of the best constant prediction: nothing was learned.",
            alarm=True,
        )
    return Headline(f"{said}, {constant - best.value:.2f} below the best constant prediction.", alarm=False)


@dataclass(frozen=True)
class Stop:
    row: Row
    rung: int | None
    rungs: tuple[int, ...]


def stops(record: Record, ranking: Ranking) -> list[Stop]:
    """Trials stopped early, with the rung where that was decided."""
    policy = _STOPPING.validate_python(record.opened.spec.get("early_stopping", {"kind": "none"}))
    found = []
    for row in ranking.rows:
        if row.status == "stopped":
            rungs = policy.rungs(row.steps or row.step + 1)
            found.append(Stop(row, max((rung for rung in rungs if rung <= row.step), default=None), rungs))
    return found


def saved(ranking: Ranking) -> tuple[int, int]:
    """Steps that early stopping spared, and steps that all trials would have taken."""
    spared = sum((row.steps or row.step) - row.step for row in ranking.rows if row.status == "stopped")
    return spared, sum(row.steps or row.step for row in ranking.rows)


def settings_yaml(record: Record, ranking: Ranking) -> str:
    """What the winner has on every axis, as YAML."""
    if ranking.winner is None:
        return ""
    run = record.trials[ranking.winner.trial].spec
    return "\n".join(f"{path}: {inline(get(run, path))}" for path in ranking.axes)


def span(record: Record) -> float:
    """Seconds from the first event that has a time to the last."""
    trials = record.trials.values()
    ends = [trial.end.at for trial in trials if trial.end] + [trial.started + trial.seconds for trial in trials]
    closing = [record.closing.at] if record.closing else []
    return max([*ends, *closing, record.opened.at]) - record.openings[0].at


def chart(figure: go.Figure | None, name: str) -> Markup:
    """The figure's element and script; nothing where there is no figure. Plotly escapes what could end a script."""
    if figure is None:
        return Markup("")
    config = {"responsive": True, "displaylogo": False, "modeBarButtons": [["toImage"]]}  # others reach for the network
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{name}", config=config))


def duration(seconds: float) -> str:
    """3661 -> 1 h 1 min."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def day(at: float) -> str:
    """Seconds since 1970 -> a date and time in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def breakable(path: str) -> Markup:
    """A dotted path (or the name of a metric) that may be broken after its dots and slashes."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[./])", path))

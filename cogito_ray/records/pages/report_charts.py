"""The report's charts: Plotly figures of a record. Colours are set so that they read on light and on dark paper."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from cogito_ray.records.ledger import Status
from cogito_ray.records.results.hyperparameter_importance import Importances, common_step, values_at
from cogito_ray.records.results.trial_ranking import Ranking, Row, plain
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.sweeps.space.domains import Domain, LogUniform, Scalar, Steps

WINNER, COMPLETED, STOPPED, FAILED, CONSTANT = "#e8590c", "#3b82c4", "#8b95a1", "#d6336c", "#2f9e44"
SYMBOLS: dict[str, str] = {Status.STOPPED: "circle-open", Status.UNFINISHED: "circle-open", Status.FAILED: "x"}
MANY = 60
"""Curves from which on a browser draws them by WebGL, ..."""
CURVES, POINTS, DOTS = 300, 100, 2000
"""... and the most of them, of points of each, and of trials in a front: a page must open."""
WORDS = 12
"""Values up to which an axis of numbers names each."""
SCALE = [(0.0, WINNER), (0.35, "#c77f9b"), (1.0, "#3b6fb5")]
"""From the best value to the worst."""


def curves(record: Record, ranking: Ranking, metric: str) -> go.Figure:
    """A metric over steps: a line per trial, a cross where it was cut short, the constant predictor dashed."""
    figure = go.Figure()
    shown: set[str] = set()
    rows = some_rows(ranking, CURVES)
    scatter = go.Scattergl if len(rows) > MANY else go.Scatter
    for row in reversed(rows):  # the winner last, on top
        name, colour, width = _style(row, ranking)
        trial = record.trials[row.trial]
        points = _thinned([(step, value) for step, value in trial.curve(metric) if math.isfinite(value)])
        if not points:
            continue
        cut = row.status in (Status.STOPPED, Status.FAILED)
        line = scatter(
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            showlegend=name not in shown,
            line={"color": colour, "width": width},
            marker={"size": [4] * (len(points) - 1) + [10 if cut else 5], "symbol": _symbols(len(points), cut=cut)},
            hovertemplate=f"{_hover(row)}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        figure.add_trace(line)
        shown.add(name)
    if ranking.unigram_nats is not None and shown and metric == ranking.goal.metric:
        figure.add_scatter(
            x=[0, max(row.step for row in ranking.rows)],
            y=[ranking.unigram_nats] * 2,
            mode="lines",
            name=f"best constant prediction ({ranking.unigram_nats:.2f} nats)",
            line={"color": CONSTANT, "width": 2, "dash": "dash"},
            hoverinfo="skip",
        )
    figure.update_xaxes(title="step", rangemode="tozero")
    figure.update_yaxes(title=metric)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return laid_out(figure, height=440)


def some_rows(ranking: Ranking, most: int) -> list[Row]:
    """The best, and as many others as make `most`, evenly from all places; in order."""
    others = [row for row in ranking.rows if row.trial not in ranking.best_names]
    room = max(0, most - len(ranking.best))
    chosen = others if len(others) <= room else [others[at * len(others) // room] for at in range(room)]
    return [*ranking.best, *chosen]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS of a curve, evenly, its last among them."""
    each = -(-len(points) // POINTS) or 1
    return points[::-each][::-1]


def front(ranking: Ranking) -> go.Figure | None:
    """Where trials ended in the first two goals, the front's joined by steps; None where there is one goal."""
    if len(ranking.goals) < 2:
        return None
    across, up = ranking.goals[:2]
    figure = go.Figure()
    groups: dict[str, list[Row]] = {}
    for row in some_rows(ranking, DOTS):
        if all(value is not None and math.isfinite(value) for value in row.values.values()):
            groups.setdefault(_style(row, ranking)[0], []).append(row)
    for name, rows in groups.items():
        rows.sort(key=lambda row: row.values[across.metric] or 0.0)
        _, colour, _ = _style(rows[0], ranking)
        is_front = rows[0].trial in ranking.best_names
        figure.add_scatter(
            x=[row.values[across.metric] for row in rows],
            y=[row.values[up.metric] for row in rows],
            mode="lines+markers" if is_front and len(ranking.goals) == 2 else "markers",
            name=name,
            line={"color": colour, "width": 1.5, "shape": "hv" if across.minimised else "vh"},
            marker={"size": 11 if is_front else 7, "color": colour, "symbol": SYMBOLS.get(name, "circle")},
            text=[_hover(row) for row in rows],
            hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
        )
    figure.update_xaxes(title=f"{across.metric} ({_better(across)})")
    figure.update_yaxes(title=f"{up.metric} ({_better(up)})")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return laid_out(figure, height=440)


def _better(goal: GoalSpec) -> str:
    return "less is better" if goal.minimised else "more is better"


def parallel(record: Record, ranking: Ranking) -> go.Figure | None:
    """A line per trial, over the axes to the goals after the step that most reached; None for fewer than two.

    The first goal gives the colour.
    """
    step = common_step(record, ranking.goal.metric)
    measured = [] if step is None else values_at(record, ranking.goal.metric, step)
    if len(measured) < 2:
        return None
    measured.sort(key=lambda pair: pair[1], reverse=ranking.goal.minimised)
    values = [value for _, value in measured]
    trials = [trial for trial, _ in measured]
    dimensions = [_dimension(path, domain, trials) for path, domain in record.axes.items()]
    for goal in ranking.goals:
        at_step = [trial.reports[step or 0].metrics.get(goal.metric, math.nan) for trial in trials]
        dimensions.append({"label": f"{goal.metric.rpartition('/')[2]} at {step}", "values": at_step})
    dimensions.append({"label": "steps done", "values": [trial.step for trial in trials]})
    line = {
        "color": values,
        "colorscale": SCALE if ranking.goal.minimised else [(1 - at, colour) for at, colour in reversed(SCALE)],
        "showscale": False,
    }
    ends = {"size": 1, "color": "rgba(0,0,0,0)"}  # the ticks say it already
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelfont={"size": 13}, rangefont=ends))
    return laid_out(figure, height=400).update_layout(margin={"l": 70, "r": 60, "t": 60, "b": 30})


def importance_bars(found: Importances) -> go.Figure | None:
    """A bar per axis with the range of its resampled shares; None where they cannot be told."""
    if not found.shares:
        return None
    rows = found.shares[::-1]
    figure = go.Figure(
        go.Bar(
            x=[row.share for row in rows],
            y=[row.path for row in rows],
            orientation="h",
            marker={"color": COMPLETED},
            error_x={
                "type": "data",
                "array": [row.high - row.share for row in rows],
                "arrayminus": [row.share - row.low for row in rows],
                "color": STOPPED,
                "thickness": 2,
            },
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    figure.update_xaxes(title="share of the variation between trials", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(automargin=True)
    return laid_out(figure, height=120 + 42 * len(rows))


def _dimension(path: str, domain: Domain, trials: Sequence[Trial]) -> dict[str, Any]:
    """One axis of the parallel coordinates; trials in which it did not vary stand below its other values."""
    low, high, ticks = _scale(domain)
    absent = low - (high - low) / 8
    values = [_height(domain, trial.sample[path]) if path in trial.sample else absent for trial in trials]
    if absent in values:
        low, ticks = absent, {absent: "not varied"} | (ticks or {end: f"{end:g}" for end in (low, high)})
    named = {"tickvals": [*ticks], "ticktext": [*ticks.values()]} if ticks else {}
    return {"label": ".".join(path.split(".")[-2:]), "values": values, "range": [low, high], **named}


def _scale(domain: Domain) -> tuple[float, float, dict[float, str]]:
    """From where to where an axis goes, and the words on it where numbers would not do."""
    if isinstance(domain, LogUniform):
        low, high = (math.log10(bound) for bound in domain.loguniform)
        return low, high, {tick: f"{10**tick:.2g}" for tick in (low + part * (high - low) / 4 for part in range(5))}
    if listed := _worded(domain):
        return -0.1, len(listed) - 0.9, {float(place): plain(value) for place, value in enumerate(listed)}
    low, high = (float(str(end)) for end in domain.extremes())
    return low, high, {}


def _height(domain: Domain, value: Scalar) -> float:
    """Where a value stands: words by their place in the domain, log domains by their exponent."""
    if listed := _worded(domain):
        return _place(listed, value)
    number = float(str(value))
    return math.log10(number) if isinstance(domain, LogUniform) else number


def _worded(domain: Domain) -> tuple[Scalar, ...]:
    """The values of an axis that names each; none where it shows numbers."""
    listed = domain.values() or ()
    if len(listed) > WORDS and (isinstance(listed, range | Steps) or all(_is_number(value) for value in listed)):
        return ()
    return tuple(listed)


def _place(listed: tuple[Scalar, ...], value: Scalar) -> int:
    """Where a drawn value stands; numbers by nearness, for samplers compute steps inexactly."""
    if _is_number(value):
        gaps = [abs(float(str(one)) - float(str(value))) if _is_number(one) else math.inf for one in listed]
        return gaps.index(min(gaps))
    return listed.index(value)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _style(row: Row, ranking: Ranking) -> tuple[str, str, float]:
    if row.trial in ranking.best_names:
        return ranking.standing, WINNER, 3.5
    return row.status, {Status.COMPLETED: COMPLETED, Status.FAILED: FAILED}.get(row.status, STOPPED), 1.5


def _symbols(count: int, *, cut: bool) -> list[str]:
    return ["circle"] * (count - 1) + ["x" if cut else "circle"]


def _hover(row: Row) -> str:
    said = [f"<b>trial {row.number}</b> {row.status}", *(f"{path}: {value}" for path, value in row.settings.items())]
    return "<br>".join(escape(line) for line in said)


def laid_out(figure: go.Figure, *, height: int) -> go.Figure:
    """The figure in the page's own look; `height` in pixels."""
    grid = {"gridcolor": "rgba(128,138,150,0.22)", "zerolinecolor": "rgba(128,138,150,0.35)"}
    figure.update_xaxes(**grid)
    figure.update_yaxes(**grid)
    return figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#6b7580", "size": 13},
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        hoverlabel={"align": "left"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": STOPPED},
    )

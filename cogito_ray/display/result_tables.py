"""Tables of a sweep or run: built from its record, drawn by rich. Prints nothing itself."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cogito_ray.records.control_requests import ON_REQUEST
from cogito_ray.records.ledger import CHECKPOINTS, Notified, Status
from cogito_ray.records.results.evaluation_scores import Scored
from cogito_ray.records.results.forecast_calibration import judged
from cogito_ray.records.results.trial_ranking import SHOWN, UNIGRAM, Ranking, Row, figures, plain, rank
from cogito_ray.records.sweep_progress import progress
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.budget_spec import duration
from cogito_ray.sweeps.space.dotted_paths import get
from cogito_ray.sweeps.statistics.cost_forecast import Forecast

BAR = 40
"""Columns of a bar."""
NOTES = 3
"""Of what happened, so many of the last are shown."""
SHARES = "_gradient_share"


def run_table(record: Record, now: float | None = None) -> RenderableType:
    """All of it. `now`: seconds since 1970, while the run is under way."""
    run = next(iter(record.trials.values()))
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=run.steps or 1, completed=run.step, width=BAR)
    head.add_row(Text(where(run), style="bold"), bar, Text(_time(record, now)))
    measured = Table.grid(padding=(0, 2))
    for name, said in _measured(run):
        measured.add_row(Text(name, style="dim"), Text(said))
    folder = Path(record.path).parent
    measured.add_row(Text("checkpoint", style="dim"), Text(_checkpoint(folder, now)))
    measured.add_row(Text("guards", style="dim"), Text(_guards(run)))
    for link in record.shown_at:
        measured.add_row("", Text(link, style="dim"))
    return Group(head, measured, *(Text(note, style="yellow") for note in run.notes[-NOTES:]))


def run_line(record: Record, now: float | None = None) -> str:
    """The same in a line, where nothing can be redrawn."""
    run = next(iter(record.trials.values()))
    return "; ".join([where(run), _time(record, now), *(said for _, said in _measured(run))])


def where(run: Trial) -> str:
    """At which step, and how it ended if it did."""
    over = "" if run.end is None else f"{run.status}: {run.cause}, " if run.cause else f"{run.status}, "
    return f"{over}step {run.step} of {run.steps}"


def _time(record: Record, now: float | None) -> str:
    far = progress(record, now)
    left = "" if not far.left_s else f", about {duration(far.left_s)} left"
    return f"{duration(far.elapsed_s)} elapsed{left}"


def _measured(run: Trial) -> Iterator[tuple[str, str]]:
    """What the last report says, by what it is about."""
    told = run.known
    losses = {name: value for name, value in told.items() if name.startswith("loss/") and not name.endswith(SHARES)}
    if losses:
        yield "loss", ", ".join(f"{name.removeprefix('loss/')} {figures(value)}" for name, value in losses.items())
    evaluated = {name: value for name, value in told.items() if name.startswith("eval/") and name != UNIGRAM}
    if evaluated:
        constant = f" (the best constant prediction: {figures(told[UNIGRAM])})" if UNIGRAM in told else ""
        name, value = next(iter(evaluated.items()))
        yield "held out", f"{name} {figures(value)}{constant}"
    if "optimizer/gradient_norm" in told:
        rate = f", learning rate {told.get('optimizer/learning_rate', 0.0):.3g}"
        yield "optimizer", f"gradient norm {figures(told['optimizer/gradient_norm'])}{rate}"
    if "time/tokens_per_s" in told:
        shares = f"MFU {told.get('time/mfu', 0.0):.1%}, waiting for data {told.get('time/data_wait_share', 0.0):.1%}"
        yield "speed", f"{told['time/tokens_per_s']:,.0f} tokens/s, {shares}"


def _checkpoint(folder: Path, now: float | None) -> str:
    newest = max(folder.glob(f"{CHECKPOINTS}/step-*"), default=None)
    if newest is None:
        return "none yet"
    ago = duration((now or time.time()) - newest.stat().st_mtime)
    return f"step {int(newest.name.removeprefix('step-'))}, {ago} ago"


def _guards(run: Trial) -> str:
    named = get(run.spec, "training.guards")
    on = [name for name, settings in named.items() if settings is not None] if isinstance(named, dict) else []
    return ", ".join(on) or "all switched off"


COLOURS = {
    Status.COMPLETED: "green",
    Status.UNFINISHED: "yellow",
    Status.STOPPED: "cyan",
    Status.FAILED: "red",
}
WORDS = {Status.UNFINISHED: "waiting"}


def live(record: Record, now: float | None = None, *, most: int = 10**6) -> RenderableType:
    """What is redrawn while a sweep or run works. `now`: seconds since 1970. Of more trials than `most`, those that run
    are listed, and the first others."""
    if not record.axes:
        return run_table(record, now)
    ranking = rank(record)
    running = {row.trial for row in ranking.rows if record.is_running(record.trials[row.trial])}
    room = max(0, most - len(running))
    listed = running | {row.trial for row in islice((row for row in ranking.rows if row.trial not in running), room)}
    shown = [row for row in ranking.rows if row.trial in listed][:most]
    more = len(ranking.rows) - len(shown)
    hidden = [Text(f"and {more} others", style="dim")] if more else []
    head = [*so_far(record, now), *record.shown_at]
    return Group(*(Text(line) for line in head), _fitting(ranking, shown, running), *hidden)


def so_far(record: Record, now: float | None = None) -> list[str]:
    """How far a sweep is, in lines: time, trials, budget, and the best so far beside what predicting nothing gives."""
    far = progress(record, now)
    unknown = f"paused {ON_REQUEST}" if record.limits.is_paused else "time left not known"
    left = unknown if far.left_s is None else f"about {duration(far.left_s)} left"
    time = f"{duration(far.elapsed_s)} elapsed" + ("" if record.is_complete else f", {left}")
    trials = ", ".join(f"{count} {state}" for state, count in far.trials.items())
    for runs, what in ((record.replicates, "further runs of the best"), (record.variants, "variants of the best")):
        if runs:
            trials += f"; of {len(runs)} {what}, {sum(run.end is not None for run in runs.values())} are over"
    budget = [_granted(name, *amounts) for name, amounts in far.budget.items()]
    return [time, trials, *([f"budget: {', '.join(budget)}"] if budget else []), *_best_so_far(rank(record))]


def _granted(name: str, used: float, granted: float) -> str:
    if name == "trials":
        return f"{used:g} of {granted:g} trials"
    return f"{name} {used:.3g} of {granted:g} h ({max(0.0, granted - used):.3g} left)"


def _best_so_far(ranking: Ranking) -> Iterator[str]:
    """In each goal, of those that ran to their end; of all while none did."""
    ranked = [row for row in ranking.rows if row.rank is not None]
    for goal in ranking.goals:
        known = [(goal.cost(measured), row) for row in ranked or ranking.rows if (measured := _known(row))]
        sound = [(cost, row.number, row) for cost, row in known if math.isfinite(cost)]
        if sound:
            row = min(sound)[-1]
            at = "" if ranked else f" at step {row.step} of {row.steps}"
            with_none = ranking.unigram_nats if goal is ranking.goal else None
            constant = "" if with_none is None else f" (the best constant prediction: {figures(with_none)})"
            value = f"{goal.metric} {figure(row, goal.metric)}"
            yield f"best so far: trial {row.number} ({row.trial[:8]}), {value}{at}{constant}"


def _known(row: Row) -> dict[str, float]:
    return {metric: value for metric, value in row.values.items() if value is not None}


def final(record: Record) -> RenderableType:
    """The ranked table, the settings of the winner or the front, and the line values must be read against; of a run on
    its own, what it reached."""
    gates = [Text(f"Gate: {gate.condition}, so {gate.then}", style="bold") for gate in record.gates if gate.holds]
    if not record.axes and record.trials:
        return Group(run_table(record), *gates)
    ranking = rank(record)
    parts: list[RenderableType] = [_fitting(ranking, ranking.rows)]
    if ranking.footnote:
        parts.append(Text(ranking.footnote, style="dim"))
    if ranking.unigram_nats is not None:
        parts.append(Text(f"Always predicting training's token frequencies costs {ranking.unigram_nats:.3f} nats"))
    for row in ranking.best:
        parts.append(Text(f"{ranking.standing.capitalize()}: trial {row.trial}, {_said(row)}", style="bold"))
        parts += [Text(f"  {path}: {value}") for path, value in row.settings.items()]
    parts += [Text(f"Forecast: {one.text}", style="bold") for one in judged(record)]
    parts += [Text(f"Ablation: {one.text}", style="bold") for one in record.ablations]
    failed = [event for event in record.events if isinstance(event, Notified) and event.fault]
    parts += [Text(f"The command of notify failed ({one.occasion}): {one.fault}", style="red") for one in failed]
    return Group(*parts, *gates)


def ended(row: Row) -> str:
    """One line per trial that is over, for output that is no terminal."""
    return f"trial {row.trial} {row.status} at step {row.step} of {row.steps}: {_said(row)}"


def scores(rows: Sequence[Scored]) -> RenderableType:
    """Scores with their intervals; those that use no concepts are baselines, and dim."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    settings = ["settings"] if any(row.variant for row in rows) else []
    for name in ("trial", "step", "task", "protocol", *settings, "vectors", "metric"):
        table.add_column(name)
    for name in ("score", "95 % interval", "seeds", "examples", "truncated", "against the best"):
        table.add_column(name, justify="right")
    for row in rows:
        variant = [row.variant for _ in settings]
        name = row.trial[: 16 if "@" in row.trial else 8]                   # of a model that no run trained
        asked = (name, str(row.step), row.task, row.protocol, *variant, row.vectors, row.metric)
        value, interval = f"{row.value:.3f}", f"{row.low:.3f} to {row.high:.3f}"
        counts = (str(row.seeds), f"{row.examples:,}", row.truncation, row.standing)
        table.add_row(*asked, value, interval, *counts, style="dim" if row.baseline else None)
    return table


def figure(row: Row, metric: str) -> str:
    """A measured value, with its interval where it is a mean over runs."""
    value, interval = (row.values | row.metrics)[metric], row.spread.get(metric)
    spread = f" ±{interval.high - interval.mean:.2g}" if interval else ""
    return "" if value is None else plain(value) + spread


def forecast(found: Forecast, *, free_bytes: int, done: datetime) -> RenderableType:
    """Two measured corners, and what the sweep comes to if all trials were like one or the other."""
    ends = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("measured, few steps each", "cheapest", "dearest"):
        ends.add_column(name, justify="left" if name.startswith("measured") else "right", no_wrap=True)
    corners = (found.cheapest, found.dearest)
    ends.add_row("seconds a step", *(f"{corner.measured.step_s:.3g}" for corner in corners))
    ends.add_row("  of the device's matrix rate", *(f"{corner.measured.mfu:.0%}" for corner in corners))
    ends.add_row("  waiting for data", *(f"{corner.measured.data_wait_share:.0%}" for corner in corners))
    ends.add_row("seconds a report", *(f"{corner.measured.report_s:.3g}" for corner in corners))
    ends.add_row("a whole trial, minutes", *(f"{corner.seconds / 60:.3g}" for corner in corners))
    ends.add_row("peak memory, MB", *(f"{corner.measured.peak_bytes / 1e6:,.0f}" for corner in corners))
    ends.add_row("peak GPU memory, MB", *(f"{corner.measured.gpu_peak_bytes / 1e6:,.0f}" for corner in corners))
    ends.add_row("checkpoint, MB", *(f"{corner.measured.checkpoint_bytes / 1e6:,.1f}" for corner in corners))
    hours, unit = (found.gpu_hours, "GPU-hours") if found.gpu_hours.high else (found.cpu_hours, "CPU-hours")
    lines = [
        f"Measured on {found.note}.",
        f"{found.sweep.budget.trials} trials, {found.at_once} at a time; early stopping leaves about {found.share:.0%} "
        f"of their steps, and all comes to {found.whole_trials:.1f} whole trials.",
        f"Forecast: {hours.low:.3g} to {hours.high:.3g} {unit}, {found.wall_s.low / 60:.3g} to "
        f"{found.wall_s.high / 60:.3g} minutes; started now, done by {done:%Y-%m-%d %H:%M}.",
        f"The whole grid: {found.grid_points:,} points, {found.grid_hours.low:.3g} to {found.grid_hours.high:.3g} "
        f"{unit}.",
        f"Disk: at most {found.disk_bytes / 1e9:.3g} GB of {free_bytes / 1e9:.3g} GB free. "
        f"Memory: at most {found.memory_bytes / 1e9:.3g} GB at a time.",
    ]
    alarms = [f"The budget would end it early: {found.cut}."] if found.cut else []
    if found.disk_bytes > free_bytes:
        alarms.append("The disk is too small: set budget.disk, or training.checkpoints.keep: 1.")
    return Group(ends, *(Text(line) for line in lines), *(Text(line, style="bold red") for line in alarms))


def _said(row: Row) -> str:
    known = [f"{metric} = {figure(row, metric)}" for metric, value in row.values.items() if value is not None]
    return ", ".join(known) or "no value"


@dataclass(frozen=True)
class _Fitting:
    """The first of some tables that is not too wide, or the last."""

    tables: Sequence[Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        *first, last = self.tables
        wide = options.update(max_width=10**4)
        yield next((one for one in first if Measurement.get(console, wide, one).maximum <= options.max_width), last)


def _fitting(ranking: Ranking, rows: Sequence[Row], running: Collection[str] = ()) -> _Fitting:
    """With all metrics, or with those alone that trials are ranked by."""
    goals = [goal.metric for goal in ranking.goals]
    every = [*goals, *(ranking.rows[0].metrics if ranking.rows else ())]
    needed = [metric for metric in every if metric not in SHOWN or metric in goals]
    return _Fitting([_table(ranking, rows, running, measured) for measured in (every, needed)])


def _table(ranking: Ranking, rows: Sequence[Row], running: Collection[str], measured: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    front = ["front"] if len(ranking.goals) > 1 else []
    again = ["runs"] if any(row.further for row in ranking.rows) else []
    fixed = ["#", *front, "trial", "status", *again, "step"]
    short = short_names([*measured, *ranking.axes], taken=fixed)
    short[: len(measured)] = [name.replace("_", " ") for name in short[: len(measured)]]
    for name in (*fixed, *short):
        table.add_column(name, justify="left" if name in ("trial", "status") else "right", no_wrap=True)
    for row in rows:
        status = "running" if row.trial in running else WORDS.get(row.status, row.status)
        table.add_row(
            str(row.rank or ""),
            *(str(row.front or "") for _ in front),
            row.trial[:8],
            Text(status, style=COLOURS[row.status]),
            *("" if row.further is None else f"{row.further[0]} of {row.further[1]}" for _ in again),
            f"{row.step}/{row.steps}",
            *(figure(row, metric) for metric in measured),
            *(row.settings.get(axis, "") for axis in ranking.axes),
        )
    return table


def short_names(names: Sequence[str], *, taken: Collection[str] = ()) -> list[str]:
    """The ends of dotted paths and of names of metrics, each as short as tells it from the others and from `taken`."""
    parts, length = [re.split(r"[./]", name) for name in names], [1] * len(names)
    while True:
        found = [".".join(part[-count:]) for part, count in zip(parts, length, strict=True)]
        often = Counter([*found, *taken])
        alike = [at for at, name in enumerate(found) if often[name] > 1 and length[at] < len(parts[at])]
        if not alike:
            return found
        length = [count + (at in alike) for at, count in enumerate(length)]

"""Tables of a sweep or run: built from its record, drawn by rich. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cogito_ray.records.ledger import Status
from cogito_ray.records.results.evaluation_scores import Scored
from cogito_ray.records.results.forecast_calibration import judged
from cogito_ray.records.results.trial_ranking import Ranking, Row, plain, rank
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.statistics.cost_forecast import Forecast

COLOURS = {
    Status.COMPLETED: "green",
    Status.UNFINISHED: "yellow",
    Status.STOPPED: "cyan",
    Status.FAILED: "red",
}
WORDS = {Status.UNFINISHED: "running"}


def live(record: Record, stage: str) -> RenderableType:
    """The one table that is redrawn while a sweep works; before its first trial, what is being prepared."""
    if not record.trials:
        return Text(stage, style="dim")
    ranking = rank(record)
    ended = sum(row.status is not Status.UNFINISHED for row in ranking.rows)
    head = f"{len(ranking.rows)} trials started, {ended} over"
    if again := record.replicates.values():
        head += f"; of {len(again)} further runs of the best, {sum(run.end is not None for run in again)} are over"
    if others := record.variants.values():
        head += f"; of {len(others)} variants of the best, {sum(run.end is not None for run in others)} are over"
    return Group(_table(ranking), Text(head, style="dim"))


def final(record: Record) -> RenderableType:
    """The ranked table, the settings of the winner or the front, and the line values must be read against."""
    ranking = rank(record)
    parts: list[RenderableType] = [_table(ranking)]
    if ranking.footnote:
        parts.append(Text(ranking.footnote, style="dim"))
    if ranking.unigram_nats is not None:
        parts.append(Text(f"Always predicting training's token frequencies costs {ranking.unigram_nats:.3f} nats"))
    for row in ranking.best:
        parts.append(Text(f"{ranking.standing.capitalize()}: trial {row.trial}, {_said(row)}", style="bold"))
        parts += [Text(f"  {path}: {value}") for path, value in row.settings.items()]
    parts += [Text(f"Forecast: {one.text}", style="bold") for one in judged(record)]
    parts += [Text(f"Ablation: {one.text}", style="bold") for one in record.ablations]
    parts += [Text(f"Gate: {gate.condition}, so {gate.then}", style="bold") for gate in record.gates if gate.holds]
    return Group(*parts)


def ended(row: Row) -> str:
    """One line per trial that is over, for output that is no terminal."""
    return f"trial {row.trial} {row.status} at step {row.step} of {row.steps}: {_said(row)}"


def scores(rows: Sequence[Scored]) -> RenderableType:
    """Scores with their intervals; those that use no concepts are baselines, and dim."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    settings = ["settings"] if any(row.variant for row in rows) else []
    for name in ("trial", "step", "task", "protocol", *settings, "vectors", "metric"):
        table.add_column(name)
    for name in ("score", "95 % interval", "seeds", "examples", "truncated"):
        table.add_column(name, justify="right")
    for row in rows:
        variant = [row.variant for _ in settings]
        asked = (row.trial[:8], str(row.step), row.task, row.protocol, *variant, row.vectors, row.metric)
        value, interval = f"{row.value:.3f}", f"{row.low:.3f} to {row.high:.3f}"
        counts = (str(row.seeds), f"{row.examples:,}", row.truncation)
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


def _table(ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    short = [axis.rsplit(".", 1)[-1] for axis in ranking.axes]
    measured = [*(goal.metric for goal in ranking.goals), *_metrics(ranking)]
    front = ["front"] if len(ranking.goals) > 1 else []
    again = ["runs"] if any(row.further for row in ranking.rows) else []
    for name in ("#", *front, "trial", "status", *again, "step", *map(_leaf, measured), *short):
        table.add_column(name, justify="left" if name in ("trial", "status") else "right", no_wrap=True)
    for row in ranking.rows:
        colour = COLOURS[row.status]
        table.add_row(
            str(row.rank or ""),
            *(str(row.front or "") for _ in front),
            row.trial[:8],
            Text(WORDS.get(row.status, row.status), style=colour),
            *("" if row.further is None else f"{row.further[0]} of {row.further[1]}" for _ in again),
            f"{row.step}/{row.steps}",
            *(figure(row, metric) for metric in row.values | row.metrics),
            *(row.settings.get(axis, "") for axis in ranking.axes),
        )
    return table


def _metrics(ranking: Ranking) -> list[str]:
    return list(ranking.rows[0].metrics) if ranking.rows else []


def _leaf(metric: str) -> str:
    return metric.rsplit("/", 1)[-1].replace("_", " ")

"""What a terminal shows of a sweep or run: built from its record, drawn by rich. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cogito_ray.records.evaluations import Scored
from cogito_ray.records.ranking import Ranking, Row, plain, rank
from cogito_ray.records.record import Record

COLOURS = {"completed": "green", "unfinished": "yellow", "stopped": "cyan", "failed": "red"}
WORDS = {"unfinished": "running"}


def live(record: Record | None, stage: str) -> RenderableType:
    """The one table that is redrawn while a sweep works; before its first trial, what is being prepared."""
    if record is None or not record.trials:
        return Text(stage, style="dim")
    ranking = rank(record)
    ended = sum(row.status != "unfinished" for row in ranking.rows)
    head = f"{len(ranking.rows)} trials started, {ended} over"
    if again := record.replicates.values():
        head += f"; of {len(again)} further runs of the best, {sum(run.end is not None for run in again)} are over"
    return Group(_table(ranking), Text(head, style="dim"))


def final(record: Record) -> RenderableType:
    """The ranked table, the settings of the winner or the front, and the line values must be read against."""
    ranking = rank(record)
    parts: list[RenderableType] = [_table(ranking)]
    if ranking.footnote:
        parts.append(Text(ranking.footnote, style="dim"))
    if ranking.unigram_nats is not None:
        parts.append(Text(f"What a constant prediction reaches (unigram entropy): {ranking.unigram_nats:.3f} nats"))
    for row in ranking.best:
        parts.append(Text(f"{ranking.standing.capitalize()}: trial {row.trial}, {_said(row)}", style="bold"))
        parts += [Text(f"  {path}: {value}") for path, value in row.settings.items()]
    parts += [Text(f"Gate: {gate.condition}, so {gate.then}", style="bold") for gate in record.gates if gate.holds]
    return Group(*parts)


def ended(row: Row) -> str:
    """One line per trial that is over, for output that is no terminal."""
    return f"trial {row.trial} {row.status} at step {row.step} of {row.steps}: {_said(row)}"


def scores(rows: Sequence[Scored]) -> RenderableType:
    """Scores with their intervals; those that use no concepts are baselines, and dim."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "step", "task", "protocol", "vectors", "metric"):
        table.add_column(name)
    for name in ("score", "95 % interval", "seeds", "examples"):
        table.add_column(name, justify="right")
    for row in rows:
        asked = (row.trial[:8], str(row.step), row.task, row.protocol, row.vectors, row.metric)
        value, interval = f"{row.value:.3f}", f"{row.low:.3f} to {row.high:.3f}"
        style = "dim" if row.baseline else None
        table.add_row(*asked, value, interval, str(row.seeds), f"{row.examples:,}", style=style)
    return table


def figure(row: Row, metric: str) -> str:
    """A measured value, with its interval where it is a mean over runs."""
    value, interval = (row.values | row.metrics)[metric], row.spread.get(metric)
    spread = f" ±{interval.high - interval.mean:.2g}" if interval else ""
    return "" if value is None else plain(value) + spread


def _said(row: Row) -> str:
    known = [f"{metric} = {figure(row, metric)}" for metric, value in row.values.items() if value is not None]
    return ", ".join(known) or "no value"


def _table(ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    short = [axis.rsplit(".", 1)[-1] for axis in ranking.axes]
    measured = [*(goal.metric for goal in ranking.goals), *_metrics(ranking)]
    front = ["front"] if len(ranking.goals) > 1 else []
    for name in ("#", *front, "trial", "status", "step", *map(_leaf, measured), *short):
        table.add_column(name, justify="left" if name in ("trial", "status") else "right", no_wrap=True)
    for row in ranking.rows:
        colour = COLOURS[row.status]
        table.add_row(
            str(row.rank or ""),
            *(str(row.front or "") for _ in front),
            row.trial[:8],
            Text(WORDS.get(row.status, row.status), style=colour),
            f"{row.step}/{row.steps}",
            *(figure(row, metric) for metric in row.values | row.metrics),
            *(row.settings.get(axis, "") for axis in ranking.axes),
        )
    return table


def _metrics(ranking: Ranking) -> list[str]:
    return list(ranking.rows[0].metrics) if ranking.rows else []


def _leaf(metric: str) -> str:
    return metric.rsplit("/", 1)[-1].replace("_", " ")

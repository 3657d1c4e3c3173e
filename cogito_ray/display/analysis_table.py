"""What a terminal shows of the analysis of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cogito_ray.analysis.thresholds import Rating
from cogito_ray.records.results.trial_ranking import figures

if TYPE_CHECKING:
    from cogito_ray.analysis.analysis_result import Analysis

COLOURS = {Rating.PASS: "green", Rating.POOR: "yellow", Rating.CRITICAL: "red"}


def analysis_table(analysis: Analysis) -> RenderableType:
    """The conclusion, each metric against its threshold, and what iterating reached."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("rating")
    for found in analysis.assessments:
        table.add_row(found.threshold.label, figures(found.value), Text(found.rating, style=COLOURS[found.rating]))
    return Group(Text(f"{analysis.name}: {analysis.conclusion}", style="bold"), table, *_iterations(analysis))


def _iterations(analysis: Analysis) -> list[RenderableType]:
    if not analysis.iterations:
        return []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("times", *(metric.rpartition("/")[2].replace("_", " ") for metric in analysis.changed_by_depth)):
        table.add_column(name, justify="right")
    for one in analysis.iterations:
        values = [figures(one.metrics[metric]) for metric in analysis.changed_by_depth]
        table.add_row(str(one.depth), *values, style="bold" if one.trained else None)
    return [Text("Iterated, bold as trained:"), table]

"""cogito-ray analyse: what the concepts of a checkpoint look like, know and read."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cogito_ray import api
from cogito_ray.analysis.analysis_result import Analysis
from cogito_ray.analysis.thresholds import Rating
from cogito_ray.commands.app import AsJson, Checkpoint, app
from cogito_ray.display.console import out
from cogito_ray.records.results.trial_ranking import figures


@app.command(epilog="Example: cogito-ray analyse runs/debug")
def analyse(
    checkpoint: Annotated[Path, Checkpoint],
    other: Annotated[Path | None, typer.Argument(help="A second one, shown beside it.", show_default=False)] = None,
    texts: Annotated[int, typer.Option(min=2, help="Held-out rows to look at, at most.")] = 256,
    iterations: Annotated[
        str | None, typer.Option(help="Also apply a tied encoder's block so many times each, such as 2,4,6,8,12.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of analysis.html and analysis.json; none: the checkpoint's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a checkpoint's concepts: metrics against thresholds, linear probes, and which tokens they attend to."""
    times = [_times(count) for count in iterations.split(",")] if iterations else []
    found = api.analyse(checkpoint, other, texts=texts, iterations=times, out=to, verbose=not as_json)
    if as_json:
        told = [
            {"name": one.name, "conclusion": one.conclusion, "metrics": one.metrics,
             "iterations": [asdict(iteration) for iteration in one.iterations]}
            for one in found.analyses
        ]  # fmt: skip
        print(json.dumps({"page": str(found.report), "data": str(found.data), "checkpoints": told}))
        return
    for analysis in found.analyses:
        out.print(_table(analysis))
    out.print(f"Page: {found.report}\nData: {found.data}")


COLOURS = {Rating.PASS: "green", Rating.POOR: "yellow", Rating.CRITICAL: "red"}


def _table(analysis: Analysis) -> RenderableType:
    """The conclusion, each metric against its threshold, and what iterating reached."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("metric", "value", "rating"):
        table.add_column(name, justify="right" if name == "value" else "left")
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


def _times(count: str) -> int:
    if not count.strip().isdecimal() or int(count) < 1:
        raise ValueError(f"--iterations wants numbers of 1 or more, separated by commas; got {count!r}")
    return int(count)

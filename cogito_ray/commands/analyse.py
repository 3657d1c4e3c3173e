"""cogito-ray analyse: what the concepts of a checkpoint look like, know and read."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import AsJson, Checkpoint, app, numbers
from cogito_ray.display.console import out


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
    from cogito_ray.display.analysis_table import analysis_table

    times = numbers(iterations, "--iterations")
    found = cr.analyse(checkpoint, other, texts=texts, iterations=times, out=to, verbose=not as_json)
    if as_json:
        told = [
            {"name": one.name, "conclusion": one.conclusion, "metrics": one.metrics,
             "iterations": [asdict(iteration) for iteration in one.iterations]}
            for one in found.analyses
        ]  # fmt: skip
        print(json.dumps({"page": str(found.report), "data": str(found.data), "checkpoints": told}))
        return
    for analysis in found.analyses:
        out.print(analysis_table(analysis))
    out.print(f"Page: {found.report}\nData: {found.data}")

"""cogito-ray status: how far sweeps and runs are."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, Storage, app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray status runs/quickstart")
def status(
    run: Annotated[
        Path | None, typer.Argument(help="A sweep's or run's folder, or its name; else all.", show_default=False)
    ] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Say how far a sweep or run is, or all below a storage."""
    from cogito_ray.display import result_tables

    found = cr.status(run, storage=storage)
    if as_json:
        print(json.dumps([one.figures() for one in found]))
        return
    for one in found:
        driver = f" ({one.driver})" if one.driver else ""
        out.print(f"{one.path}: {one.state}{driver}")
        if run is not None and one.record.trials:
            out.print(result_tables.live(one.record, time.time() if one.driver else None))
        for event in one.record.controls if run is not None else ():
            asked = event.request.model_dump(mode="json")
            out.print(f"{event.by} asked {asked}: {'' if event.accepted else 'refused: '}{event.outcome}")

"""cogito-ray status: how far sweeps, runs and plans are."""

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
        Path | None, typer.Argument(help="Folder of a sweep, run or plan, or its name; else all.", show_default=False)
    ] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Say how far a sweep, run or plan is, or all below a storage."""
    from cogito_ray.display import result_tables
    from cogito_ray.object_storage.storage_mirror import local
    from cogito_ray.records import plan_record

    plans = plan_record.found(local(storage), run)
    found = [] if run is not None and plans else cr.status(run, storage=storage)
    if as_json:
        told = [{"folder": str(path), **plan.summary} for path, plan in plans.items()]
        print(json.dumps([*told, *(one.figures() for one in found)]))
        return
    for path, plan in plans.items():
        said = [f"{path}: {plan.standing}; {plan.counts}"] if run is None else plan_record.lines(plan)
        out.print("\n".join(said), markup=False)
    for one in found:
        driver = f" ({one.driver})" if one.driver else ""
        out.print(f"{one.path}: {one.state}{driver}")
        if run is not None and one.record.trials:
            out.print(result_tables.live(one.record, time.time() if one.driver else None))
        for event in one.record.controls if run is not None else ():
            asked = event.request.model_dump(mode="json")
            out.print(f"{event.by} asked {asked}: {'' if event.accepted else 'refused: '}{event.outcome}")

"""cogito-ray sweep: runs a sweep, or what is left of it."""

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands.app import RUNS, AsJson, File, Overrides, Storage, app, opened_sweep
from cogito_ray.commands.terminal.summary import conclude
from cogito_ray.display import tables
from cogito_ray.display.console import err, out
from cogito_ray.display.live_view import watching
from cogito_ray.sweeps.space.valid_points import tried_in_all
from cogito_ray.sweeps.sweep_spec import SweepSpec


@app.command(epilog="Example: cogito-ray sweep search_spaces/quickstart.yaml")
def sweep(
    file: File,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure two short runs, forecast what the sweep costs; start nothing.")
    ] = False,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Run a sweep, or what is left of it: the same command resumes after any interruption."""
    from cogito_ray.runtime.experiment_folder import Home
    from cogito_ray.runtime.sweep.sweep_driver import run_sweep

    with opened_sweep(file, overrides, storage) as spec:
        if dry_run:
            _forecast(spec, storage, as_json=as_json)
            return
        for note in [] if as_json else tried_in_all(spec.search_space)[1]:
            out.print(f"note: {note}")
        home = Home.of_sweep(spec, storage)
        known = home.recorded()
        if known is not None and not home.is_finished(known) and (said := home.other_code(known)):
            err.print(said)
        before = known.closing if known else None
        with watching(home.record, quiet=as_json) as stage:
            record = run_sweep(spec, storage, stage.tell, home=home)
    conclude(record, storage / spec.name, again=before is not None and before == record.closing, as_json=as_json)


def _forecast(spec: SweepSpec, storage: Path, *, as_json: bool) -> None:
    """What the sweep would cost, from two short measured runs."""
    from cogito_ray.runtime.sweep.cost_measurement import forecast

    found = forecast(spec, storage)
    if as_json:
        print(json.dumps(found.told()))
        return
    there = next(folder for folder in (storage.absolute(), *storage.absolute().parents) if folder.exists())
    done = datetime.fromtimestamp(time.time() + found.wall_s.high)
    out.print(tables.forecast(found, free_bytes=shutil.disk_usage(there).free, done=done))

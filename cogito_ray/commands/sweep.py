"""cogito-ray sweep: runs a sweep, or what is left of it."""

import json
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out


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
    from cogito_ray.commands.final_summary import conclude

    changed = overrides or ()
    if dry_run:
        _forecast(file, changed, storage, as_json=as_json)
    else:
        conclude(lambda: cr.sweep(file, storage=storage, overrides=changed, verbose=not as_json), as_json=as_json)


def _forecast(file: Path, overrides: Sequence[str], storage: Path, *, as_json: bool) -> None:
    """What the sweep would cost, from two short measured runs."""
    from cogito_ray.display import result_tables

    found = cr.forecast(file, storage=storage, overrides=overrides)
    if as_json:
        print(json.dumps(found.figures()))
        return
    there = next(folder for folder in (storage.absolute(), *storage.absolute().parents) if folder.exists())
    done = datetime.fromtimestamp(time.time() + found.wall_s.high)
    out.print(result_tables.forecast(found, free_bytes=shutil.disk_usage(there).free, done=done))

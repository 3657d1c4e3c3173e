"""cogito-ray sweep, scale and promote: a search, what it foretells of full runs, and those."""

import json
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.records.results.promotion_results import Promotion
    from cogito_ray.records.sweep_record import Record


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


@app.command(epilog="Example: cogito-ray scale search_spaces/quickstart.yaml")
def scale(file: File, overrides: Overrides = None, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Train what is left of a sweep and of its ladder, and tell what its winners will reach at full size."""
    try:
        result = cr.sweep(file, storage=storage, overrides=overrides or (), verbose=not as_json)
    except cr.Interrupted as stopped:
        result = stopped.result
    told = result.forecasts
    if as_json:
        print(json.dumps([one.sealed.model_dump(mode="json") for one in told]))
    for one in told if not as_json else ():
        out.print(one.text, markup=False)
    if not told:
        raise typer.Exit(1)


@app.command(epilog="Example: cogito-ray promote search_spaces/dimension_inversion.yaml --dry-run")
def promote(
    file: File,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how full runs differ; start nothing.")] = False,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train what a sweep's `promote:` derives from its best trials, or what is left of it, and certify the proxy.

    Exit status 1 where a full run did not end, or a forecast missed its interval: then see what differs.
    """
    from cogito_ray.records.pages import report_page

    due = cr.promotions(file, storage=storage, overrides=overrides or ())
    if not as_json:
        _announce(due)
    if dry_run:
        if as_json:
            told = [{"trial": one.trial, "run": one.run.digest(), "changes": one.changes} for one in due]
            print(json.dumps(told))
        return
    try:
        result = cr.promote(file, storage=storage, overrides=overrides or ())
    except cr.Interrupted as stopped:
        result = stopped.result
    _conclude(result.record, as_json=as_json)
    if not as_json:  # which is one object, for scripts
        out.print(f"Report: {result.path / report_page.FILE}")
    done = {told.run for told in result.record.promoted.values() if told.complete}
    missed = [forecast.sealed.run for forecast in result.forecasts if forecast.missed]
    if any(one.run.digest() not in done or one.run.digest() in missed for one in due):
        raise typer.Exit(1)


def _announce(due: "list[Promotion]") -> None:
    for one in due:
        out.print(f"trial {one.number} -> full run {one.run.digest()}")
        for change in one.changes:
            out.print(f"  {change}")
    for advice in {one.advice for one in due} - {""}:
        out.print(f"Note: {advice}", markup=False)


def _conclude(record: "Record", *, as_json: bool) -> None:
    """What became of each full run, and how far the proxy had foretold it."""
    from cogito_ray.records.results.forecast_calibration import judged
    from cogito_ray.records.results.trial_ranking import figures

    runs = [told.model_dump(mode="json") for told in record.promoted.values()]
    certificates = [told.model_dump(mode="json") for told in record.certified.values()]
    if as_json:
        scores = [told.model_dump(mode="json") for told in record.scores.values()]
        print(json.dumps({"runs": runs, "certificates": certificates, "forecasts": scores}))
        return
    for told in record.promoted.values():
        number = record.trials[told.trial].number
        values = ", ".join(f"{goal.metric} {figures(told.metrics.get(goal.metric))}" for goal in record.goals)
        became = values if told.complete else told.cause
        out.print(f"trial {number} at full size: {became} ({told.folder})")
    for forecast in judged(record):
        out.print(f"{'Forecast missed' if forecast.missed else 'Forecast'}: {forecast.text}", markup=False)
    for found in record.certified.values():
        out.print(f"Proxy against full runs, {found.goal}: {found.verdict}")

"""cogito-ray promote: a sweep's winners at full size."""

import json
from typing import Annotated

import typer

from cogito_ray.commands.app import RUNS, AsJson, File, Overrides, Storage, app, opened_sweep
from cogito_ray.display.console import out
from cogito_ray.records.results.trial_ranking import figures
from cogito_ray.records.sweep_record import Record


@app.command(epilog="Example: cogito-ray promote search_spaces/dimension_inversion.yaml --dry-run")
def promote(
    file: File,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how full runs differ; start nothing.")] = False,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train what a sweep's `promote:` derives from its best trials, or what is left of it, and certify the proxy."""
    from cogito_ray.records.pages.report import write
    from cogito_ray.runtime.train.promotion_driver import planned
    from cogito_ray.runtime.train.promotion_driver import promote as train

    with opened_sweep(file, overrides, storage) as spec:
        due = planned(spec, storage)
        if not as_json:
            for one in due:
                out.print(f"trial {one.number} -> full run {one.run.digest()}")
                for change in one.changes:
                    out.print(f"  {change}")
        if dry_run:
            if as_json:
                told = [{"trial": one.trial, "run": one.run.digest(), "changes": one.changes} for one in due]
                print(json.dumps(told))
            return
        record = train(spec, storage)
    page = write(storage / spec.name)
    _conclude(record, as_json=as_json)
    if not as_json:  # which is one object, for scripts
        out.print(f"Report: {page}")
    if not all(told.complete for told in record.promoted.values()):
        raise typer.Exit(1)


def _conclude(record: Record, *, as_json: bool) -> None:
    """What became of each full run, and how far the proxy had foretold it."""
    runs = [told.model_dump(mode="json") for told in record.promoted.values()]
    judged = [told.model_dump(mode="json") for told in record.certified.values()]
    if as_json:
        print(json.dumps({"runs": runs, "certificates": judged}))
        return
    for told in record.promoted.values():
        number = record.trials[told.trial].number
        values = ", ".join(f"{goal.metric} {figures(told.metrics.get(goal.metric))}" for goal in record.goals)
        became = values if told.complete else told.cause
        out.print(f"trial {number} at full size: {became} ({told.folder})")
    for found in record.certified.values():
        out.print(f"Proxy against full runs, {found.goal}: {found.verdict}")

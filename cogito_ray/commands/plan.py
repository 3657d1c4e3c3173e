"""cogito-ray plan and queue: phases under gates, one after the other or side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.records.plan_record import PlanRecord


@app.command(epilog="Example: cogito-ray plan plans/roadmap.yaml size=smallest")
def plan(
    file: Annotated[Path, typer.Argument(help="YAML of a plan.", show_default=False)],
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure short runs, forecast what each phase costs; start nothing.")
    ] = False,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Run what is due of a research plan, phase by phase under its gates: the same command goes on after anything."""
    if not dry_run:
        _conclude(cr.plan(file, storage=storage, overrides=overrides or (), verbose=not as_json), as_json=as_json)
        return
    found = cr.plan_forecast(file, storage=storage, overrides=overrides or ())
    costs = {name: ", ".join(f"{amount:.3g} {unit}" for unit, amount in cost.items()) for name, cost in found.items()}
    said = [f"{name}: at most {cost}" for name, cost in costs.items()]
    print(json.dumps(found) if as_json else "\n".join(said))


@app.command(epilog="Example: cogito-ray queue a.yaml b.yaml --name night")
def queue(
    files: Annotated[list[Path], typer.Argument(help="YAML of sweeps and runs.", show_default=False)],
    name: Annotated[str, typer.Option(help="Of the queue, in the storage.")] = "queue",
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Run files one after the other, whatever becomes of each; the same command goes on, also with more files."""
    _conclude(cr.queue(files, storage=storage, name=name, verbose=not as_json), as_json=as_json)


def _conclude(record: "PlanRecord", *, as_json: bool) -> None:
    """The tree; exit status 1 unless all is done, or its gates say that it need not be."""
    from cogito_ray.records.plan_record import lines

    if as_json:
        phases = {name: one.model_dump(mode="json") for name, one in record.ended.items()}
        print(json.dumps({"complete": record.is_complete, "phases": phases}))
    else:
        out.print("\n".join(lines(record)))
    if not record.is_complete:
        raise typer.Exit(1)

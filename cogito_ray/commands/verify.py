"""cogito-ray verify: checks on your own cluster that interrupted equals uninterrupted."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.runtime.verification.resume_verification import Compared


@app.command(epilog="Example: cogito-ray verify resume jobs/debug.yaml")
def verify(
    what: Annotated[Literal["resume", "order", "chaos"], typer.Argument(help="What to check.", show_default=False)],
    file: File,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=10, help="To which the run is cut.")] = 100,
    times: Annotated[int, typer.Option(min=1, help="Interruptions, for resume and chaos.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the steps at which they come.")] = 0,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train a short run undisturbed and disturbed, and compare weights and rows. Exit 1 where they differ.

    resume kills the driver and gives its command again; chaos kills workers; order compares 1 and 2 workers, mapped and
    streamed.
    """
    changed = overrides or ()
    compared = cr.verify(what, file, storage=storage, overrides=changed, steps=steps, times=times, seed=seed)
    holds = all(each.holds for each in compared)
    if as_json:
        told = [asdict(each) | {"holds": each.holds} for each in compared]
        run = cr.check(file, overrides=changed).spec.digest()
        print(json.dumps({"check": what, "run": run, "holds": holds, "trainings": told}))
    else:
        out.print(_table(compared))
        out.print(f"{what} {'holds' if holds else 'DOES NOT HOLD'} for {file}", style="bold")
    if not holds:
        raise typer.Exit(1)


def _table(compared: "list[Compared]") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("training", "seconds", "rows", "weights differ by", "verdict"):
        table.add_column(name)
    for each in compared:
        differ = f"{each.distance:.2g} (tolerated: {each.tolerance:g})" if each.distance else "nothing"
        verdict = "holds" if each.holds else "differs"
        table.add_row(each.what, f"{each.seconds:.0f}", each.rows[:12], differ, verdict)
    return table

"""cogito-ray verify: checks on your own cluster that interrupted equals uninterrupted."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.runtime.verification.resume_verification import Compared


class What(StrEnum):
    """The checks; each is a function of runtime.verification.resume_verification."""

    RESUME = "resume"
    ORDER = "order"
    CHAOS = "chaos"


@app.command(epilog="Example: cogito-ray verify resume jobs/debug.yaml")
def verify(
    what: Annotated[What, typer.Argument(help="What to check.", show_default=False)],
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
    from cogito_ray.python_api import opened_run
    from cogito_ray.runtime.verification import resume_verification as checks

    table = {What.RESUME: checks.resume, What.ORDER: checks.order, What.CHAOS: checks.chaos}
    with opened_run(file, overrides or ()) as run:
        compared = list(checks.verify(table[what], run, storage, steps=steps, times=times, seed=seed))
    holds = all(each.holds for each in compared)
    if as_json:
        told = [asdict(each) | {"holds": each.holds} for each in compared]
        print(json.dumps({"check": what, "run": run.digest(), "holds": holds, "trainings": told}))
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

"""cogito-ray doctor: whether the machines of a cluster are fit for a sweep."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, Storage, app
from cogito_ray.commands.submit import followed
from cogito_ray.display.console import out

COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@app.command(epilog="Example: cogito-ray doctor --address http://127.0.0.1:8265 --storage /shared/runs")
def doctor(
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="http://... of its dashboard, or HOST:PORT; else this machine."),
    ] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Examine every machine of a cluster: versions, GPUs, storage, locks, clock, network. Exit 1 where there is a
    fault."""
    if address and address.startswith(("http://", "https://")):
        raise typer.Exit(followed(cr.submit("doctor", address=address, storage=storage, as_json=as_json)))
    found = cr.doctor(address, storage=storage)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        table = Table("", "what", "found", "way out", box=None, pad_edge=False, header_style="bold")
        for one in found:
            table.add_row(one.level, one.what, one.text, one.mend, style=COLOURS[one.level])
        out.print(table)
    if any(one.level == "fault" for one in found):
        raise typer.Exit(1)

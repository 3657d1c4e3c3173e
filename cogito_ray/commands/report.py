"""cogito-ray report: the page of a record."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray report runs/quickstart")
def report(folder: Annotated[Path, typer.Argument(help="A sweep's folder.", show_default=False)]) -> None:
    """Write report.html from a sweep's ledger; works while the sweep runs, too."""
    out.print(str(cr.report(folder)))
